"""The lines that the first pages ask a reader to type do what the pages say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import RunningServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/guides/first-call.md"]


def blocks(page: str, language: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, server: RunningServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks(page, "python")],
        env={**os.environ, "ALGORITHMIA_API": server.api, "ALGORITHMIA_API_KEY": server.key},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Hello HAL 9000" in done.stdout
    if "WhoopsWrongAlgo" in blocks(page, "python"):
        assert "1000 algorithm algo://util/WhoopsWrongAlgo not found" in done.stdout


def test_the_guide_about_data_runs(server: RunningServer, tmp_path: Path) -> None:
    page = "docs/guides/working-with-data.md"
    environment = {
        **os.environ,
        "ALGORITHMIA_API": server.api,
        "ALGORITHMIA_API_KEY": server.key,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    commands = ([sys.executable, "-c", blocks(page, "python")], ["sh", "-euc", blocks(page, "sh")])

    told = ""
    for command in commands:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        told += done.stdout

    assert "Hello\n" in told
    assert "somebody else was faster\n" in told
    assert "('3.txt',) ('4.txt',)\n121\n" in told
    assert told.endswith("copied b.jpg\ndeleted a.jpg\npicture\n")


def test_the_guide_for_authors_runs(server: RunningServer, tmp_path: Path) -> None:
    page = "docs/guides/author-from-the-command-line.md"
    environment = {
        "HOME": str(tmp_path),
        "ALGORITHMIA_API": server.api,
        "ALGORITHMIA_API_KEY": server.key,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    commands = (["sh", "-euc", blocks(page, "sh")], [sys.executable, "-c", blocks(page, "python")])

    told = []
    for command in commands:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)

    assert "\n3\nadmin/Wordcount/0.1.0\n" in told[0]
    assert "admin/Wordcount/0.1.1\n" in told[0]
    assert "failed, as it should\n" in told[0]
    assert "AlgorithmError: there is no text" in told[0]
    assert told[0].endswith("nothing new\n")
    assert told[1] == "admin/Charcount/0.1.0 4\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_the_shell_lines_of_a_page_run(page: str, server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / ".algorium").symlink_to(server.home)
    lines = blocks(page, "sh").replace("http://127.0.0.1:8080", server.api)

    done = subprocess.run(
        ["sh", "-euc", lines],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert '"result":"Hello HAL 9000"' in done.stdout
