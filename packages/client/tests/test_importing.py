"""What `algo import` does to collections that are here already, and to those that it creates."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pressing import ALGO, interrupt
from standin import KEY, Fault, StandIn
from standin_data import Directory

from algorium._cli.export_folder import Begun
from algorium.cli import main

PUBLIC, MINE, PRIVATE = ["user://*"], ["algo://.my/*"], list[str]()
Algo = Callable[..., tuple[int, str, str]]


@pytest.fixture
def algo(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Algo:
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)

    def run(command: str, folder: Path, *words: str) -> tuple[int, str, str]:
        return main([command, str(folder), "--no-algorithms", *words]), *capfd.readouterr()

    return run


@pytest.fixture
def folder(stand_in: StandIn, algo: Algo, tmp_path: Path) -> Path:
    """Export a public collection `open` and a private one `closed`, and empty the server."""
    stand_in.directories["open"] = Directory(PUBLIC, {"a.txt": b"A"})
    stand_in.directories["closed"] = Directory(PRIVATE, {"b.txt": b"B"})
    assert algo("export", tmp_path / "export", "--quiet")[0] == 0
    stand_in.directories.clear()
    stand_in.requests.clear()
    return tmp_path / "export"


def results(told: str) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(told)["results"]}


def test_a_new_collection_is_private_until_it_is_whole(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    plan = results(algo("import", folder, "--dry-run", "--json")[1])
    assert plan["data://.my/open"]["done"] == [
        "would be created, readable by everybody",
        "1 files would be copied",
    ]
    assert not stand_in.directories

    assert algo("import", folder, "--quiet")[0] == 0
    created, filled, opened = (
        each
        for each in stand_in.requests
        if each.method in {"POST", "PUT", "PATCH"} and "closed" not in f"{each.path} {each.body!r}"
    )
    assert json.loads(created.body) == {"name": "open", "acl": {"read": PRIVATE}}
    assert filled.method == "PUT"
    assert json.loads(opened.body) == {"acl": {"read": PUBLIC}}
    assert not (folder / "begun").exists()


def test_what_is_private_here_does_not_become_public(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    here = Directory(PRIVATE, {"secret.txt": b"S"})
    stand_in.directories["open"] = here

    code, told, _ = algo("import", folder, "--json")
    outcome = results(told)["data://.my/open"]
    assert (code, outcome["done"], here.read) == (0, ["1 files copied"], PRIVATE)
    assert outcome["remarks"] == [
        "stays readable by its owner only; --overwrite makes that everybody"
    ]

    code, told, _ = algo("import", folder, "--json", "--overwrite", "--dry-run")
    assert results(told)["data://.my/open"]["done"] == [
        "would be readable by everybody instead of its owner only, with 1 files that were not "
        "exported",
        "0 files would be copied",
    ]
    assert here.read == PRIVATE
    assert algo("import", folder, "--quiet", "--overwrite")[0] == 0
    assert here.read == PUBLIC


def test_what_was_private_is_not_put_where_others_read(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    here = Directory(PUBLIC, {})
    stand_in.directories["closed"] = here

    code, _, error = algo("import", folder)
    assert (code, here.files, here.read) == (1, {}, PUBLIC)
    assert "warning: data://.my/closed: here it is readable by everybody" in error
    assert "data://.my/closed: nothing to do" not in error

    stand_in.requests.clear()
    assert algo("import", folder, "--quiet", "--overwrite")[0] == 0
    assert (here.files, here.read) == ({"b.txt": b"B"}, PRIVATE)
    changes = [each.method for each in stand_in.requests if each.method in {"PUT", "PATCH"}]
    assert changes[0] == "PATCH"


def test_collections_can_be_brought_for_their_owner_only(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    assert algo("import", folder, "--quiet", "--private")[0] == 0

    assert stand_in.directories["open"] == Directory(PRIVATE, {"a.txt": b"A"})


def test_after_a_cut_a_collection_of_the_import_still_gets_its_readers(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    stand_in.faults.append(Fault(status=403, when=lambda request: request.method == "PATCH"))
    assert algo("import", folder, "--quiet")[0] == 1
    assert stand_in.directories["open"].read == PRIVATE

    plan = results(algo("import", folder, "--dry-run", "--json")[1])
    assert plan["data://.my/open"]["done"][0] == "would be completed, readable by everybody"
    assert algo("import", folder, "--quiet")[0] == 0
    assert stand_in.directories["open"].read == PUBLIC


@pytest.mark.parametrize(
    "change",
    [{"secret.txt": b"S"}, {"a.txt": b"mine"}],
    ids=["more", "changed"],
)
def test_after_a_cut_what_somebody_has_put_in_meanwhile_is_not_shown(
    stand_in: StandIn, algo: Algo, folder: Path, change: dict[str, bytes]
) -> None:
    Begun(folder, server=stand_in.address, account="ada").note("collection open")
    stand_in.directories["open"] = Directory(PRIVATE, change)

    algo("import", folder, "--quiet")

    assert stand_in.directories["open"].read == PRIVATE
    assert not (folder / "begun").exists()


def test_an_account_that_is_not_there_is_no_plan(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    code, out, error = algo("import", folder, "--dry-run", "--json", "--organization", "nope")

    assert (code, out) == (1, "")
    assert "error: nope is no organization of yours" in error


def test_an_export_for_nobody_writes_nothing(algo: Algo, tmp_path: Path) -> None:
    code, out, error = algo("export", tmp_path / "new", "--organization", "nope")

    assert (code, out) == (1, "")
    assert "error: nope is no organization of yours" in error
    assert not (tmp_path / "new").exists()


def test_what_is_not_exported_again_stays_in_the_export(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    before = json.loads((folder / "manifest.json").read_text())

    assert algo("export", folder, "--no-data")[0] == 0
    after = json.loads((folder / "manifest.json").read_text())
    assert after | {"exported_at": ""} == before | {"exported_at": ""}

    stand_in.directories["open"] = Directory(PUBLIC, {"a.txt": b"A"})
    is_of_open = lambda request: request.path.endswith("/open")  # noqa: E731
    stand_in.faults.append(Fault(status=403, when=is_of_open))
    assert algo("export", folder)[0] == 1
    after = json.loads((folder / "manifest.json").read_text())
    assert after["collections"] == {"open": {"read": PUBLIC}}  # closed is gone on the server
    assert list(after["files"]) == ["data/open/a.txt"]

    (folder / "data/open/a.txt").write_bytes(b"half")
    code, _, error = algo("export", folder, "--no-data")
    assert (code, "left out: collection open" in error) == (1, True)
    assert json.loads((folder / "manifest.json").read_text())["collections"] == {}


def test_a_name_that_the_server_cannot_have_spoils_its_collection_only(
    stand_in: StandIn, algo: Algo, folder: Path
) -> None:
    (folder / "data/closed/\udcff").touch()
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    empty = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    manifest["files"]["data/closed/\udcff"] = empty
    path.write_text(json.dumps(manifest))

    code, told, _ = algo("import", folder, "--json")

    outcomes = results(told)
    assert (code, bool(outcomes["data://.my/closed"]["problems"])) == (1, True)
    assert outcomes["data://.my/open"]["problems"] == []


def test_after_an_interrupt_it_is_told_what_goes_on(stand_in: StandIn, folder: Path) -> None:
    asked = threading.Event()
    stand_in.faults.append(Fault(when=lambda _: asked.set() or True, stalls=True))
    settings = {"ALGORITHMIA_API": stand_in.address, "ALGORITHMIA_API_KEY": KEY}
    with subprocess.Popen(
        [*ALGO, "import", str(folder), "--no-algorithms"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
    ) as command:
        assert asked.wait(timeout=60)
        interrupt(command)
        _, error = command.communicate()

    assert command.returncode == 1, error
    assert "hint: The same `algo import` goes on where it was." in error


def test_a_file_is_no_folder(algo: Algo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    code, _, error = algo("import", tmp_path / "file")

    assert (code, "is no export: there is no manifest.json in it" in error) == (2, True)
