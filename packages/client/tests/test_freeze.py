"""Freeze files: as the official kit reads them, and what `--check` finds."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import KEY, Directory, StandIn

from algorium import _manifest
from algorium.cli import main

MODEL, NET = b"a model", b"another one"
MANIFEST: "dict[str, Any]" = {
    "required_files": [
        {
            "name": "model",
            "source_uri": "data://.my/models/model.bin",
            "fail_on_tamper": True,
            "metadata": {"dataset": "ünï"},
        }
    ],
    "optional_files": [
        {"name": "net", "source_uri": "data://.my/models/net.bin"},
        {"name": "again", "source_uri": "data://.my/models/net.bin"},
    ],
    "version": 1.50,
}


def is_accepted_by_the_kit(text: str) -> bool:
    """Do what the official kit does with a freeze file before it is used."""
    freeze = json.loads(text)
    expected = freeze.pop("lock_checksum")
    return bool(expected == hashlib.md5(str(freeze).encode()).hexdigest())


@pytest.fixture
def project(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "tuple[Path, Directory]":
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_manifest.json").write_text(json.dumps(MANIFEST))
    directory = Directory(read=[])
    directory.files |= {"model.bin": MODEL, "net.bin": NET}
    stand_in.directories["models"] = directory
    return tmp_path, directory


def test_a_freeze_file_is_what_the_official_kit_takes(project: Any, capsys: Any) -> None:
    place, _ = project

    assert main(["freeze"]) == 0
    text = (place / "model_manifest.json.freeze").read_text()
    freeze = json.loads(text)
    assert is_accepted_by_the_kit(text)
    assert list(freeze) == [
        "required_files",
        "optional_files",
        "version",
        "timestamp",
        "lock_checksum",
    ]
    assert freeze["required_files"][0]["md5_checksum"] == hashlib.md5(MODEL).hexdigest()
    assert list(freeze["required_files"][0])[-1] == "md5_checksum"
    checksums = [file["md5_checksum"] for file in freeze["optional_files"]]
    assert checksums == [hashlib.md5(NET).hexdigest()] * 2
    assert float(freeze["timestamp"]) > 1.7e9
    assert not [name for name in os.listdir(place) if name.startswith(".")]
    out, said = capsys.readouterr()
    assert out == "model_manifest.json.freeze\n"
    assert said.count("net.bin") == 1
    assert main(["freeze", "--check"]) == 0


def test_check_tells_what_does_not_fit(project: Any, capsys: Any) -> None:
    place, directory = project
    assert main(["freeze", "--check"]) == 1
    assert "there is no model_manifest.json.freeze" in capsys.readouterr().err
    assert main(["freeze"]) == 0
    directory.files["net.bin"] = b"changed"
    capsys.readouterr()

    assert main(["freeze", "--check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["is_current"] is False
    assert [line.split(" ")[0] for line in found["faults"]] == ["net", "again"]

    directory.files["net.bin"] = NET
    path = place / "model_manifest.json.freeze"
    path.write_text(path.read_text().replace('"model"', '"other"'))
    assert main(["freeze", "--check"]) == 1
    out = capsys.readouterr().out
    assert "changed by hand" in out
    assert "the manifest was changed" in out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "is not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "has no required_files"),
        ('{"required_files": 1}', "must be a list"),
        ('{"required_files": [{"name": "a"}]}', "has no source_uri"),
        (
            '{"required_files": [{"name": "a", "source_uri": "data://b/c/d"}],'
            ' "optional_files": [{"name": "a", "source_uri": "data://b/c/e"}]}',
            "two files called 'a'",
        ),
    ],
)
def test_what_is_no_manifest_is_refused(
    project: Any, capsys: Any, text: str, complaint: str
) -> None:
    place, _ = project
    (place / "model_manifest.json").write_text(text)

    assert main(["freeze"]) == 1
    assert complaint in capsys.readouterr().err
    assert not (place / "model_manifest.json.freeze").exists()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values), st.floats(0, 1e10))
def test_whatever_else_is_in_a_manifest_the_kit_takes_it(more: "dict[str, Any]", at: float) -> None:
    manifest = {**more, **MANIFEST}
    checksums = dict.fromkeys(_manifest.sources(manifest), "0" * 32)
    freeze = _manifest.frozen(manifest, checksums, at=str(at))

    assert is_accepted_by_the_kit(json.dumps(freeze)) or "\\ud" in json.dumps(freeze)
    assert list(_manifest.faults(manifest, freeze, checksums)) == []
