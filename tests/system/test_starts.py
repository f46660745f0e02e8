"""By which path slots start, and where an operator sees it."""

from pathlib import Path

import httpx2
import pytest
from projects import without_requirements
from running import RunningServer
from waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"


def sandbox_of(server: RunningServer) -> dict:
    found: dict = httpx2.get(f"{server.api}/readyz").json()["sandbox"]
    return found


def refusals(server: RunningServer) -> list[str]:
    return [line for line in server.lines if "event=zygote" in line and "state=refused" in line]


@pytest.mark.namespaces
def test_slots_are_forked_from_a_zygote_unless_the_operator_says_otherwise(tmp_path: Path) -> None:
    examples = without_requirements(EXAMPLES, tmp_path / "examples")
    demo = ("--demo", "--examples-dir", str(examples))
    with RunningServer(tmp_path / "home", *demo, "--log-level", "debug") as server:
        if sandbox_of(server)["level"] != "full":
            pytest.skip("zygotes need sandbox level full")
        wait_until(
            lambda: sandbox_of(server)["zygotes"]["count"] or refusals(server),
            timeout_s=30,
            what="there is a zygote",
        )
        if refused := refusals(server):
            pytest.skip(f"no zygotes here: {refused[0]}")
        answers = [server.call("demo/Hello", "HAL").json(), server.call("util/Echo", 1).json()]
        starts = sandbox_of(server)["starts"]
        memory_bytes = sandbox_of(server)["zygotes"]["memory_bytes"]
        lines = [line for line in server.lines if "start_path=zygote" in line]

    assert [answer["result"] for answer in answers] == ["Hello HAL", 1]
    assert starts["zygote"] == len(lines) == 2  # of one environment: neither needs packages
    assert memory_bytes > 1 << 20

    with RunningServer(tmp_path / "home", "--zygotes", "off") as server:
        answer = server.call("demo/Hello", "HAL").json()
        told = sandbox_of(server)

    assert answer["result"] == "Hello HAL"
    assert told["starts"]["zygote"] == told["zygotes"]["count"] == 0
