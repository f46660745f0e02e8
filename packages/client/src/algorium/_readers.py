"""Files that are being read: the bytes arrive while you take them."""

import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Final, Self

from algorium._file_headers import Part, check_length, check_md5, part_extent, stat_of
from algorium._messages import Response
from algorium._transport import AsyncStream, SyncStream

_PEEK_BYTES: Final = 4096
"""What looking ahead copies: room for a line or two."""


class FileReader(io.BufferedIOBase):
    """
    A file on the server, open for reading; what `DataFile.get` returns.

    It is a binary file object: `read`, iteration over lines, `shutil.copyfileobj`,
    `io.TextIOWrapper` and `json.load` work as on any other. Use it in a `with` block, or read it
    to its end, or close it: until then it holds a connection.

    Attributes:
        size_bytes: Size of the file or of the part of it; None if the server does not say.
    """

    def __init__(
        self, response: Response, *, part: Part | None = None, verify: bool = True
    ) -> None:
        self._stream: SyncStream = response.stream
        self._chunks = iter(self._stream)
        self._left = memoryview(b"")
        self._window = _Window(response, part, verify=verify)
        self.size_bytes = self._window.size_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """
        Read *size* bytes, or all that is left; fewer only at the end.

        Raises:
            ConnectionLost: The connection broke off before the end.
            ContentMismatch: At the end: it was not what the server announced.
        """
        left = -1 if size is None else size
        pieces = []
        while left != 0 and (piece := self.read1(left)):
            pieces.append(piece)
            left -= len(piece) if left > 0 else 0
        return b"".join(pieces)

    def read1(self, size: int = -1, /) -> bytes:
        """Read at most *size* bytes, waiting for the network once at most; empty at the end."""
        self._fill()
        if size < 0:
            size = len(self._left)
        piece, self._left = bytes(self._left[:size]), self._left[size:]
        return piece

    def peek(self, size: int = 0, /) -> bytes:
        """Return some bytes that are there, without taking them; empty only at the end."""
        self._fill()
        return bytes(self._left[: max(size, _PEEK_BYTES)])

    def _fill(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
        while not self._left and not self._window.is_over:
            self._left = self._window.seen(next(self._chunks, None))

    def chunks(self) -> Iterator[bytes]:
        """Yield what is left in pieces, as they arrive."""
        while piece := self.read1():
            yield piece

    def close(self) -> None:
        """Close the file; what has not been read is not transferred."""
        if not self.closed:
            self._stream.close()
        super().close()


class AsyncFileReader:
    """
    A file on the server, open for reading; what `AsyncDataFile.get` gives.

    Iterating gives lines, as with `FileReader`. Read it to its end or close it; `async with` does.

    Attributes:
        size_bytes: Size of the file or of the part of it; None if the server does not say.
    """

    def __init__(
        self, response: Response, *, part: Part | None = None, verify: bool = True
    ) -> None:
        self._stream: AsyncStream = response.stream
        self._chunks = aiter(self._stream)
        self._left = memoryview(b"")
        self._window = _Window(response, part, verify=verify)
        self.size_bytes = self._window.size_bytes

    async def read(self, size: int = -1) -> bytes:
        """
        Read *size* bytes, or all that is left; fewer only at the end.

        Raises:
            ConnectionLost: The connection broke off before the end.
            ContentMismatch: At the end: it was not what the server announced.
        """
        pieces = []
        while size != 0 and (piece := await self._read1(size)):
            pieces.append(piece)
            size -= len(piece) if size > 0 else 0
        return b"".join(pieces)

    async def _read1(self, size: int) -> bytes:
        while not self._left:
            if self._window.is_over:
                return b""
            self._left = self._window.seen(await anext(self._chunks, None))
        if size < 0:
            size = len(self._left)
        piece, self._left = bytes(self._left[:size]), self._left[size:]
        return piece

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what is left in pieces, as they arrive."""
        while piece := await self._read1(-1):
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        begun: list[bytes] = []
        async for piece in self.chunks():
            *ended, rest = piece.split(b"\n")
            for end in ended:
                yield b"".join((*begun, end, b"\n"))
                begun = []
            begun.append(rest)
        if last := b"".join(begun):
            yield last

    async def aclose(self) -> None:
        """Close the file; what has not been read is not transferred."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class AsyncOpening:
    """A file about to be opened: with `async with file.get() as reader`, or with `await`."""

    def __init__(self, open_file: Callable[[], Awaitable[AsyncFileReader]]) -> None:
        self._open_file = open_file
        self._reader: AsyncFileReader | None = None

    def __await__(self) -> Generator[Any, Any, AsyncFileReader]:
        return self._open_file().__await__()

    async def __aenter__(self) -> AsyncFileReader:
        self._reader = await self._open_file()
        return self._reader

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._reader is not None:
            await self._reader.aclose()


class _Window:
    """
    What of an answer's bytes is the part that was asked for, and whether they are the right ones.

    A server that knows no parts sends the whole file; then the rest is left out here.

    Attributes:
        size_bytes: How many bytes there will be, None if that was not told.
        is_over: Nothing more will come.
    """

    def __init__(self, response: Response, part: Part | None, *, verify: bool) -> None:
        told = stat_of(response.headers)
        extent = part_extent(response, part)
        self._skip = 0
        self._limit: int | None = None
        self._came_bytes = 0
        self._told_bytes = None if extent is None else extent.end - extent.start
        self.size_bytes = told.size_bytes if self._told_bytes is None else self._told_bytes
        self.is_over = False
        if extent is None and part is not None:
            self._skip = part.start
            self._limit = None if part.end is None else part.end - part.start
            if told.size_bytes is not None:
                end = min(told.size_bytes, part.end or told.size_bytes)
                self.size_bytes = max(end - part.start, 0)
        self._md5 = told.md5 if verify and part is None else ""
        self._digest = hashlib.md5(usedforsecurity=False)

    def seen(self, chunk: bytes | None) -> memoryview:
        """
        Take note of the next bytes, None at the end, and return what is to be read of them.

        Raises:
            ContentMismatch: All of them have another digest than was announced, or those of a
                part are not as many.
        """
        self._came_bytes += len(chunk or b"")
        if self._told_bytes is not None and (chunk is None or self._came_bytes > self._told_bytes):
            check_length("the part", self._told_bytes, self._came_bytes)
        if chunk is None:
            self.is_over = True
            if self._md5:
                check_md5("the file", self._md5, self._digest.hexdigest())
            return memoryview(b"")
        if self._md5:
            self._digest.update(chunk)
        view = memoryview(chunk)[self._skip :]
        self._skip = max(self._skip - len(chunk), 0)
        if self._limit is not None:
            view = view[: self._limit]
            self._limit -= len(view)
            self.is_over = self._limit == 0
        return view
