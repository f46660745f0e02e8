import os
from pathlib import Path

import pytest

from algorium_server.engine.archives import Archives


def tree(place: Path, name: str, size: int) -> str:
    (place / name).mkdir()
    (place / name / "data").write_bytes(b"x" * size)
    return str(place / name)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_tree_is_packed_once(tmp_path):
    archives = Archives(1000, 10)
    directory = tree(tmp_path, "a", 100)

    assert archives.of(directory) == archives.of(directory)
    archives.close()


def test_the_least_recently_used_archives_make_room(tmp_path):
    archives = Archives(1000, 10)
    first, second, third = (tree(tmp_path, name, 400) for name in "abc")
    opened = [archives.of(first), archives.of(second)]
    archives.of(first)

    newest = archives.of(third)

    assert is_open(newest)
    assert is_open(opened[0])
    assert os.pread(newest, 1000, 0).endswith(b"x" * 400)
    archives.close()
    assert not is_open(newest)


def test_what_is_too_large_is_refused_and_costs_nothing(tmp_path):
    archives = Archives(100, 10)
    kept = archives.of(tree(tmp_path, "a", 50))

    with pytest.raises(ValueError, match="100 bytes"):
        archives.of(tree(tmp_path, "b", 200))

    assert is_open(kept)
    archives.close()
