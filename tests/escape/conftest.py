"""
Fixtures of the escape suite.

| fixture    | what                                                                            |
|------------|---------------------------------------------------------------------------------|
| `attacked` | a server with the hostile algorithms, one for each way in which slots start     |
| `host`     | things outside of slots that nobody may touch                                   |
| `site`     | both, for one test; afterwards everything must be untouched and the server well |
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from people import add_user
from projects import write_examples
from running import RunningServer
from waiting import wait_until

from algorium_server.settings import Settings

from .attacked import Attacked
from .building import Wheel
from .outside import Host, is_alive, things_of_the_host

_HERE = Path(__file__).parent
_FLAGS = {option.flag for option in Settings.table()}
START_PATHS = {
    "cold": ("--zygotes", "off") if "--zygotes" in _FLAGS else (),
    "zygote": ("--zygotes", "on"),
}
"""How slots start, with the options of `serve` that make it so."""
SECRET = "secret-of-the-server-5f2b"
"""In the environment of the server, where it is nobody else's business."""


@pytest.fixture(scope="session")
def _prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build and publish once; every start path then begins with the same home."""
    place = tmp_path_factory.mktemp("escape")
    sources: dict[str, str | Path] = {"escape/Escape": _HERE / "hostile"}
    for path in (_HERE / "loading").glob("*.py"):
        sources[f"escape/{path.stem}"] = path.read_text(encoding="utf-8")
    sources["escape/Carrier"] = _carrier(place)
    examples = write_examples(place / "examples", sources)
    home = place / "home"
    options = ("--demo", "--examples-dir", str(examples))
    with RunningServer(home, *options, env={"UV_FIND_LINKS": str(place / "index")}) as server:
        found = httpx2.get(f"{server.api}/readyz").json()
        lines = "\n".join(server.lines)
    if found["sandbox"]["level"] != "full":
        missing = "; ".join(f"{m['what']}: {m['why']}" for m in found["sandbox"]["missing"])
        pytest.skip(f"sandboxes of level full are not possible here. {missing}")
    assert found["demo"] == "published", lines
    (place / "jane.key").write_text(add_user(home, "jane"))
    return home


def _carrier(place: Path) -> Path:
    """Write the project of an algorithm whose one library is hostile, and an index that has it."""
    (place / "index").mkdir()
    library = Wheel(files={"pkg.py": (_HERE / "carrying" / "pkg.py").read_text(encoding="utf-8")})
    (place / "index" / f"pkg-1.0{library.suffix}").write_bytes(library.pack("1.0"))
    project = place / "carrier"
    (project / "src").mkdir(parents=True)
    shutil.copy(_HERE / "carrying" / "Carrier.py", project / "src")
    (project / "algorithmia.conf").write_text('{"algoname": "Carrier"}', encoding="utf-8")
    (project / "requirements.txt").write_text("--no-index\npkg==1.0\n", encoding="utf-8")
    return project


@pytest.fixture(scope="package", params=START_PATHS)
def attacked(request: pytest.FixtureRequest, _prepared_home: Path) -> Iterator[Attacked]:
    options = START_PATHS[request.param]
    if request.param == "zygote" and "--zygotes" not in _FLAGS:
        pytest.skip("this server has no option --zygotes: slots start in one way only")
    with (
        RunningServer(_prepared_home, *options, env={"SECRET": SECRET}) as server,
        httpx2.Client(timeout=120) as http,
    ):
        keys = {"admin": server.key, "jane": (_prepared_home.parent / "jane.key").read_text()}
        found = Attacked(
            server=server, keys=keys, supervisor=0, start_path=request.param, http=http
        )
        assert found.is_well(), "the first slot also starts the supervisor, if there is none yet"
        found.supervisor = _supervisor_of(server.pid)
        _wait_for_start_by(found, request.param)
        yield found
        _wait_for_start_by(found, request.param)  # still: attacks do not make it fall back for good


@pytest.fixture(scope="package")
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="escape-"))  # not pytest's, which is closed to others
    try:
        with things_of_the_host(folder) as things:
            yield things
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def site(attacked: Attacked, host: Host) -> Iterator[Attacked]:
    yield attacked

    assert host.is_untouched()
    assert is_alive(attacked.server.pid)
    assert is_alive(attacked.supervisor)
    assert attacked.is_well(by="jane")
    # Its own slot may be about to end, which may cost the attacker a call, but not two.
    assert attacked.is_well() or attacked.is_well()


def _wait_for_start_by(attacked: Attacked, path: str) -> None:
    """Wait until fresh slots start in that way: a zygote is made in the background."""

    def is_so() -> bool:
        attacked.answer("resources.leave")
        return attacked.answer("processes.started_by").json().get("result") == path

    wait_until(is_so, timeout_s=60, what=f"slots start by way of {path}")


def _supervisor_of(pid: int) -> int:
    def find() -> list[int]:
        return [each for each in _children_of(pid) if b"supervisor" in _command_of(each)]

    found = wait_until(find, timeout_s=30, what="the supervisor runs")
    return found[0]


def _children_of(pid: int) -> list[int]:
    threads = os.listdir(f"/proc/{pid}/task")
    lists = (Path(f"/proc/{pid}/task/{thread}/children").read_text() for thread in threads)
    return [int(child) for each in lists for child in each.split()]


def _command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
