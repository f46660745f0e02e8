"""Programs for the old service's own client run with `algorium.compat` in its place, unchanged."""

import subprocess
import sys
from pathlib import Path

import pytest
from running import RunningServer

from algorium import Algorium

SCRIPTS = Path(__file__).parent
OURS = (sys.executable, "-m", "algorium.compat")
CROWD = 3


def output(*command: str, place: Path) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def crowd(server: RunningServer) -> str:
    with Algorium(server.key, server.api) as client:
        directory = client.dir("data://.my/compat_crowd")
        directory.create()
        for number in range(CROWD):
            directory.file(f"file{number:04d}").put(b"x")
    return str(directory.uri)


def test_programs_about_data_run(server: RunningServer, crowd: str, tmp_path: Path) -> None:
    script = str(SCRIPTS / "official_data.py")
    arguments = (server.key, server.api, str(tmp_path), crowd, str(CROWD))

    assert output(*OURS, script, *arguments, place=tmp_path).endswith("done\n")


def test_programs_about_accounts_run(server: RunningServer, tmp_path: Path) -> None:
    script = str(SCRIPTS / "official_accounts.py")
    arguments = (server.credentials["admin_api_key"], server.api, "compat_jane")

    assert output(*OURS, script, *arguments, place=tmp_path) == "done\n"


def test_programs_see_the_same_with_both_clients(
    server: RunningServer, official: Path, tmp_path: Path
) -> None:
    script = str(SCRIPTS / "official_compared.py")
    arguments = (script, server.key, server.api, "compared")

    assert output(*OURS, *arguments, place=tmp_path) == output(
        str(official), *arguments, place=tmp_path
    )


def test_changing_the_import_is_enough(server: RunningServer, tmp_path: Path) -> None:
    text = (SCRIPTS / "official_compared.py").read_text(encoding="utf-8")
    changed = tmp_path / "changed.py"
    changed.write_text(
        text.replace("import Algorithmia\n", "import algorium.compat as Algorithmia\n").replace(
            "from Algorithmia.", "from algorium.compat."
        ),
        encoding="utf-8",
    )
    arguments = (server.key, server.api, "changed")

    assert "Hello HAL 9000" in output(sys.executable, str(changed), *arguments, place=tmp_path)
