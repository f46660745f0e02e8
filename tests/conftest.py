"""Fixtures of the tests of the whole product: one demo server for all of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from running import RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Start a server with the demo algorithms once; tests must leave it usable."""
    home = tmp_path_factory.mktemp("server") / "home"
    with RunningServer(home, "--demo") as running:
        yield running
