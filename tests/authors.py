"""Somebody who makes algorithms on a running server: by the API, and with git."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2
from running import ALGORIUM, RunningServer

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com")


class Author:
    """
    The administrator, with projects below *place*.

    Args:
        server: Where algorithms are made.
        place: Holds a clone of each.
    """

    def __init__(self, server: RunningServer, place: Path) -> None:
        self.server = server
        self.place = place
        self.http = httpx2.Client(
            base_url=server.api,
            headers={"Authorization": f"Simple {server.key}"},
            timeout=120,
        )

    def create(self, name: str, source: str, *, requirements: str = "", **files: str) -> str:
        """Create an algorithm, and push its first state; see `push`."""
        body = {
            "name": name,
            "details": {"label": name},
            "settings": {"language": "python3", "network_access": "isolated"},
        }
        answer = self.http.post("/v1/algorithms/admin", json=body)
        assert answer.status_code in {200, 201}, answer.text
        address = self.server.api.replace("://", f"://admin:{self.server.key}@")
        self._git("clone", "-q", f"{address}/git/admin/{name}.git", name)
        for path in (".adk", f"src/{name}_test.py"):
            (self.place / name / path).unlink(missing_ok=True)
        return self.push(name, source, requirements=requirements, **files)

    def push(self, name: str, source: str, *, requirements: str = "", **files: str) -> str:
        """Commit and push a new state, which builds it; return what git says, the log among it."""
        tree = self.place / name
        (tree / "src" / f"{name}.py").write_text(source)
        (tree / "requirements.txt").write_text(requirements)
        for path, text in files.items():
            (tree / path).write_text(text)
        self._git("-C", name, "add", "-A")
        self._git("-C", name, "commit", "-qm", "Change", "--allow-empty")
        return self._git("-C", name, "push", "-q")

    def publish(self, name: str, *, status: int = 200, **info: Any) -> "dict[str, Any]":
        """Publish the newest build."""
        body = {"version_info": info}
        answer = self.http.post(f"/v1/algorithms/admin/{name}/versions", json=body)
        assert answer.status_code == status, answer.text
        published: dict[str, Any] = answer.json()
        return published

    def get(self, name: str, rest: str) -> httpx2.Response:
        """Ask for something of an algorithm."""
        return self.http.get(f"/v1/algorithms/admin/{name}/{rest}")

    def verify(self, version: str) -> "tuple[int, dict[str, Any]]":
        """Run `algorium verify`; return its exit code and what it says."""
        command = [ALGORIUM, "verify", f"admin/{version}", "--home", self.server.home, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            [*GIT, *arguments], cwd=self.place, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr
