"""Data as it was always used: the old service's own clients and curl, on a real server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from running import RunningServer

CROWD_FILES = 1100
"""More than a page."""
SCRIPTS = Path(__file__).parent


@pytest.fixture(scope="module")
def crowd(server: RunningServer) -> Iterator[str]:
    """A collection of many files."""
    headers = {"authorization": server.key}
    with (
        httpx2.Client(base_url=server.api, headers=headers, timeout=60) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        assert client.post("/v1/data/.my", json={"name": "old_crowd"}).status_code == 200
        paths = [f"/v1/data/.my/old_crowd/file{number:04d}" for number in range(CROWD_FILES)]
        stored = list(threads.map(lambda path: client.put(path, content=b"x"), paths))
        assert {answer.status_code for answer in stored} == {200}
        yield "data://.my/old_crowd"
        deleted = client.delete("/v1/data/.my/old_crowd?force=true").json()
        assert deleted == {"result": {"deleted": CROWD_FILES + 1}}


def walked(command: list[str], home: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("ALGORITHMIA_")}
    walk = subprocess.run(
        command, env=env | {"HOME": str(home)}, capture_output=True, text=True, timeout=120
    )
    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert walk.stdout.endswith("done\n")


@pytest.mark.network
@pytest.mark.slow
def test_the_official_client_for_python(
    server: RunningServer, official: Path, crowd: str, tmp_path: Path
) -> None:
    script = str(SCRIPTS / "official_data.py")
    arguments = [server.key, server.api, str(tmp_path), crowd, str(CROWD_FILES)]

    walked([str(official), script, *arguments], tmp_path)


@pytest.fixture(scope="session")
def official_for_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the official client for Node.js as published, and return where it is."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: apt-get install nodejs npm")
    place = tmp_path_factory.mktemp("official_for_node")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--prefix"]
    done = subprocess.run(
        [*command, str(place), "algorithmia@0.3.10"], capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())[-200:]
        pytest.skip(f"the registry of npm cannot be reached: {reason}")
    return place / "node_modules" / "algorithmia"


@pytest.mark.network
@pytest.mark.slow
def test_the_official_client_for_node(
    server: RunningServer, official_for_node: Path, crowd: str, tmp_path: Path
) -> None:
    local = tmp_path / "local.bin"
    local.write_bytes(bytes(range(256)) * 500)
    arguments = [server.key, server.api, str(local), crowd, str(CROWD_FILES)]

    walked(
        ["node", str(SCRIPTS / "official_data.js"), str(official_for_node), *arguments], tmp_path
    )


class Curl:
    """curl with a key."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server

    def __call__(self, *arguments: str, path: str) -> bytes:
        command = ["curl", "-sS", "--path-as-is", "-H", f"Authorization: Simple {self.server.key}"]
        url = f"{self.server.api}/v1/data/{path}"
        done = subprocess.run([*command, *arguments, url], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str, path: str) -> object:
        """Return an answer's body, which must be JSON."""
        return json.loads(self(*arguments, path=path))


@pytest.fixture
def curl(server: RunningServer) -> Iterator[Curl]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    curl = Curl(server)
    made = curl.json("-d", '{"name":"curl","acl":{"read":[]}}', path=".my")
    assert made == {"result": "data://.my/curl"}
    yield curl
    curl("-X", "DELETE", path=".my/curl?force=true")


def test_directories_and_permissions_with_curl(curl: Curl) -> None:
    again = curl.json("-d", '{"name":"CURL"}', path=".my")
    assert again == {"error": {"message": "directory already exists"}}
    assert curl.json(path=".my/curl?acl=true") == {"folders": [], "files": [], "acl": {"read": []}}
    public = '{"acl":{"read":["user://*"]}}'
    assert curl("-X", "PATCH", "-d", public, path=".my/curl") == b""
    listing = curl.json(path=".my/curl/?acl=true")
    assert isinstance(listing, dict)
    assert listing["acl"] == {"read": ["user://*"]}
    assert b"x-data-type: directory" in curl("-I", path=".my/curl").lower()
    assert curl("-I", path=".my/absent").startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("name", ["a b", "Пароход.png", "100%", "a+b", "a?b#c", "x" * 255, "'\"<>"])
def test_files_of_odd_names_with_curl(curl: Curl, tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 10)
    path = f".my/curl/{quote(name)}"

    assert curl.json("-T", str(file), path=path) == {"result": f"data://.my/curl/{name}"}
    assert curl(path=path) == file.read_bytes()
    listing = curl.json(path=".my/curl")
    assert isinstance(listing, dict)
    assert [entry["filename"] for entry in listing["files"]] == [name]
    refused = curl.json("-X", "DELETE", path=".my/curl")
    assert refused == {"error": {"code": 6001, "message": "directory not empty"}}
    assert curl.json("-X", "DELETE", path=path) == {"result": {"deleted": 1}}


@pytest.mark.parametrize("size_bytes", [5000, 3_000_000])
def test_a_download_goes_on_after_a_cut_with_curl(
    curl: Curl, tmp_path: Path, size_bytes: int
) -> None:
    data = os.urandom(size_bytes)
    whole, half = tmp_path / "whole", tmp_path / "half"
    whole.write_bytes(data)
    half.write_bytes(data[: size_bytes // 2])
    curl("-T", str(whole), path=".my/curl/f")

    curl("-C", "-", "-o", str(half), path=".my/curl/f")
    assert half.read_bytes() == data
    assert curl("-r", "100-199", path=".my/curl/f") == data[100:200]
    etags = tmp_path / "etags"
    curl("--etag-save", str(etags), path=".my/curl/f")
    assert curl("--etag-compare", str(etags), path=".my/curl/f") == b""
    assert curl("-z", str(whole), path=".my/curl/f") in {b"", data}
    refused = curl.json("-C", "100", "-T", str(whole), path=".my/curl/f")
    assert isinstance(refused, dict)
    assert "/v1/uploads" in refused["error"]["hint"]
    assert curl(path=".my/curl/f") == data


def test_uploads_with_curl_in_all_its_ways(curl: Curl, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(2_000_000))
    chunked = ("-H", "Transfer-Encoding: chunked", "-T", str(file))
    waiting = ("-H", "Expect: 100-continue", "-T", str(file))
    posted = ("-X", "PUT", "--data-binary", f"@{file}")
    for arguments in (chunked, waiting, posted):
        assert curl.json(*arguments, path=".my/curl/f") == {"result": "data://.my/curl/f"}
        assert curl(path=".my/curl/f") == file.read_bytes()
        assert curl.json("-X", "DELETE", path=".my/curl/f") == {"result": {"deleted": 1}}
    assert sys.getsizeof(curl(path=".my/curl/f")) < 200
