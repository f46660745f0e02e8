"""An author over plain HTTP: algorithms from files, and what became of their builds."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2

PATIENCE_S = 240
HELLO = "def apply(input):\n    return f'Hello {input}'\n"


class BuildAuthor:
    """
    An account that makes algorithms.

    Args:
        api: Base address of the server, or what returns it: it changes with a restart.
        key: Of the account.
        name: Username of it, or of an organization of it.
    """

    def __init__(self, api: str | Callable[[], str], key: str, name: str = "admin") -> None:
        self._api = api if callable(api) else lambda: api
        self.key = key
        self.name = name

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Simple {self.key}", **options.pop("headers", {})}
        options = {"timeout": PATIENCE_S, **options}
        return httpx2.request(method, f"{self._api()}{path}", headers=headers, **options)

    def told(self, method: str, path: str, **options: Any) -> Any:
        """Ask for what must succeed, and return what is answered."""
        answer = self.ask(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json()

    def create(self, name: str, **settings: Any) -> None:
        # No network: what is built here is called on any host.
        settings = {"language": "python3", "network_access": "isolated", **settings}
        body = {"name": name, "details": {"label": name}, "settings": settings}
        self.told("POST", f"/v1/algorithms/{self.name}", json=body)

    def path(self, name: str, rest: str = "") -> str:
        return f"/v1/algorithms/{self.name}/{name}{rest}"

    def commit(self, name: str, files: Mapping[str, str | bytes | None], **options: Any) -> Any:
        """Commit files, None deletes; *build* also asks for a build of that."""
        changes = [_change(path, content) for path, content in files.items()]
        body = {"message": "Change", "changes": changes, **options}
        return self.told("POST", self.path(name, "/commits"), json=body)

    def begin(self, name: str, files: Mapping[str, str | bytes | None], **settings: Any) -> str:
        """Create an algorithm with nothing but *files* and begin to build it; return the build."""
        self.create(name, **settings)
        listed = self.told("GET", self.path(name, "/source"))["files"]
        others = dict.fromkeys({each["path"] for each in listed} - {"algorithmia.conf", *files})
        build: str = self.commit(name, {**others, **files}, build=True)["build"]["build_id"]
        return build

    def build(self, name: str, build_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.told("GET", self.path(name, f"/builds/{build_id}"))
        return found

    def events(self, name: str, build_id: str, **headers: str) -> Iterator[tuple[str, int, Any]]:
        """Follow a build; yield name, id and data of each event."""
        url = f"{self._api()}{self.path(name, f'/builds/{build_id}/logs/stream')}"
        headers = {"Authorization": f"Simple {self.key}", **headers}
        with httpx2.stream("GET", url, headers=headers, timeout=PATIENCE_S) as answer:
            assert answer.status_code == 200, answer.read()
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if line and not line.startswith(":"):
                    event[field] = value
                elif not line and event:
                    yield event["event"], int(event["id"]), json.loads(event["data"])
                    event = {}

    def ended(self, name: str, build_id: str) -> tuple[dict[str, Any], str]:
        """Wait for the end of a build; return it, and its log."""
        log = ""
        for event, _, data in self.events(name, build_id):
            if event == "end":
                return data, log
            log += data
        raise AssertionError(f"the stream ended without an end:\n{log}")

    def call(self, ref: str, value: Any = None) -> Any:
        told = self.told("POST", f"/v1/algo/{self.name}/{ref}", json=value)
        assert "result" in told, told
        return told["result"]


def _change(path: str, content: str | bytes | None) -> dict[str, Any]:
    if content is None:
        return {"path": path, "delete": True}
    if isinstance(content, str):
        return {"path": path, "content": content}
    return {"path": path, "content_base64": base64.b64encode(content).decode()}
