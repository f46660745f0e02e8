"""Files that appear whole or not at all."""

import os
import stat

import pytest

from algorium_server.durable import (
    flush_directory,
    is_half,
    remove_halves,
    write_file,
    write_new_file,
)


def test_a_file_is_written_replaced_and_private(tmp_path):
    path = tmp_path / "endpoint.json"
    write_file(path, "old\n")
    write_file(path, "new: ü\n")

    assert path.read_text("utf-8") == "new: ü\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "endpoint.json"
    write_file(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "x" * 100_000 + "\ud800")

    assert path.read_text("utf-8") == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_only_directories_are_flushed_as_such(tmp_path):
    flush_directory(tmp_path)
    (tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError):
        flush_directory(tmp_path / "file")


@pytest.mark.parametrize("write", [write_file, write_new_file])
def test_what_a_crash_left_of_a_file_is_removed(tmp_path, monkeypatch, write):
    def fsync(_descriptor):
        for each in tmp_path.iterdir():
            left.setdefault(each.name, each.read_bytes())

    left = {}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        write(tmp_path / "keys.json", "secret\n")
    others = {"keys.json", ".keys.json", ".keys.json.mine", f".keys.toml.{1:032x}"}
    for name in left.keys() | others:
        (tmp_path / name).write_text("secret\n")

    remove_halves(tmp_path / "keys.json")

    assert any(map(is_half, left))
    assert not is_half("keys.json")
    assert {each.name for each in tmp_path.iterdir()} == others
