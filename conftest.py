"""Settings of the whole test suite."""

import functools
import io
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Shared machines stall for moments: a slow example says nothing about the code.
settings.register_profile(
    "algorium",
    deadline=None,
    # State machines over a database are the longest of all tests; a longer hunt asks for more.
    max_examples=int(os.environ.get("ALGORIUM_TEST_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("algorium")

# Each `httpx2.get` makes a client, and each client reads all certificate authorities: 50 ms of
# processor time, thousands of times, for servers that speak no TLS. Read once, they do for all.
with suppress(ImportError):  # tests of the runtime run where nothing else is installed
    import httpcore2

    httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)


ONE_WORKER = ("tests/escape/", "tests/system/test_guide.py", "tests/system/test_clients.py")
"""
Files that share what takes long to make: servers by how slots start, or with all demo algorithms.

Those of one directory go to one worker, which then makes it once.
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests by file, as `--dist=loadfile` does, but some files together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - where it is installed

    class ByWhatIsShared(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return file.rpartition("/")[0] if file.startswith(ONE_WORKER) else file

    return ByWhatIsShared(config, log)


@pytest.fixture(autouse=True)
def _logs_of_commands_end_with_them() -> Iterator[None]:
    """A command that a test runs in this process logs to a stream that is closed afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if root.handlers == handlers:
        return
    from algorium_server import telemetry  # noqa: PLC0415 - the runtime is tested without it

    telemetry.configure("info", "logfmt", file=io.StringIO())
    root.handlers[:] = handlers
    root.setLevel(level)
