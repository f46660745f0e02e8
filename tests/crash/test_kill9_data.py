"""`kill -9` of the server in the middle of puts, moves and deletes, wherever the data are."""

import asyncio
import hashlib
import http.client
import json
import os
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from running import RunningServer
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from peers import running_s3
from postgres import running_postgres

from algorium_server.commands.checking import check
from algorium_server.services.files.checking import CheckReport
from algorium_server.settings import Settings

ROUNDS = {"local": 2, "postgresql": 1, "s3": 1, "postgresql and s3": 1}
WORKERS = 8
OPERATIONS_MIN = int(os.environ.get("ALGORIUM_CRASH_OPERATIONS", "150"))
"""Acknowledged before each crash; the variable asks for more, and for the last place as well."""
PLACES = ["local", "postgresql", "s3"]
if "ALGORIUM_CRASH_OPERATIONS" in os.environ:
    PLACES.append("postgresql and s3")
NAMES = [f"file{number}.bin" for number in range(6)]
SIZES = [10, 4096, 20_000, 300_000]

World = dict[str, str]
"""Digests by name."""


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.postgresql) if "postgresql" in name else name
        for name in PLACES
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[list[str], dict]]:
    """Options and environment that say where rows and bytes are."""
    options: list[str] = []
    env: dict[str, str] = {}
    with ExitStack() as stack:
        if "postgresql" in request.param:
            server = stack.enter_context(running_postgres())
            options += ["--database", server.new_database()]
        if "s3" in request.param:
            peer = stack.enter_context(running_s3(tmp_path / "peer"))
            url = f"s3://bucket/crash?endpoint={peer.endpoint}&allow_http=true"
            options += ["--storage", url]
            env |= {
                "AWS_ACCESS_KEY_ID": peer.credentials["access_key_id"],
                "AWS_SECRET_ACCESS_KEY": peer.credentials["secret_access_key"],
            }
        yield options, env


class Worker(threading.Thread):
    """
    Changes files of its own collection, one thing at a time, until the server is gone.

    Attributes:
        worlds: What its collection may hold: one world, or two while an answer is awaited.
    """

    def __init__(self, server: RunningServer, number: int, world: World, seed: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.collection = f"crash{number}"
        self.worlds = [world]
        self.done = 0
        self.wrong: list[str] = []
        self.random = random.Random(seed)

    def run(self) -> None:
        address = urlsplit(self.server.api)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        try:
            while True:
                self.change(connection)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def change(self, connection: http.client.HTTPConnection) -> None:
        world = self.worlds[0]
        name = self.random.choice(NAMES)
        kind = self.random.choice(["put", "put", "move", "delete"])
        if kind != "put" and name not in world:
            return
        method, target, body, headers, after = "PUT", name, b"", {}, dict(world)
        if kind == "put":
            body = self.random.randbytes(self.random.choice(SIZES))
            after[name] = hashlib.sha256(body).hexdigest()
        elif kind == "move":
            target = self.random.choice([other for other in NAMES if other != name])
            headers = {"X-Move-From": f"data://.my/{self.collection}/{name}"}
            after[target] = after.pop(name)
        else:
            method = "DELETE"
            del after[name]
        self.worlds = [world, after]
        headers["Authorization"] = f"Simple {self.server.key}"
        path = f"/v1/data/.my/{self.collection}/{target}"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200:
            self.worlds = [after]
        else:
            self.wrong.append(f"{method} {path} {headers.keys()}: {answer.status} {text!r}")
        self.done += 1

    def found(self) -> World:
        """Read what the collection holds now."""
        address = urlsplit(self.server.api)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        headers = {"Authorization": f"Simple {self.server.key}"}
        root = f"/v1/data/.my/{self.collection}"
        connection.request("GET", root, headers=headers)
        world = {}
        for entry in json.loads(connection.getresponse().read())["files"]:
            connection.request("GET", f"{root}/{entry['filename']}", headers=headers)
            body = connection.getresponse().read()
            assert len(body) == entry["size"]
            world[entry["filename"]] = hashlib.sha256(body).hexdigest()
        connection.close()
        return world


def create(server: RunningServer, collection: str) -> None:
    address = urlsplit(server.api)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    headers = {"Authorization": f"Simple {server.key}"}
    connection.request("POST", "/v1/data/.my", json.dumps({"name": collection}), headers)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.slow
def test_every_acknowledged_change_is_there_and_nothing_is_torn(
    request: pytest.FixtureRequest, tmp_path: Path, place: tuple[list[str], dict]
) -> None:
    options, env = place
    server = RunningServer(tmp_path / "home", *options, env=env)
    worlds: list[World] = [{} for _ in range(WORKERS)]
    server.start()
    for number in range(WORKERS):
        create(server, f"crash{number}")
    for attempt in range(ROUNDS[request.node.callspec.params["place"]]):
        workers = [
            Worker(server, number, world, seed=100 * attempt + number)
            for number, world in enumerate(worlds)
        ]
        for worker in workers:
            worker.start()
        wait_until(
            lambda w=workers: (
                sum(each.done for each in w) >= OPERATIONS_MIN or any(each.wrong for each in w)
            ),
            timeout_s=120,
        )

        server.kill()
        for worker in workers:
            worker.join(timeout=60)

        assert not [wrong for worker in workers for wrong in worker.wrong]
        report = fsck(tmp_path / "home", place)
        assert report.is_clean, report
        server.start()
        for number, worker in enumerate(workers):
            worlds[number] = worker.found()
            assert worlds[number] in worker.worlds, worker.collection
    assert server.stop() == 0
    report = fsck(tmp_path / "home", place, repairs=True)
    assert report.is_clean
    assert report.files == sum(map(len, worlds))


def fsck(home: Path, place: tuple[list[str], dict], *, repairs: bool = False) -> CheckReport:
    """Do what `algorium fsck` does, without the time that another process takes to start."""
    options, env = place
    values = {option.removeprefix("--"): value for option, value in batched(options)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        settings = Settings(home=home, **values)
        return asyncio.run(check(settings, reads=True, repairs=repairs, tells=False))


def batched(options: list[str]) -> Iterator[tuple[str, str]]:
    return zip(options[::2], options[1::2], strict=True)
