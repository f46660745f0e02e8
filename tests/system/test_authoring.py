"""Authoring as the pages say."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from running import RunningServer

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "publish-an-algorithm.md"


def test_the_guide_to_publishing_runs(server: RunningServer, tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL))
    env = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ALGORITHMIA_API": server.api,
        "ALGORITHMIA_API_KEY": server.key,
        "GIT_TERMINAL_PROMPT": "0",
    }
    done = subprocess.run(
        ["sh", "-euc", script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    with httpx2.Client(base_url=server.api, headers={"authorization": server.key}) as client:
        owner = f"/v1/algorithms/{server.credentials['username']}"
        client.headers["authorization"] = server.credentials["admin_api_key"]
        assert client.delete(f"{owner}/Greet").status_code == 204
    # A slot of it is warm still, and does not answer.
    assert server.call(f"{server.credentials['username']}/Greet/1.0.0", "x").status_code == 404

    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert told[1:] == [
        "Welcome, Jane",
        "1.0.0",
        "Welcome, everybody",
        "['1.0.0']",
        "['succeeded']",
    ]
    assert "remote: " in done.stderr


def test_the_document_of_the_management_api_is_whole(server: RunningServer) -> None:
    document = httpx2.get(f"{server.api}/v1/openapispec").json()
    operations = [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
    ]

    assert document["openapi"] == "3.1.0"
    assert len(operations) > 60
    for path, operation in operations:
        assert operation["description"], path
        declared = [(one["name"], one["in"]) for one in operation.get("parameters", [])]
        assert len(set(declared)) == len(declared), path
        named = set(re.findall(r"{(\w+)}", path))
        assert {name for name, place in declared if place == "path"} == named, path
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids)
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def references(value: Any) -> Iterator[str]:
    """Yield everything that a document refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)
