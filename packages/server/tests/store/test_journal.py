"""The journal: what was written is read again, whatever a crash leaves behind it."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.store.journal import Journal, batches, frame

LARGE = 1 << 30
BATCHES = st.lists(st.binary(max_size=60), max_size=8)


def whole(data: bytes) -> list[bytes]:
    return [batch for batch, _ in batches(data)]


def ends(written: list[bytes]) -> list[int]:
    """Offsets of the ends of frames, 0 included."""
    at = [0]
    for batch in written:
        at.append(at[-1] + len(frame(batch)))
    return at


@given(BATCHES)
def test_batches_come_back_with_their_ends(written: list[bytes]):
    data = b"".join(map(frame, written))

    assert list(batches(data)) == list(zip(written, ends(written)[1:], strict=True))


@given(st.data(), BATCHES)
def test_a_torn_tail_is_left_out_and_the_rest_kept(data: st.DataObject, written: list[bytes]):
    journal = b"".join(map(frame, written))
    cut = data.draw(st.integers(0, len(journal)))
    zeros = data.draw(st.integers(0, 100))  # a power cut can leave room without content

    kept = sum(end <= cut for end in ends(written)[1:])

    assert whole(journal[:cut]) == written[:kept]
    torn = journal[:cut] + bytes(zeros)
    assert whole(torn)[:kept] == written[:kept]
    # A frame may end in zeros itself: what the cut took away may have come back by chance.
    assert whole(torn) == written[: len(whole(torn))]


@given(st.data(), BATCHES.filter(bool))
def test_a_changed_byte_ends_the_reading_before_it(data: st.DataObject, written: list[bytes]):
    journal = bytearray(b"".join(map(frame, written)))
    at = data.draw(st.integers(0, len(journal) - 1))
    journal[at] ^= data.draw(st.integers(1, 255))

    assert whole(bytes(journal)) == written[: sum(end <= at for end in ends(written)[1:])]


@given(BATCHES, st.binary(max_size=200))
def test_garbage_is_no_batch(written: list[bytes], garbage: bytes):
    assert whole(b"".join(map(frame, written)) + garbage) == written


def test_a_batch_beyond_all_measure_is_refused():
    with pytest.raises(ValueError, match="too large"):
        frame(bytes(16 * 1024 * 1024 + 1))


@given(BATCHES, st.integers(1, 100))
def test_segments_hold_everything_in_order(written: list[bytes], segment_bytes_max: int):
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory) / "usage", segment_bytes_max=segment_bytes_max)
        for batch in written:
            journal.append(batch)
        segments = journal.sealed()

        assert [batch for segment in segments for batch in segment.read()] == written
        assert all(segment.size_bytes for segment in segments)
        assert journal.size_bytes == ends(written)[-1]

        for segment in segments:
            journal.remove(segment)

        assert journal.size_bytes == 0
        assert journal.sealed() == ()
        assert list(Path(directory).rglob("*.journal")) == []
        journal.close()


def test_only_its_owner_can_read_it(tmp_path: Path):
    journal = Journal(tmp_path / "usage", segment_bytes_max=LARGE)
    journal.append(b"secret")

    (segment,) = journal.sealed()

    assert segment.path.stat().st_mode & 0o077 == 0
    assert segment.path.parent.stat().st_mode & 0o077 == 0
    journal.close()


# Writes its batches, says so, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from algorium_server.store.journal import Journal
journal = Journal(Path(sys.argv[1]), segment_bytes_max=1 << 30)
for batch in sys.argv[2:]:
    journal.append(batch.encode())
print("written", flush=True)
time.sleep(600)
"""


def owner(directory: Path, *written: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", OWNER, str(directory), *written]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def test_what_a_killed_process_wrote_is_adopted_and_a_living_one_keeps_its_own(tmp_path: Path):
    with owner(tmp_path, "a", "b") as first, owner(tmp_path, "c") as second:
        try:
            journal = Journal(tmp_path, segment_bytes_max=LARGE)
            assert journal.adopt() == 0

            first.send_signal(signal.SIGKILL)
            first.wait()

            assert journal.adopt() == 1
            (segment,) = journal.sealed()
            assert journal.size_bytes == segment.path.stat().st_size
            assert segment.read() == [b"a", b"b"]
            assert journal.adopt() == 0, "it has an owner again"
            journal.close()
        finally:
            first.kill()
            second.kill()

    heir = Journal(tmp_path, segment_bytes_max=LARGE)
    assert heir.adopt() == 2
    assert [segment.read() for segment in heir.sealed()] == [[b"a", b"b"], [b"c"]]
    heir.close()


def test_adopted_segments_come_before_later_ones(tmp_path: Path):
    with owner(tmp_path, "old") as process:
        process.kill()
    journal = Journal(tmp_path, segment_bytes_max=LARGE)
    journal.append(b"new")

    journal.adopt()

    assert [segment.read() for segment in journal.sealed()] == [[b"old"], [b"new"]]
    journal.close()


def test_a_segment_is_adopted_by_one_of_many(tmp_path: Path):
    with owner(tmp_path, "a") as process:
        process.kill()
    journals = [Journal(tmp_path, segment_bytes_max=LARGE) for _ in range(8)]
    adopted: list[int] = []

    threads = [
        threading.Thread(target=lambda j=journal: adopted.append(j.adopt())) for journal in journals
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(adopted) == [0] * 7 + [1]
    for journal in journals:
        journal.close()


def test_a_torn_segment_tells_how_much_is_missing(tmp_path: Path):
    with owner(tmp_path, "kept", "torn") as process:
        process.kill()
    (path,) = tmp_path.glob("*.journal")
    os.truncate(path, path.stat().st_size - 1)
    journal = Journal(tmp_path, segment_bytes_max=LARGE)
    journal.adopt()

    (segment,) = journal.sealed()

    assert segment.read() == [b"kept"]
    assert segment.size_bytes == len(frame(b"kept"))
    assert segment.torn_bytes == len(frame(b"torn")) - 1
    journal.close()


def test_what_nobody_can_use_is_put_aside(tmp_path: Path):
    journal = Journal(tmp_path, segment_bytes_max=LARGE)
    journal.append(b"?")
    (segment,) = journal.sealed()

    kept = journal.reject(segment)

    assert kept.read_bytes() == frame(b"?")
    assert journal.sealed() == ()
    assert Journal(tmp_path, segment_bytes_max=LARGE).adopt() == 0
    journal.close()


def test_a_full_disk_takes_a_batch_whole_or_not_at_all(tmp_path: Path):
    journal = Journal(tmp_path, segment_bytes_max=LARGE)
    journal.append(b"first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(frame(b"first")) + 100, hard))
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the file system
            journal.append(bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    journal.append(b"second")

    (segment,) = journal.sealed()

    assert segment.read() == [b"first", b"second"]
    assert segment.torn_bytes == 0
    journal.close()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "usage", segment_bytes_max=LARGE)

    with pytest.raises(OSError, match="Not a directory"):
        journal.append(b"?")
    journal.close()


def test_a_lock_ends_with_its_owner_only(tmp_path: Path):
    journal = Journal(tmp_path, segment_bytes_max=LARGE)
    journal.append(b"mine")
    (segment,) = journal.sealed()
    with segment.path.open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

        journal.close()

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
