"""Single files of the fsspec file system, open for reading or writing; see `_fsspec.py`."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from fsspec.spec import AbstractBufferedFile

from algorium._errors import AlreadyExists, ConditionFailed, NotAuthorized, PathNotFound
from algorium.wire.uris import DataUri

PREFIX: Final = "algorium://"
"""Before the URI of a connected source: fsspec knows others by `s3://` and `gs://`."""

_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""What is written is gathered before it goes to the temporary file."""


class Reader(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file open for reading anywhere: always the version that it was when it was opened."""

    DEFAULT_BLOCK_SIZE = 5 * 1024 * 1024

    def _fetch_range(self, start: int, end: int) -> bytes:
        if end <= start:
            return b""
        etag = str(self.details.get("etag") or "")
        with translated(self.path):
            file = self.fs.client.file(uri_of(self.path))
            try:
                with file.get(
                    start=start, end=end, if_match="" if etag.startswith("W/") else etag
                ) as reader:
                    return bytes(reader.read())
            except ConditionFailed as error:
                raise OSError(f"{self.path} has changed since it was opened") from error


class Writer(io.BufferedIOBase):
    """
    A file being written; it appears on the server, or changes, when it is closed.

    Left with an exception, by `with fs.open(path, "wb") as file`, nothing is written. In text mode,
    and through `fsspec.open`, nobody tells it of the exception, and it is written as it is then.
    """

    def __init__(self, fs: Any, path: str, mode: str, *, is_committed: bool) -> None:
        self.fs = fs
        self.path = path
        self.mode = mode
        self._file = fs.client.file(uri_of(path))
        self._is_committed = is_committed
        self._if_match = ""
        self._spool = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed with this file
            prefix="algorium-", buffering=_BUFFER_BYTES
        )
        if mode == "ab":
            with contextlib.suppress(PathNotFound):
                self._begin_with_what_is_there()

    def _begin_with_what_is_there(self) -> None:
        stat = self._file.stat()
        self._if_match = "" if stat.etag.startswith("W/") else stat.etag
        with self._file.get(if_match=self._if_match) as reader:
            for piece in reader.chunks():
                self._spool.write(piece)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        return self._spool.write(content)

    def tell(self) -> int:
        return self._spool.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._spool.seek(offset, whence)

    def flush(self) -> None:
        if not self._spool.closed:
            self._spool.flush()

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self._is_committed:
                self.commit()
        finally:
            super().close()
            if self._is_committed:
                self._spool.close()

    def commit(self) -> None:
        """Write the file to the server; called by close, or at the end of a transaction."""
        self._spool.flush()
        with translated(self.path):
            self._file.put_file(
                self._spool.name, create_only=self.mode == "xb", if_match=self._if_match
            )
        self._spool.close()

    def discard(self) -> None:
        """Forget what was written."""
        self._spool.close()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is not None and self._is_committed:
            self._is_committed = False
            self.discard()
        self.close()

    def __del__(self) -> None:
        """Forget what was written: a file that was never closed is not finished."""
        self._is_committed = False
        super().__del__()


def uri_of(path: str) -> DataUri:
    """Return the data URI of a path of fsspec's."""
    return DataUri.parse(path.removeprefix(PREFIX))


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise what callers of file systems expect; ours stays its cause."""
    try:
        yield
    except PathNotFound as error:
        raise FileNotFoundError(f"{path}: {error.message}") from error
    except NotAuthorized as error:
        raise PermissionError(f"{path}: {error.message}") from error
    except AlreadyExists as error:
        raise FileExistsError(f"{path}: {error.message}") from error
    except ConditionFailed as error:
        raise FileExistsError(f"{path}: {error.message}") from error
