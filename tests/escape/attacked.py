"""A server with hostile algorithms, and how tests let them try."""

import time
from dataclasses import dataclass
from typing import Any

import httpx2
from running import RunningServer

DEADLINE_S = 10
SLACK_S = 3
"""After its deadline a call is answered within so much: what it runs gets 2 s to end."""


@dataclass(kw_only=True)
class Attacked:
    """
    A running server.

    Attributes:
        server: The process.
        keys: By account: `admin`, who administers, and `jane`, who does not.
        supervisor: Its process id.
        start_path: How its slots start: `cold` or `zygote`.
        http: For all requests; closed by whoever made it.
    """

    server: RunningServer
    keys: dict[str, str]
    supervisor: int
    start_path: str
    http: httpx2.Client

    def answer(
        self,
        action: str,
        arguments: dict[str, Any] | None = None,
        *,
        by: str = "admin",
        timeout_s: int = DEADLINE_S,
        ref: str = "escape/Escape",
        **options: Any,
    ) -> httpx2.Response:
        """Let the algorithm try something; the answer comes in time, whatever it is."""
        value = {"do": action, "with": arguments or {}}
        return self.call(ref, value, by=by, timeout_s=timeout_s, **options)

    def call(
        self,
        ref: str,
        value: Any,
        *,
        by: str = "admin",
        timeout_s: int = DEADLINE_S,
        **options: Any,
    ) -> httpx2.Response:
        """Call an algorithm for an account; checks that the answer comes in time."""
        began = time.monotonic()
        answer = self.http.post(
            f"{self.server.api}/v1/algo/{ref}",
            json=value,
            headers={"Authorization": f"Simple {self.keys[by]}"},
            params={"timeout": timeout_s, **options},
        )
        assert time.monotonic() - began < timeout_s + SLACK_S, "in time"
        return answer

    def said(self, action: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        """Let the algorithm try something, and return what it says of it."""
        answer = self.answer(action, arguments, **options)
        assert answer.status_code == 200, answer.text
        assert "error" not in answer.json(), answer.text
        return answer.json()["result"]

    def error(
        self, action: str, arguments: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Let the algorithm try something, and return the error it ends in."""
        answer = self.answer(action, arguments, **options)
        assert answer.status_code == 200, answer.text
        assert "error" in answer.json(), answer.text
        found: dict[str, Any] = answer.json()["error"]
        return found

    def data(self, method: str, path: str, *, by: str = "admin", **options: Any) -> httpx2.Response:
        """Ask the Data API."""
        return self.http.request(
            method,
            f"{self.server.api}/v1/data/{path}",
            headers={"Authorization": f"Simple {self.keys[by]}"},
            **options,
        )

    def is_well(self, *, by: str = "admin") -> bool:
        """Whether the next call works."""
        answer = self.call("escape/Escape", "well", by=by)
        return answer.status_code == 200 and answer.json().get("result") == "well"


def refused(told: dict[str, dict[str, str]], *allowed: str) -> dict[str, dict[str, str]]:
    """Return what was not refused with one of the *allowed* errors: nothing, one hopes."""
    return {name: each for name, each in told.items() if each.get("refused") not in allowed}
