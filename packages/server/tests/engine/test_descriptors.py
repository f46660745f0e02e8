import fcntl
import os

import pytest

from algorium_server.engine.descriptors import memory_file


@pytest.fixture
def file():
    descriptor = memory_file("filter", b"as it was")
    yield descriptor
    os.close(descriptor)


def test_a_memory_file_can_be_read_by_whoever_has_it(file):
    assert os.pread(file, 100, 0) == b"as it was"


@pytest.mark.parametrize(
    "change",
    [
        lambda fd: os.pwrite(fd, b"other", 0),
        lambda fd: os.ftruncate(fd, 1),
        lambda fd: os.ftruncate(fd, 1000),
        lambda fd: os.write(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"other"),
        lambda fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    ],
)
def test_and_changed_by_nobody(file, change):
    with pytest.raises(PermissionError):
        change(file)

    assert os.pread(file, 100, 0) == b"as it was"
