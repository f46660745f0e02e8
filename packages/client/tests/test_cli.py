import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pressing import ALGO, interrupt
from standin import KEY, Directory, Fault, StandIn
from standin_data import Upload

from algorium.cli import main


class Cli:
    """Runs `algo` in this process, or in one of its own where standard input matters."""

    def __init__(self, address: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self._environment = {"ALGORITHMIA_API": address, "ALGORITHMIA_API_KEY": KEY}
        self._capture = capfdbinary

    def __call__(self, *arguments: str) -> tuple[int, bytes, str]:
        code = main(arguments)
        out, error = self._capture.readouterr()
        return code, out, error.decode()

    def piped(self, content: bytes, *arguments: str) -> tuple[int, bytes, str]:
        done = subprocess.run(
            [*ALGO, *arguments],
            input=content,
            capture_output=True,
            check=False,
            env={**os.environ, **self._environment},
        )
        return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture
def algo(
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Cli:
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    return Cli(stand_in.address, capfdbinary)


def test_run_prints_the_result(algo: Cli) -> None:
    assert algo("run", "demo/Hello", "-d", "HAL 9000") == (0, b"Hello HAL 9000\n", "")
    assert algo("run", "util/Echo", "-j", '{"ü": [1]}') == (0, '{"ü": [1]}\n'.encode(), "")
    assert algo("run", "demo/Hello", "-d", "-5") == (0, b"Hello -5\n", "")


def test_run_takes_files(algo: Cli, tmp_path: Path, stand_in: StandIn) -> None:
    binary, text, value = tmp_path / "a.bin", tmp_path / "a.txt", tmp_path / "a.json"
    binary.write_bytes(b"\xff\x00")
    text.write_text("text")
    value.write_text("[1]")

    assert algo("run", "util/Echo", "-b", str(binary)) == (0, b"\xff\x00", "")
    assert algo("run", "util/Echo", "-f", str(text)) == (0, b"text\n", "")
    assert algo("run", "util/Echo", "-f", str(value)) == (0, b"[1]\n", "")
    assert stand_in.last.headers["content-type"] == "application/json"
    assert algo("run", "util/Echo", "-f", str(binary))[0] == 2


def test_run_writes_raw_results_and_files(algo: Cli, tmp_path: Path, stand_in: StandIn) -> None:
    target = tmp_path / "out"

    assert algo("run", "demo/Hello", "-d", "x", "--raw") == (0, b"Hello x", "")
    assert stand_in.last.query["output"] == "raw"
    assert algo("run", "demo/Hello", "-d", "x", "--timeout", "5", "-o", str(target)) == (0, b"", "")
    assert stand_in.last.query == {"timeout": "5.0"}
    assert target.read_bytes() == b"Hello x\n"


def test_run_shows_everything_when_asked(algo: Cli) -> None:
    code, out, error = algo("run", "util/Echo", "-j", "[1]", "--json", "--debug")

    assert code == 0
    assert json.loads(out)["result"] == [1]
    assert json.loads(out)["metadata"]["duration"] == 0.5
    assert error.startswith("printed\n")
    assert "running 0.2500 s" in error


def test_run_reads_standard_input(algo: Cli) -> None:
    assert algo.piped("HAL ü".encode(), "run", "demo/Hello", "-") == (
        *(0, "Hello HAL ü\n".encode(), ""),
    )
    assert algo.piped(b"\xff", "run", "util/Echo", "-") == (0, b"\xff", "")


def test_a_failing_algorithm_is_exit_code_1(algo: Cli) -> None:
    code, out, error = algo("run", "fail/InputError", "-d", "x", "--debug")

    assert (code, out) == (1, b"")
    assert error.startswith("Traceback\nerror: InputError: it is a InputError\n")
    assert error.splitlines()[-1].startswith("hint: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["run"],
        ["run", "demo/Hello"],
        ["run", "demo", "-d", "x"],
        ["run", "demo/Hello", "x"],
        ["run", "demo/Hello", "-d", "x", "-j", "1"],
        ["run", "demo/Hello", "-j", "{"],
        ["run", "demo/Hello", "--nope"],
        ["run", "demo/Hello", "-d", "x", "--timeout", "-1"],
        ["run", "demo/Hello", "-d", "x", "--raw", "--json"],
        ["ls", "ftp://x"],
        ["cp", "a", "b"],
        ["cp", "-", "data://.my/photos"],
        ["cat"],
        ["rm"],
        ["rm", "data://.my/photos"],
        ["mkdir", "data://.my/a", "--public", "--private"],
        ["cp", "data://.my/photos"],
        ["cp", "data://.my/photos", "/tmp/nowhere"],
        ["cp", "-", "-", "data://.my/photos/a"],
        ["cp", "data://.my/photos/a", "data://.my/photos/b", "data://.my/photos/c"],
        ["cp", "--parallel", "0", "data://.my/photos/a", "data://.my/photos/b"],
        ["cp", "-rn", "data://.my/photos", "data://.my/copy"],
        ["mv", "-", "data://.my/photos/a"],
        ["mv", "data://.my/photos", "/tmp/nowhere"],
        ["mv", "a", "b"],
        ["sync", "a", "b"],
        ["sync", "data://.my/photos"],
        ["rmdir"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_tells_where_to_look(
    algo: Cli, stand_in: StandIn, arguments: list[str]
) -> None:
    stand_in.directories["photos"] = Directory(read=[])

    code, out, error = algo(*arguments)

    assert (code, out) == (2, b"")
    assert error.startswith("error: ")
    assert "--help` shows" in error.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "util/WhoopsWrongAlgo", "-d", "x"],
        ["run", "demo/Hello", "-f", "/nonexistent"],
        ["ls", "data://.my/missing"],
        ["ls", "--profile", "missing"],
        ["cat", "data://.my/missing/a"],
        ["rm", "data://.my/missing/a"],
        ["cp", "data://.my/missing/a", "-"],
        ["cp", "/nonexistent", "data://.my/photos/a"],
        ["mkdir", "data://.my/a-b"],
        ["rmdir", "data://.my/missing"],
        ["rm", "data://.my/photos/*.jpg"],
        ["cat", "data://.my/photos/*"],
        ["ls", "data://.my/photos/[a"],
        ["mv", "data://.my/photos/a", "data://.my/photos/b"],
        ["mv", "/nonexistent", "data://.my/photos/a"],
        ["cp", "/nonexistent/*", "data://.my/photos/"],
        ["sync", "/nonexistent", "data://.my/photos"],
        ["sync", "data://.my/missing", "/tmp/nowhere"],
        ["ls", "--api-address", "http://127.0.0.1:1"],
    ],
)
def test_a_failed_job_is_exit_code_1_and_tells_what_next(
    algo: Cli, stand_in: StandIn, arguments: list[str]
) -> None:
    stand_in.directories["photos"] = Directory(read=[])

    code, out, error = algo(*arguments)

    assert (code, out) == (1, b"")
    assert error.startswith("error: ")
    assert error.splitlines()[-1].startswith("hint: ")
    assert "Traceback" not in error


def test_files_go_both_ways(algo: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    local = tmp_path / "a.txt"
    local.write_text("text\n")

    assert algo("mkdir", "data://.my/photos", "--public") == (0, b"", "")
    assert stand_in.directories["photos"].read == ["user://*"]
    assert algo("cp", str(local), "data://.my/photos") == (0, b"", "")
    assert algo("cp", "data://.my/photos/a.txt", "data://.my/photos/b.txt") == (0, b"", "")
    assert algo("cp", "data://.my/photos/b.txt", str(tmp_path / "c.txt")) == (0, b"", "")
    assert (tmp_path / "c.txt").read_text() == "text\n"
    assert algo.piped(b"piped", "cp", "-", "data://.my/photos/p") == (0, b"", "")
    assert algo("cp", "data://.my/photos/p", "-") == (0, b"piped", "")
    assert algo("cat", "data://.my/photos/p", "data://.my/photos/a.txt") == (0, b"pipedtext\n", "")


def test_ls_lists(algo: Cli, stand_in: StandIn) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a.txt": b"1234", "b": b""})

    assert algo("ls") == (0, b"ada/\n", "")
    assert algo("ls", "data://.my") == (0, b"photos/\n", "")
    assert algo("ls", "data://.my/photos") == (0, b"a.txt\nb\n", "")
    assert algo("ls", "data://.my/photos/b") == (0, b"b\n", "")
    _, out, _ = algo("ls", "-l", "data://.my/photos")
    assert out.splitlines()[0] == b"2020-03-18 17:00:33             4  a.txt"
    _, out, _ = algo("ls", "data://.my/photos/a.txt", "--json")
    assert json.loads(out) == [
        {
            "type": "file",
            "name": "a.txt",
            "uri": "data://.my/photos/a.txt",
            "size": 4,
            "modified_at": "2020-03-18T17:00:33+00:00",
        }
    ]


def test_names_do_not_command_the_terminal(algo: Cli, stand_in: StandIn) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a\x1b[31m\nb\x9b": b"x"})

    assert algo("ls", "data://.my/photos") == (0, b"a\\x1b[31m\\nb\\x9b\n", "")
    assert json.loads(algo("ls", "--json", "data://.my/photos")[1])[0]["name"] == (
        "a\x1b[31m\nb\x9b"
    )
    stand_in.faults.append(Fault(status=400, headers={"X-Error-Message": "no\x1b[2J"}))
    assert "no\\x1b[2J" in algo("ls", "data://.my/photos")[2]


def test_names_need_not_fit_the_terminal(
    algo: Cli, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"ü": b"x"})
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    into = tmp_path / os.fsdecode(b"\xff")
    into.mkdir()

    assert b'"name": "\\u00fc"' in algo.piped(b"", "ls", "--json", "data://.my/photos")[1]
    assert algo.piped(b"", "cp", "--json", "data://.my/photos/ü", str(into))[0] == 0
    code, _, error = algo("ls", os.fsdecode(b"data://.my/\xff"))
    assert (code, "UTF-8" in error) == (2, True)


def test_rm_deletes(algo: Cli, stand_in: StandIn) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a": b"", "b": b"", "c": b""})

    assert algo("rm", "data://.my/photos/a", "data://.my/photos/b") == (0, b"", "")
    assert list(stand_in.directories["photos"].files) == ["c"]
    assert algo("rm", "-r", "data://.my/photos") == (0, b"", "")
    assert stand_in.directories == {}


def test_patterns_stand_for_files(algo: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    files = {"a.txt": b"a", "b.txt": b"b", "c.jpg": b"c", "odd[1]*.txt": b"odd"}
    stand_in.directories["photos"] = Directory(read=[], files=dict(files))
    stand_in.directories["pictures"] = Directory(read=[], files={"d.txt": b"d"})

    assert algo("ls", "data://.my/photos/?.txt") == (0, b"a.txt\nb.txt\n", "")
    assert algo("ls", "data://.my/p*/[d-z].txt") == (0, b"d.txt\n", "")
    assert algo("ls", "data://.my/p*") == (0, b"photos/\npictures/\n", "")
    assert algo("cat", "data://.my/photos/odd[1]*.txt") == (0, b"odd", "")
    assert algo("cat", "data://.my/*/?.txt") == (0, b"abd", "")
    assert algo("cp", "data://.my/photos/*.txt", str(tmp_path)) == (0, b"", "")
    assert (tmp_path / "odd[1]*.txt").read_bytes() == b"odd"
    assert algo("cp", f"{tmp_path}/[ab].txt", "data://.my/pictures/") == (0, b"", "")
    assert sorted(stand_in.directories["pictures"].files) == ["a.txt", "b.txt", "d.txt"]
    assert algo("rm", "data://.my/*/?.txt") == (0, b"", "")
    assert sorted(stand_in.directories["photos"].files) == ["c.jpg", "odd[1]*.txt"]
    assert algo("rm", "data://.my/photos/?.txt")[0] == 1
    assert algo("rm", "-f", "data://.my/photos/?.txt", "data://.my/photos/x") == (0, b"", "")


def test_ls_goes_down(algo: Cli, stand_in: StandIn) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a.txt": b"1234"})
    stand_in.directories["empty"] = Directory(read=[])

    assert algo("ls", "-r", "data://.my") == (0, b"empty/\nphotos/\nphotos/a.txt\n", "")
    assert algo("ls", "-r", "data://.my/ph*") == (0, b"photos/\nphotos/a.txt\n", "")
    _, out, _ = algo("ls", "-r", "--json", "data://.my")
    assert [entry["uri"] for entry in json.loads(out)] == [
        *("data://.my/empty", "data://.my/photos", "data://.my/photos/a.txt"),
    ]


def test_mv_moves(algo: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    photos = stand_in.directories["photos"] = Directory(read=[], files={"a": b"a", "b": b"b"})
    stand_in.directories["old"] = Directory(read=[], files={"c": b"c", "d": b"d"})
    local = tmp_path / "local"

    assert algo("mv", "data://.my/photos/a", "data://.my/photos/x") == (0, b"", "")
    assert photos.files == {"x": b"a", "b": b"b"}
    assert algo("mv", "data://.my/photos/x", str(local)) == (0, b"", "")
    assert (photos.files, local.read_bytes()) == ({"b": b"b"}, b"a")
    assert algo("mv", str(local), "data://.my/photos") == (0, b"", "")
    assert (sorted(photos.files), local.exists()) == (["b", "local"], False)
    code, out, _ = algo("mv", "--json", "data://.my/old", "data://.my/new")
    assert (code, json.loads(out)) == (0, ["data://.my/new/c", "data://.my/new/d"])
    assert stand_in.directories["new"].files == {"c": b"c", "d": b"d"}
    assert "old" not in stand_in.directories
    assert algo("mv", "-n", "data://.my/new/c", "data://.my/photos/b") == (0, b"", "")
    assert (photos.files["b"], stand_in.directories["new"].files["c"]) == (b"b", b"c")


def test_cp_copies_directories(algo: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    local = tmp_path / "album"
    local.mkdir()
    (local / "a.txt").write_text("a")
    (local / "b.txt").write_text("b")
    files = {"a.txt": b"a", "b.txt": b"b"}

    assert algo("cp", str(local), "data://.my")[0] == 2
    assert algo("cp", "-r", str(local), "data://.my") == (0, b"", "")
    assert stand_in.directories["album"].files == files
    assert algo("cp", "-r", "data://.my/album", "data://.my/copy") == (0, b"", "")
    assert stand_in.directories["copy"].files == files
    code, out, _ = algo("cp", "-r", "--json", "data://.my/copy", str(tmp_path))
    copied = [str(tmp_path / "copy" / name) for name in files]
    assert (code, json.loads(out)) == (0, copied)
    assert algo("cp", "-r", "data://.my/copy", str(tmp_path / "new")) == (0, b"", "")
    assert (tmp_path / "new" / "a.txt").read_text() == "a"
    (local / "a.txt").write_text("changed")
    assert algo("cp", "-n", str(local / "a.txt"), "data://.my/album/") == (0, b"", "")
    assert stand_in.directories["album"].files == files


def test_sync_keeps_directories_alike(algo: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    local = tmp_path / "album"
    local.mkdir()
    (local / "a.txt").write_text("a")
    stand_in.directories["album"] = Directory(read=[], files={"old": b"old"})
    place = "data://.my/album"

    planned = algo("sync", "--delete", "--dry-run", str(local), place)
    assert planned == (0, b"would copy a.txt\nwould delete old\n", "")
    assert stand_in.directories["album"].files == {"old": b"old"}
    assert algo("sync", "--delete", str(local), place) == (0, b"copied a.txt\ndeleted old\n", "")
    assert stand_in.directories["album"].files == {"a.txt": b"a"}
    assert algo("sync", str(local), place) == (0, b"", "")
    code, out, _ = algo("sync", "--json", place, "data://.my/second")
    assert (code, json.loads(out)["copied"]) == (0, ["a.txt"])
    assert algo("sync", "-q", "--checksum", place, str(tmp_path / "down")) == (0, b"", "")
    assert (tmp_path / "down" / "a.txt").read_text() == "a"


def test_directories_that_would_delete_themselves_are_wrong_usage(
    algo: Cli, stand_in: StandIn, home: Path
) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a": b"a"})
    (home / "precious").write_text("x")

    for arguments in (
        ("sync", "--delete", "data://.my/photos", str(home)),
        ("sync", "data://.my/photos", "data://.my/photos"),
        ("mv", "data://.my/photos", "data://.my/photos/"),
    ):
        assert algo(*arguments)[0] == 2
    assert (home / "precious").exists()


def test_uploads_that_were_cut_off_are_listed_and_given_up(algo: Cli, stand_in: StandIn) -> None:
    for number in (1, 2):
        stand_in.uploads[f"up{number}"] = Upload(
            upload_id=f"up{number}",
            uri=f"data://.my/photos/{number}",
            part_bytes=1000,
            size_bytes=1500,
            conditions={},
        )

    code, out, _ = algo("uploads")
    assert (code, out.splitlines()[0]) == (
        *(0, b"up1  2030-01-01 00:00:00          1500  data://.my/photos/1"),
    )
    assert json.loads(algo("uploads", "--json")[1])[1]["uri"] == "data://.my/photos/2"
    assert algo("uploads", "--abandon", "up1") == (0, b"", "")
    assert list(stand_in.uploads) == ["up2"]
    assert algo("uploads", "--abandon", "up2", "--abandon", "up3")[0] == 1
    assert list(stand_in.uploads) == ["up2"]


def test_directories_go_when_they_are_empty(algo: Cli, stand_in: StandIn) -> None:
    stand_in.directories["empty"] = Directory(read=[])
    stand_in.directories["full"] = Directory(read=[], files={"a": b""})

    assert algo("mkdir", "-p", "data://.my/full") == (0, b"", "")
    assert algo("rmdir", "data://.my/empty") == (0, b"", "")
    assert algo("rmdir", "data://.my/full")[0] == 1
    assert sorted(stand_in.directories) == ["full"]


def test_an_interrupt_ends_it_at_once(algo: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.directories["photos"] = Directory(
        read=[], files={str(number): b"x" for number in range(9)}
    )
    stand_in.faults.extend([Fault(stalls=True, when=lambda r: "range" in r.headers)] * 4)
    environment = {**os.environ, "ALGORITHMIA_API": stand_in.address, "ALGORITHMIA_API_KEY": KEY}

    with subprocess.Popen(
        [*ALGO, "cp", "-r", "data://.my/photos", str(tmp_path / "here")],
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        while sum("range" in request.headers for request in stand_in.requests) < 4:
            stand_in.arrived.wait(10)
            stand_in.arrived.clear()
        interrupt(process)
        _, error = process.communicate()

    assert process.returncode == 1
    assert error.decode().splitlines()[0] == "error: interrupted"


def test_a_terminal_sees_how_far_it_is(algo: Cli, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a": b"x" * 3_000_000})
    leader, follower = os.openpty()
    environment = {
        **os.environ,
        "ALGORITHMIA_API": stand_in.address,
        "ALGORITHMIA_API_KEY": KEY,
        "TERM": "xterm",
    }
    target = str(tmp_path / "a")

    with subprocess.Popen(
        [*ALGO, "cp", "data://.my/photos/a", target],
        stderr=follower,
        env=environment,
    ) as process:
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while piece := os.read(leader, 65536):
                shown += piece
    os.close(leader)

    assert process.returncode == 0
    assert b"3.0/3.0 MB" in shown


@pytest.mark.parametrize(
    "command", ["", "run", "ls", "cat", "cp", "mv", "mkdir", "rmdir", "rm", "sync", "uploads"]
)
def test_help_fits_a_terminal(algo: Cli, command: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    code, out, error = algo(*command.split(), "--help")

    assert (code, error) == (0, "")
    assert f"Usage: algo {command}".strip() in out.decode()
    assert all(len(line) <= 80 for line in out.decode().splitlines())


def test_a_reader_who_has_enough_is_no_error(algo: Cli, stand_in: StandIn) -> None:
    stand_in.directories["photos"] = Directory(read=[], files={"a": b"x" * 1_000_000})
    environment = {**os.environ, "ALGORITHMIA_API": stand_in.address, "ALGORITHMIA_API_KEY": KEY}
    with subprocess.Popen(
        [*ALGO, "cat", "data://.my/photos/a"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"x"
        process.stdout.close()
        assert process.stderr.read() == b""


RECORD = {
    "request_id": "req-1",
    "started_at": "2026-03-29T01:02:03.456Z",
    "account": "ada",
    "algorithm": "demo/Hello",
    "version": "1.0.0",
    "outcome": "success",
    "run_s": 0.25,
    "cpu_s": 0.125,
}
TOTAL = {"algorithm": "demo/Hello", "day": "2026-03-29", "calls": 3, "errors": 1, "run_s": 1.5}


def test_usage_shows_calls(algo: Cli, stand_in: StandIn) -> None:
    stand_in.usage = [RECORD, {**RECORD, "version": "", "commit": "abc", "outcome": "cancelled"}]

    code, out, _ = algo("usage", "--since", "2026-03-01", "--algorithm", "demo/Hello")

    assert code == 0
    assert out.decode().splitlines() == [
        "2026-03-29 01:02:03  success          0.250 s      0.125 s CPU  demo/Hello/1.0.0  req-1",
        "2026-03-29 01:02:03  cancelled        0.250 s      0.125 s CPU  demo/Hello/abc  req-1",
    ]
    assert stand_in.last.path == "/v1/usage"
    assert stand_in.last.query == {
        "from": "2026-03-01T00:00:00",
        "algorithm": "demo/Hello",
        "limit": "50",
    }


def test_usage_stops_where_it_is_told_to(algo: Cli, stand_in: StandIn) -> None:
    stand_in.usage = [{**RECORD, "request_id": f"req-{number}"} for number in range(9)]

    code, out, _ = algo("usage", "--limit", "4", "--json")

    assert (code, [row["request_id"] for row in json.loads(out)]) == (
        0,
        ["req-0", "req-1", "req-2", "req-3"],
    )
    assert json.loads(out)[0]["started_at"] == "2026-03-29T01:02:03.456000+00:00"
    assert len(stand_in.requests) == 2


def test_usage_shows_sums(algo: Cli, stand_in: StandIn) -> None:
    stand_in.usage = [TOTAL, {**TOTAL, "algorithm": "demo/Farewell", "calls": 12345}]

    code, out, _ = algo("usage", "--by", "day,algorithm", "--account", "lab")

    assert code == 0
    assert out.decode().splitlines() == [
        "algorithm      day                calls        errors         run s         CPU s",
        "demo/Hello     2026-03-29             3             1         1.500         0.000",
        "demo/Farewell  2026-03-29         12345             1         1.500         0.000",
    ]
    assert stand_in.last.path == "/v1/usage/totals"
    assert stand_in.last.query == {"account": "lab", "by": "day,algorithm", "limit": "1000"}


def test_usage_tells_versions_apart_with_their_algorithm(algo: Cli, stand_in: StandIn) -> None:
    stand_in.usage = [{**TOTAL, "version": "1.0.0"}, {**TOTAL, "commit": "ab" * 20}]

    code, out, _ = algo("usage", "--by", "version")
    as_json = algo("usage", "--by", "version", "--json")[1]

    assert code == 0
    assert [line.split()[:2] for line in out.decode().splitlines()] == [
        ["algorithm", "version"],
        ["demo/Hello", "1.0.0"],
        ["demo/Hello", "ab" * 6],
    ]
    assert "account" not in json.loads(as_json)[0]


def test_usage_without_calls_is_empty(algo: Cli) -> None:
    assert algo("usage") == (0, b"", "")
    assert algo("usage", "--json") == (0, b"[]\n", "")
    assert algo("usage", "--by", "day")[1].split()[0] == b"day"


@pytest.mark.parametrize(
    "wrong",
    [("--by", "colour"), ("--since", "yesterday"), ("--until", "2026-13-01"), ("--limit", "0")],
)
def test_usage_says_what_it_cannot_read(algo: Cli, wrong: tuple[str, str]) -> None:
    code, out, error = algo("usage", *wrong)

    assert (code, out) == (2, b"")
    assert wrong[0] in error
