"""Slots that come from one zygote: a hostile library carries nothing from caller to caller."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from waiting import wait_until

from .attacked import Attacked

REF = "escape/Carrier"
STARTS = 8
"""More than it takes until the zygote is there; then slots are forked, or, if the library is found
to be hostile, start cold."""


@pytest.fixture
def call(site: Attacked) -> Callable[..., Any]:
    def call(value: str, *, by: str) -> Any:
        answer = site.call(REF, value, by=by).json()
        assert value == "leave" or "error" not in answer, answer
        return answer["result"]

    return call


@pytest.fixture
def forked(site: Attacked, call: Callable[..., Any]) -> None:
    """Start slots with the hostile library until one is forked, where slots are forked at all."""
    wait_until(lambda: call("how", by="admin"), timeout_s=20, what="the algorithm works")
    for _ in range(STARTS if site.start_path == "zygote" else 1):
        call("leave", by="admin")
        if call("how", by="admin") == "zygote":
            return


@pytest.mark.usefixtures("forked")
def test_callers_of_a_hostile_library_share_nothing(
    site: Attacked, call: Callable[..., Any]
) -> None:
    secret = f"secret-{uuid.uuid4()}"
    call(f"put {secret}", by="admin")

    for _ in range(3):
        call("leave", by="jane")
        found = call("get", by="jane")

        assert found == {}, f"{secret} was carried"


@pytest.mark.usefixtures("forked")
def test_a_hostile_library_opens_nobodys_filter(site: Attacked) -> None:
    for by in ("admin", "jane"):
        site.answer("resources.leave", by=by)
        told = site.said("kernel.own_filter", by=by)

        assert told["unshare"] == {"refused": "EPERM"}
