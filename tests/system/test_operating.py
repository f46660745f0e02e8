"""Operators' commands beside a running server; without one: the server's own tests."""

import json
import os
import subprocess
import uuid

import httpx2
from running import ALGORIUM, RunningServer


def algorium(
    server: RunningServer, *arguments: str, key: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ALGORIUM, *arguments, "--home", server.home],
        env={**os.environ, **({"ALGORIUM_ADMIN_KEY": key} if key else {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_commands_reach_the_running_server_at_once(server: RunningServer) -> None:
    name = f"op{uuid.uuid4().hex[:8]}"

    made = algorium(server, "user", "create", name, "--email", f"{name}@example.com", "--json")
    assert made.returncode == 0, made.stderr
    headers = {"Authorization": f"Simple {json.loads(made.stdout)['api_key']}"}
    before = httpx2.get(f"{server.api}/v1/data/.my", headers=headers)
    ended = algorium(server, "user", "disable", name)
    after = httpx2.get(f"{server.api}/v1/data/.my", headers=headers)
    gone = algorium(server, "user", "delete", name, "--yes")

    assert before.status_code == 200
    assert ended.returncode == gone.returncode == 0, ended.stderr + gone.stderr
    assert after.status_code == 401


def test_a_key_that_is_none_is_refused_with_a_way_out(server: RunningServer) -> None:
    done = algorium(server, "user", "list", key="simNOBODYSKEY")

    assert done.returncode == 1
    assert done.stdout == ""
    assert "ALGORIUM_ADMIN_KEY" in done.stderr
    assert "simNOBODYSKEY" not in done.stderr
