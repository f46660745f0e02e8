import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_runtime import archive

LIMITS = {"bytes_max": 1 << 20, "entries_max": 1000}


def pack(directory: Path, **limits) -> int:
    return archive.pack(str(directory), **{**LIMITS, **limits})


def test_a_tree_comes_out_as_it_went_in(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "src" / "empty").mkdir(parents=True)
    (source / "src" / "a.py").write_text("x = 1")
    (source / "run.sh").write_text("#!/bin/sh")
    (source / "run.sh").chmod(0o555)
    (source / "nothing").write_bytes(b"")
    (source / "link").symlink_to("src/a.py")
    (source / "nowhere").symlink_to("/etc/../nowhere")
    os.mkfifo(source / "fifo")
    target.mkdir()

    packed = pack(source)
    archive.unpack(packed, str(target))
    os.close(packed)

    found = {str(path.relative_to(target)) for path in target.rglob("*")}
    assert found == {"src", "src/empty", "src/a.py", "run.sh", "nothing", "link", "nowhere"}
    assert (target / "src" / "a.py").read_text() == "x = 1"
    assert (target / "nothing").read_bytes() == b""
    assert os.readlink(target / "nowhere") == "/etc/../nowhere"
    assert stat.S_IMODE((target / "run.sh").stat().st_mode) == 0o755


@given(
    contents=st.dictionaries(
        st.binary(min_size=1, max_size=40)
        .filter(lambda name: name not in {b".", b".."})
        .filter(lambda name: not {0, ord("/")} & set(name)),
        st.binary(max_size=70_000),
        max_size=5,
    )
)
def test_names_and_contents_of_any_bytes_survive(tmp_path_factory, contents):
    place = tmp_path_factory.mktemp("trees")
    (place / "target").mkdir()
    (place / "source").mkdir()
    for name, data in contents.items():
        Path(os.fsencode(place / "source").decode(), os.fsdecode(name)).write_bytes(data)

    packed = pack(place / "source")
    archive.unpack(packed, str(place / "target"))
    os.close(packed)

    assert {
        os.fsencode(path.name): path.read_bytes() for path in (place / "target").iterdir()
    } == contents


@pytest.mark.parametrize(
    ("limits", "complaint"), [({"bytes_max": 99}, "bytes"), ({"entries_max": 1}, "files")]
)
def test_a_tree_over_the_limit_is_not_packed(tmp_path, limits, complaint):
    (tmp_path / "a").write_bytes(b"x" * 50)
    (tmp_path / "b").write_bytes(b"x" * 50)
    held = len(os.listdir("/proc/self/fd"))

    with pytest.raises(archive.TooLarge, match=complaint):
        pack(tmp_path, **limits)

    assert len(os.listdir("/proc/self/fd")) == held


def test_who_has_an_archive_cannot_change_it(tmp_path):
    (tmp_path / "a").write_bytes(b"secret of nobody")
    packed = pack(tmp_path)

    for change in (
        lambda: os.pwrite(packed, b"x", 0),
        lambda: os.ftruncate(packed, 0),
        lambda: os.ftruncate(packed, 1 << 20),
        lambda: os.write(os.open(f"/proc/self/fd/{packed}", os.O_RDWR), b"x"),
    ):
        with pytest.raises(PermissionError):
            change()
    os.close(packed)
