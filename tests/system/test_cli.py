"""The command `algo` against a real server: what it prints, and how it ends."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import ALGORIUM, RunningServer

ALGO = ALGORIUM.with_name("algo")
PHOTOS = "data://.my/cli_photos"


@dataclass(frozen=True)
class Done:
    code: int
    out: bytes
    error: str

    def json(self) -> Any:
        return json.loads(self.out)


Algo = Callable[..., Done]


@pytest.fixture(scope="module")
def algo(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Algo:
    home = tmp_path_factory.mktemp("home")  # without profiles of whoever runs the tests

    def run(*arguments: str | Path, stdin: bytes = b"", key: str = "") -> Done:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ALGORITHMIA_API": server.api,
            "ALGORITHMIA_API_KEY": key or server.key,
        }
        done = subprocess.run(
            [ALGO, *arguments], env=environment, input=stdin, capture_output=True, timeout=60
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture
def photos(algo: Algo) -> Iterator[str]:
    assert algo("mkdir", PHOTOS, "--private") == Done(0, b"", "")
    yield PHOTOS
    algo("rm", "-r", PHOTOS)


class TestRun:
    @pytest.mark.parametrize(
        ("arguments", "stdin", "out"),
        [
            (["demo/Hello", "-d", "HAL 9000"], b"", b"Hello HAL 9000\n"),
            (["demo/Hello/0.1.0", "-"], b"piped", b"Hello piped\n"),
            (["util/Echo", "-j", '{"a": [1, null]}'], b"", b'{"a": [1, null]}\n'),
            (["util/Echo", "-j", '{"a": [1, null]}', "--raw"], b"", b'{"a":[1,null]}'),
            (["util/Echo", "-"], b"\x00\xff", b"\x00\xff"),
        ],
    )
    def test_it_prints_the_result(
        self, algo: Algo, arguments: list[str], stdin: bytes, out: bytes
    ) -> None:
        assert algo("run", *arguments, stdin=stdin) == Done(0, out, "")

    def test_json_holds_result_and_metadata(self, algo: Algo) -> None:
        answer = algo("run", "util/Echo", "-j", "[1]", "--json").json()

        assert answer["result"] == [1]
        assert answer["metadata"]["content_type"] == "json"
        assert answer["metadata"]["duration"] > 0
        assert answer["metadata"]["request_id"].startswith("req-")

    def test_files_go_in_and_out(self, algo: Algo, tmp_path: Path) -> None:
        source, target = tmp_path / "in.bin", tmp_path / "out.bin"
        source.write_bytes(bytes(range(256)))

        assert algo("run", "util/Echo", "-b", source, "-o", target) == Done(0, b"", "")
        assert target.read_bytes() == source.read_bytes()

    def test_debug_tells_times_and_the_request(self, algo: Algo) -> None:
        done = algo("run", "demo/Hello", "-d", "x", "--debug")

        assert (done.code, done.out) == (0, b"Hello x\n")
        assert "total " in done.error
        assert "request req-" in done.error

    def test_a_failing_algorithm_is_exit_code_1(self, algo: Algo) -> None:
        done = algo("run", "util/Sleep", "-j", '"nonsense"')

        assert (done.code, done.out) == (1, b"")
        assert done.error.startswith("error: InputError: ")
        assert "\nrequest: req-" in done.error

    def test_a_call_past_its_timeout_says_so(self, algo: Algo) -> None:
        done = algo("run", "util/Sleep", "-j", "30", "--timeout", "0.5")

        assert done.code == 1
        assert done.error.startswith("error: TimeoutError: ")

    @pytest.mark.parametrize(
        ("arguments", "key", "code", "error"),
        [
            (
                ["util/WhoopsWrongAlgo", "-d", "x"],
                "",
                1,
                "error: algorithm algo://util/WhoopsWrongAlgo not found\n",
            ),
            (["demo/Hello", "-d", "x"], "simNobody", 1, "error: Unknown or invalid API key.\n"),
            (["demo/Hello"], "", 2, "error: give exactly one input"),
            (["nonsense", "-d", "x"], "", 2, "error: "),
        ],
    )
    def test_a_refusal_says_why_and_what_next(
        self, algo: Algo, arguments: list[str], key: str, code: int, error: str
    ) -> None:
        done = algo("run", *arguments, key=key)

        assert (done.code, done.out) == (code, b"")
        assert done.error.startswith(error)
        assert done.error.splitlines()[-1].startswith("hint: ")
        assert "Traceback" not in done.error


class TestFiles:
    def test_a_file_goes_up_across_and_down(self, algo: Algo, photos: str, tmp_path: Path) -> None:
        local = tmp_path / "a.txt"
        local.write_text("text\n")

        assert algo("cp", local, photos) == Done(0, b"", "")
        assert algo("cp", f"{photos}/a.txt", f"{photos}/b.txt") == Done(0, b"", "")
        assert algo("cp", "-", f"{photos}/c d.txt", stdin=b"piped\n") == Done(0, b"", "")
        assert algo("cp", f"{photos}/b.txt", tmp_path / "down.txt") == Done(0, b"", "")

        assert (tmp_path / "down.txt").read_text() == "text\n"
        assert algo("ls", photos) == Done(0, b"a.txt\nb.txt\nc d.txt\n", "")
        assert algo("cat", f"{photos}/a.txt", f"{photos}/c d.txt").out == b"text\npiped\n"

    def test_ls_as_json(self, algo: Algo, photos: str) -> None:
        algo("cp", "-", f"{photos}/a.txt", stdin=b"1234")

        (entry,) = algo("ls", photos, "--json").json()
        names = [line["name"] for line in algo("ls", "data://.my", "--json").json()]

        assert entry.pop("modified_at")
        assert entry == {"type": "file", "name": "a.txt", "uri": f"{photos}/a.txt", "size": 4}
        assert "cli_photos" in names

    def test_ls_of_the_root_is_the_account(self, algo: Algo) -> None:
        assert algo("ls").out.splitlines()[0] == b"admin/"

    def test_rm_wants_a_word_for_directories(self, algo: Algo, photos: str) -> None:
        algo("cp", "-", f"{photos}/a", stdin=b"1")
        algo("cp", "-", f"{photos}/b", stdin=b"2")

        assert algo("rm", f"{photos}/a") == Done(0, b"", "")
        assert algo("rm", photos).code == 2
        assert algo("ls", photos).out == b"b\n"
        assert algo("rm", "-r", photos) == Done(0, b"", "")
        assert algo("ls", photos).code == 1

    def test_what_exists_is_not_made_again(self, algo: Algo, photos: str) -> None:
        done = algo("mkdir", photos)

        assert (done.code, done.out) == (1, b"")
        assert done.error.startswith("error: ")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("cat", f"{PHOTOS}_missing/a"),
            ("rm", f"{PHOTOS}_missing/a"),
            ("cp", f"{PHOTOS}_missing/a", "-"),
            ("cp", "-", f"{PHOTOS}_missing/a"),
            ("mkdir", "data://.my/not-a-name"),
        ],
    )
    def test_what_cannot_be_done_is_exit_code_1(
        self, algo: Algo, arguments: tuple[str, ...]
    ) -> None:
        done = algo(*arguments)

        assert (done.code, done.out) == (1, b"")
        assert done.error.startswith("error: ")
        assert done.error.splitlines()[-1].startswith("hint: ")
