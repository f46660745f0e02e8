"""
Fixtures of the client's tests.

| fixture       | what                                                                   |
|---------------|------------------------------------------------------------------------|
| `stand_in`    | a server of its own, see `standin.py`                                  |
| `make_client` | makes clients of that server; each test runs once blocking, once async |
| `client`      | one such client                                                        |
| `home`        | an empty home directory, and no `ALGORITHMIA_*` in the environment     |
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Test modules are no package: what they share is found by its plain name.
sys.path.append(str(Path(__file__).parent))

from blocking import blocking
from standin import KEY, StandIn

from algorium import Algorium, AsyncAlgorium


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("API", "API_KEY", "BEARER_TOKEN"):
        monkeypatch.delenv(f"ALGORITHMIA_{name}", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    return home


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


@pytest.fixture(params=["blocking", "async"])
def make_client(request: pytest.FixtureRequest, stand_in: StandIn) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def make(**options: Any) -> Any:
            options = {"api_key": KEY, "api_address": stand_in.address, **options}
            if request.param == "blocking":
                client: Any = Algorium(**options)
                made.append(client.close)
            else:
                client = blocking(AsyncAlgorium(**options), runner)
                made.append(client.aclose)
            return client

        yield make
        for close in made:
            close()


@pytest.fixture
def client(make_client: Callable[..., Any]) -> Any:
    return make_client()
