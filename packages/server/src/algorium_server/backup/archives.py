"""
The two forms of a backup: one file, a tar archive, or a directory.

    TO.tar   TO.tar.gz   TO.tar.zst     the last one by the program `zstd`
    TO/                                 as files; what never changes may be links to the original

Both have the same things in them, in the same order; see `records`. They appear under their name
when they are complete and on the disk, and not before.

Everything here blocks.
"""

import gzip
import io
import os
import shutil
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from algorium_server.backup.records import FILES_DIR, HEADER_NAME, MANIFEST_NAME, entries
from algorium_server.backup.rooms import room_beside
from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.domain.limits import BACKUP_CHUNK_BYTES
from algorium_server.durable import flush_directory

_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_BLOCKS: Final = tarfile.RECORDSIZE


class Writing(Protocol):
    """A backup that is being written."""

    def add_text(self, name: str, text: bytes) -> None:
        """Add one of our own files."""
        ...

    def add_directory(self, path: str, mode: int) -> None:
        """Add a directory."""
        ...

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        ...

    def add_file(self, path: str, file: BinaryIO, status: os.stat_result) -> None:
        """Add as many bytes of a file as *status* says."""
        ...

    def link_file(self, path: str, file: Path) -> bool:
        """Add a file that never changes as a link to it; return whether that is possible."""
        ...

    def add_manifest(self, manifest: BinaryIO) -> None:
        """Add the manifest, as the last one."""
        ...


class Reading(Protocol):
    """A backup that is being read."""

    def header(self) -> bytes:
        """Return the first file."""
        ...

    def files(self) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files that have bytes, in order; each is to be read before the next one."""
        ...

    @contextmanager
    def manifest(self) -> Iterator[BinaryIO]:
        """Open the manifest, once all files were read."""
        ...


def is_archive(path: Path) -> bool:
    """Whether a backup of that name is one file."""
    return path.name.endswith(_SUFFIXES)


@contextmanager
def writing(target: Path) -> Iterator[Writing]:
    """
    Write a backup that is there when the block ends, or not at all.

    Raises:
        InvalidInput: There is something of that name already, or it cannot be one.
        Unavailable: It cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise InvalidInput(f"{target} exists already: a backup replaces nothing")
    if "".join(target.suffixes[-2:]).startswith(".tar.") and not is_archive(target):
        raise InvalidInput(f"{target.name}: archives end with {', '.join(_SUFFIXES)}")
    try:
        with room_beside(target.parent) as room:
            half = room / target.name
            is_file = is_archive(target)
            form = _writing_archive(half, target.name) if is_file else _writing_tree(half)
            with form as written:
                yield written
            half.rename(target)
            flush_directory(target.parent)
    except OSError as error:
        raise Unavailable(f"cannot write {target}: {error.strerror or error}") from error


@contextmanager
def reading(source: Path) -> Iterator[Reading]:
    """
    Open a backup.

    Raises:
        InvalidInput: It is none, or damaged in a way that shows at once.
        Unavailable: It cannot be read.
    """
    try:
        if source.is_dir():
            yield _ReadTree(source)
            return
        with _unpacked(source) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            yield _ReadArchive(tar)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(f"{source} is no whole backup: {error}") from error
    except OSError as error:
        raise Unavailable(f"cannot read {source}: {error.strerror or error}") from error


# Archives


@contextmanager
def _writing_archive(half: Path, name: str) -> Iterator["_WriteArchive"]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(half, flags, 0o600), "wb") as file:
        with (
            _packed(file, name) as stream,
            tarfile.open(
                fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BLOCKS
            ) as tar,
        ):
            yield _WriteArchive(tar)
        file.flush()
        os.fsync(file.fileno())


class _WriteArchive:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add_text(self, name: str, text: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(text), 0o600
        self._tar.addfile(member, io.BytesIO(text))

    def add_directory(self, path: str, mode: int) -> None:
        member = tarfile.TarInfo(f"{FILES_DIR}/{path}")
        member.type, member.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(member)

    def add_link(self, path: str, target: str) -> None:
        member = tarfile.TarInfo(f"{FILES_DIR}/{path}")
        member.type, member.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(member)

    def add_file(self, path: str, file: BinaryIO, status: os.stat_result) -> None:
        member = tarfile.TarInfo(f"{FILES_DIR}/{path}")
        member.size, member.mode = status.st_size, stat.S_IMODE(status.st_mode)
        member.mtime = int(status.st_mtime)
        self._tar.addfile(member, file)
        _forget(self._tar)

    def link_file(self, path: str, file: Path) -> bool:  # noqa: ARG002 - the other form can
        return False

    def add_manifest(self, manifest: BinaryIO) -> None:
        member = tarfile.TarInfo(MANIFEST_NAME)
        member.size, member.mode = os.fstat(manifest.fileno()).st_size, 0o600
        self._tar.addfile(member, manifest)


class _ReadArchive:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._manifest: tarfile.TarInfo | None = None

    def header(self) -> bytes:
        first = self._tar.next()
        if first is None or first.name != HEADER_NAME or not first.isreg():
            raise InvalidInput("this is no backup of Algorium")
        return self._open(first).read(BACKUP_CHUNK_BYTES)

    def files(self) -> Iterator[tuple[str, BinaryIO]]:
        # Directories and links are made from the manifest; what else may be in a tar archive was
        # not put there by us.
        while (member := self._tar.next()) is not None:
            _forget(self._tar)
            if member.name == MANIFEST_NAME and member.isreg():
                self._manifest = member
                return
            root, _, path = member.name.partition("/")
            if root != FILES_DIR or not (member.isreg() or member.isdir() or member.issym()):
                raise InvalidInput(f"the backup holds what no backup has: {member.name[:100]!r}")
            if member.isreg():
                yield path, self._open(member)

    @contextmanager
    def manifest(self) -> Iterator[BinaryIO]:
        if self._manifest is None:
            raise InvalidInput("the backup is not whole: it ends before its manifest")
        yield self._open(self._manifest)

    def _open(self, member: tarfile.TarInfo) -> BinaryIO:
        opened = self._tar.extractfile(member)
        assert opened is not None, "a regular file"
        return cast("BinaryIO", opened)


def _forget(tar: tarfile.TarFile) -> None:
    """Let an archive not remember what was in it so far: there may be millions."""
    tar.members = []  # type: ignore[attr-defined] # Python's own advice, unknown to its stubs


@contextmanager
def _packed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Yield what compresses into *file*, as its name says."""
    if name.endswith((".gz", ".tgz")):
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:
            yield cast("BinaryIO", packed)
    elif name.endswith(".zst"):
        command = [_zstd(), "-q", "-3", "-T0", "-c"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file) as process:
            assert process.stdin is not None
            with process.stdin:
                yield cast("BinaryIO", process.stdin)
        _check_ended(process)
    else:
        yield file


@contextmanager
def _unpacked(source: Path) -> Iterator[BinaryIO]:
    """Yield the bytes of an archive, whatever it is packed with."""
    with ExitStack() as stack:
        # Without a buffer: whoever unpacks it reads on where we are.
        file = stack.enter_context(source.open("rb", buffering=0))
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            yield cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=file)))
        elif magic == b"\x28\xb5\x2f\xfd":
            process = stack.enter_context(
                subprocess.Popen(
                    [_zstd(), "-q", "-d", "-c"],
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            yield cast("BinaryIO", process.stdout)
        else:
            yield file


def _zstd() -> str:
    found = shutil.which("zstd")
    if found is None:
        raise Unavailable(
            "the program zstd is not installed", hint="Install it, or let the name end with .tar.gz"
        )
    return found


def _check_ended(process: "subprocess.Popen[bytes]") -> None:
    if process.wait() != 0:
        raise Unavailable(f"zstd ended with {process.returncode}: is the disk full?")


# Directories


@contextmanager
def _writing_tree(half: Path) -> Iterator["_WriteTree"]:
    half.mkdir(mode=0o700)
    (half / FILES_DIR).mkdir(mode=0o700)
    tree = _WriteTree(half)
    yield tree
    os.sync()  # thousands of files, once


class _WriteTree:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = root / FILES_DIR

    def add_text(self, name: str, text: bytes) -> None:
        with _created(self._root / name) as file:
            file.write(text)

    def add_directory(self, path: str, mode: int) -> None:  # noqa: ARG002 - it stays writable
        (self._files / path).mkdir(mode=0o700, parents=True, exist_ok=True)

    def add_link(self, path: str, target: str) -> None:
        """Leave it to the manifest: programs that copy the backup might follow it."""

    def add_file(self, path: str, file: BinaryIO, status: os.stat_result) -> None:
        target = self._files / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _created(target) as copy:
            left = status.st_size
            while left:
                chunk = file.read(min(left, BACKUP_CHUNK_BYTES))
                if not chunk:
                    raise OSError("unexpected end of data")
                copy.write(chunk)
                left -= len(chunk)

    def link_file(self, path: str, file: Path) -> bool:
        try:
            os.link(file, self._files / path, follow_symlinks=False)
        except OSError:  # another file system, or one without links
            return False
        return True

    def add_manifest(self, manifest: BinaryIO) -> None:
        with _created(self._root / MANIFEST_NAME) as file:
            shutil.copyfileobj(manifest, file)


class _ReadTree:
    def __init__(self, root: Path) -> None:
        self._root = root

    def header(self) -> bytes:
        try:
            with (self._root / HEADER_NAME).open("rb") as file:
                return file.read(BACKUP_CHUNK_BYTES)
        except FileNotFoundError:
            raise InvalidInput(f"{self._root} is no backup of Algorium") from None

    def files(self) -> Iterator[tuple[str, BinaryIO]]:
        with self.manifest() as manifest:
            for entry in entries(manifest):
                if entry.kind == "file":
                    with _opened(self._root / FILES_DIR / entry.path) as file:
                        yield entry.path, file

    @contextmanager
    def manifest(self) -> Iterator[BinaryIO]:
        try:
            with (self._root / MANIFEST_NAME).open("rb") as file:
                yield file
        except FileNotFoundError:
            raise InvalidInput("the backup is not whole: it has no manifest") from None


def _created(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "wb")


def _opened(path: Path) -> BinaryIO:
    try:
        return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        raise InvalidInput(f"the backup is not whole: {path.name} is missing") from None
