"""Clients across processes, threads and logs."""

import logging
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standin import KEY, Fault, StandIn

import algorium
from algorium import Algorium, AsyncAlgorium

CONFIG = '[profiles.{name}]\napi_server = "{address}"\napi_key = "{key}"\n'


def copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def test_what_a_client_makes_is_pickled_without_its_connections(stand_in: StandIn) -> None:
    with Algorium(KEY, stand_in.address, timeout_s=7) as client:
        client.dir("data://.my/photos").create()
        client.file("data://.my/photos/a").put(b"x")
        things = (client, client.algo("demo/Hello").timeout(9), client.file("data://.my/photos/a"))
        other, hello, file = copied(things)
        algorithms, keys = copied((client.algorithms("ada/echo"), client.keys))

    assert other.algo("demo/Hello").pipe("x").result == "Hello x"
    assert hello.pipe("x").result == "Hello x"
    assert repr(hello) == "<AlgorithmHandle algo://demo/Hello?timeout=9>"
    assert file.read() == b"x"
    assert (repr(algorithms), type(keys)) == (repr(client.algorithms("ada/echo")), algorium.Keys)
    for each in (other, hello, file):
        getattr(each, "_transport", each).close()


def test_a_key_that_was_passed_is_in_the_pickle(stand_in: StandIn) -> None:
    client = AsyncAlgorium(KEY, stand_in.address)

    assert KEY.encode() in pickle.dumps(client)
    assert copied(client).api_address == stand_in.address


@pytest.mark.parametrize("source", ["environment", "profile"])
def test_a_key_that_was_found_is_found_anew(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, home: Path, source: str
) -> None:
    if source == "profile":
        (home / ".algorithmia").mkdir()
        text = CONFIG.format(name="default", address=stand_in.address, key=KEY)
        (home / ".algorithmia" / "config").write_text(text)
    else:
        monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
        monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    with Algorium() as client:
        pickled = pickle.dumps(client.algo("demo/Hello"))

    handle = pickle.loads(pickled)
    assert KEY.encode() not in pickled
    assert handle.pipe("x").result == "Hello x"
    handle._transport.close()


def test_a_profile_that_is_not_there_is_told_when_unpickling(stand_in: StandIn, home: Path) -> None:
    (home / ".algorithmia").mkdir()
    config = home / ".algorithmia" / "config"
    config.write_text(CONFIG.format(name="work", address=stand_in.address, key=KEY))
    with Algorium(profile="work") as client:
        pickled = pickle.dumps(client)
    config.unlink()

    with pytest.raises(algorium.ConfigurationError, match="work"):
        pickle.loads(pickled)


def test_a_fork_has_connections_of_its_own(stand_in: StandIn) -> None:
    with Algorium(KEY, stand_in.address) as client:
        client.algo("demo/Hello").pipe("parent")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writer, client.algo("demo/Hello").pipe("child").result.encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        told = os.read(reader, 100)
        after = client.algo("demo/Hello").pipe("parent").result
        os.close(reader)
        os.close(writer)

    assert (told, after) == (b"Hello child", "Hello parent")
    assert stand_in.connections == 2


def test_threads_share_a_client(stand_in: StandIn) -> None:
    with Algorium(KEY, stand_in.address) as client, ThreadPoolExecutor(8) as pool:
        handle = client.algo("util/Echo")
        found = list(pool.map(lambda number: handle.pipe(number).result, range(80)))

    assert found == list(range(80))


def test_what_is_logged_holds_no_secrets(
    client: Any, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.faults.append(Fault(drops=True))
    with caplog.at_level(logging.DEBUG):
        client.dir("data://.my").exists()
        client.algo("demo/Hello").query(token="hidden").pipe("body")

    ours = [record.getMessage() for record in caplog.records if record.name == "algorium"]
    assert any(line.startswith("HEAD /v1/connector/data/.my: ConnectionLost, ") for line in ours)
    assert any("POST /v1/algo/demo/Hello: HTTP 200, request req-1" in line for line in ours)
    assert not [line for line in ours if KEY in line or "hidden" in line or "body" in line]
    assert KEY not in caplog.text


def test_what_the_server_refuses_names_the_request(client: Any) -> None:
    with pytest.raises(algorium.ApiError) as refused:
        client.algo("no/such").pipe("x")
    with pytest.raises(algorium.AlgorithmError) as failed:
        client.algo("fail/InputError").pipe("x")
    with pytest.raises(algorium.ResultTypeError) as misread:
        client.algo("demo/Hello").pipe("x").decode(int)

    for caught in (refused, failed, misread):
        assert caught.value.request_id.startswith("req-")


def test_importing_it_loads_nothing_heavy() -> None:
    program = (
        "import sys; import algorium; from algorium.wire import refs;"
        "print(*[name for name in"
        " ('httpx2', 'httpcore2', 'asyncio', 'ssl', 'rich', 'cyclopts', 'numpy', 'pydantic')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == ""


def test_a_client_loads_no_optional_library() -> None:
    program = (
        "import sys; from algorium import Algorium; Algorium('key');"
        "print(*[name for name in"
        " ('rich', 'cyclopts', 'numpy', 'pydantic', 'fsspec', 'requests', 'h2', 'trio')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == ""
