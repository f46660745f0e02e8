"""
Files up: transfers of one file from this machine to the server.

A large file is cut into parts that travel side by side. They wait on the server, so that whoever is
cut off goes on where it was. At the end it is told the digest of the whole file, and refuses parts
of a file that changed while it was read.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from algorium import _data_flow, _upload_flow
from algorium._content import FileSpan, Held
from algorium._errors import (
    AlgoriumError,
    AlreadyExists,
    ApiError,
    ConnectionLost,
    ContentMismatch,
    InvalidInput,
    InvalidRequest,
    NotFound,
    PathNotFound,
    ResponseTimeout,
    Unavailable,
)
from algorium._file_headers import ALWAYS, Condition, FileStat
from algorium._messages import Body
from algorium._progress import Counted, Meter
from algorium._retry import Flow, pause_after
from algorium._steps import Local, Together, Transfer
from algorium._upload_flow import NoUploads, UnfinishedUpload, UploadPart
from algorium.wire.uris import DataUri

UPLOAD_PART_BYTES: Final = 16 * 1024 * 1024
"""Held in memory while it is sent, times the requests at once. Smaller files go in one piece."""

_HELD_BYTES_MAX: Final = 4 * UPLOAD_PART_BYTES
"""Larger parts, which servers and other programs may choose, are sent from the disk."""

_PARTS_MAX: Final = 10_000
"""Of one upload, unless the server says otherwise; larger files get larger parts."""

_BUSY_MAX: Final = 6
"""How often a part is sent again that is still being received: for about ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadWish:
    """How to upload a file."""

    condition: Condition = ALWAYS
    resume: bool = True
    meter: Meter = field(default_factory=Meter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """
    What is to be uploaded.

    Attributes:
        span: Takes first byte and length, and returns these bytes.
    """

    size_bytes: int
    span: Callable[[int, int], FileSpan | Held]

    @classmethod
    def of_file(cls, path: Path, size_bytes: int) -> "_Source":
        def span(start: int, length: int) -> FileSpan:
            return FileSpan(path=path, start=start, size_bytes=length)

        return cls(size_bytes=size_bytes, span=span)

    @classmethod
    def of_bytes(cls, content: bytes) -> "_Source":
        view = memoryview(content)  # parts are not copied
        return cls(
            size_bytes=len(content), span=lambda start, length: Held(view[start : start + length])
        )

    @property
    def whole(self) -> FileSpan | Held:
        """All of it."""
        return self.span(0, self.size_bytes)


class _Stale(Exception):
    """This upload cannot be completed; a new one can."""


def put_bytes(content: bytes, uri: DataUri, wish: UploadWish) -> Transfer[FileStat]:
    """Write a file from memory."""
    meter = wish.meter
    meter.expect(len(content))
    if len(content) > UPLOAD_PART_BYTES:
        return (yield from _upload_large(_Source.of_bytes(content), uri, wish))
    md5: bytes = _md5([content])
    # In one piece unless somebody watches: small files should be one system call.
    body = Counted(Held(content), meter) if meter.is_watched else content
    stored: FileStat = yield _data_flow.put(uri, body, None, condition=wish.condition, md5=md5)
    meter.finish_file()
    return replace(stored, size_bytes=len(content), md5=md5.hex())


def put_pieces(
    uri: DataUri, pieces: Body, body_bytes: int | None, condition: Condition, meter: Meter
) -> Flow[FileStat]:
    """Write a file from pieces that can be had once only."""
    stored = yield from _data_flow.put(uri, pieces, body_bytes, condition=condition)
    meter.finish_file()
    return replace(stored, size_bytes=body_bytes)


def upload(path: Path, uri: DataUri, wish: UploadWish) -> Transfer[FileStat]:
    """
    Write a file from a local one.

    Raises:
        OSError: The local file cannot be read, or changes meanwhile.
        PathNotFound: The directory on the server does not exist.
        ConditionFailed: The file there is not as the wish demands.
    """
    size_bytes: int = yield Local(lambda: _regular_size(path))
    wish.meter.expect(size_bytes)
    source = _Source.of_file(path, size_bytes)
    if size_bytes > UPLOAD_PART_BYTES:
        return (yield from _upload_large(source, uri, wish))
    return (yield from _upload_whole(source, uri, wish))


def _upload_large(source: _Source, uri: DataUri, wish: UploadWish) -> Transfer[FileStat]:
    for resumes in (wish.resume, False):
        try:
            return (yield from _upload_parts(source, uri, wish, resumes=resumes))
        except NoUploads:
            break
        except _Stale:
            continue
    return (yield from _upload_whole(source, uri, wish))


def _upload_whole(source: _Source, uri: DataUri, wish: UploadWish) -> Transfer[FileStat]:
    body = yield from _held(source.whole)
    md5: bytes = yield Local(lambda: _md5(body.pieces()))
    flow = _data_flow.put(uri, Counted(body, wish.meter), None, condition=wish.condition, md5=md5)
    stored: FileStat = yield flow
    wish.meter.finish_file()
    return FileStat(size_bytes=source.size_bytes, etag=stored.etag, md5=md5.hex())


def _held(span: FileSpan | Held) -> Transfer[FileSpan | Held]:
    """Read what fits into memory, so that it is the same bytes that are hashed and sent."""
    if isinstance(span, Held) or span.size_bytes > _HELD_BYTES_MAX:
        return span
    content: bytes = yield Local(lambda: b"".join(span.pieces()))
    return Held(content)


def _upload_parts(
    source: _Source, uri: DataUri, wish: UploadWish, *, resumes: bool
) -> Transfer[FileStat]:
    size_bytes = source.size_bytes
    state: UnfinishedUpload | None = None
    if resumes and wish.condition == ALWAYS:  # the condition of a begun one cannot be known
        state = yield from _begun(uri, source)
    if state is None:
        part_bytes = max(UPLOAD_PART_BYTES, -(-size_bytes // _PARTS_MAX))
        state = yield _upload_flow.begin(
            uri, size_bytes=size_bytes, part_bytes=part_bytes, condition=wish.condition
        )
    assert state is not None
    count = -(-size_bytes // state.part_bytes)
    if count > state.parts_max:
        yield _upload_flow.abandon(state.upload_id)
        raise NoUploads
    whole: list[bytes] = []
    try:
        yield Together(_part_uploads(source, state, whole, wish.meter))
        stored = yield from _complete(
            uri, state, count, whole[0], condition=wish.condition, resumes=resumes
        )
    except (_Stale, ApiError, ContentMismatch, OSError) as error:
        # Cut off, it waits to be gone on with. Refused, it would only take up room.
        if not isinstance(error, Unavailable):
            with contextlib.suppress(AlgoriumError):
                yield _upload_flow.abandon(state.upload_id)
        raise
    wish.meter.finish_file()
    return FileStat(size_bytes=size_bytes, etag=stored.etag, md5=whole[0].hex())


def _begun(uri: DataUri, source: _Source) -> Transfer[UnfinishedUpload | None]:
    """Find an upload of this file to this place that was cut off."""
    uploads: list[UnfinishedUpload] = yield _upload_flow.begun()
    for found in uploads:
        if found.size_bytes != source.size_bytes or not _is_same_place(found.uri, uri):
            continue
        try:
            state: UnfinishedUpload = yield _upload_flow.state(found.upload_id)
        except NotFound:  # completed or given up between the two answers
            continue
        if (yield from _has_our_part(state, source)):
            return state
    return None


def _has_our_part(state: UnfinishedUpload, source: _Source) -> Transfer[bool]:
    """
    Tell whether an upload has a part of this very file.

    Otherwise somebody may be writing another file to the same place just now, and the parts of the
    two would go over each other.
    """
    there = min(state.parts, key=lambda part: part.number, default=None)
    if there is None or there.number < 1:
        return False
    start = (there.number - 1) * state.part_bytes
    if start + there.size_bytes > source.size_bytes:
        return False
    span = source.span(start, there.size_bytes)
    md5: bytes = yield Local(lambda: _md5(span.pieces()))
    return md5.hex() == there.md5


def _is_same_place(told: str, uri: DataUri) -> bool:
    try:
        return DataUri.parse(told) == uri
    except ValueError:
        return False


def _part_uploads(
    source: _Source, state: UnfinishedUpload, whole: list[bytes], meter: Meter
) -> Iterator[Transfer[None]]:
    # The digest of the whole file first: it takes as long as sending, so it must begin with it.
    yield _hash_whole(source.whole, whole)
    there = {part.number: part for part in state.parts}
    for start in range(0, source.size_bytes, state.part_bytes):
        number = start // state.part_bytes + 1
        length = min(state.part_bytes, source.size_bytes - start)
        span = source.span(start, length)
        yield _upload_part(span, state, number, there.get(number), meter)


def _hash_whole(span: FileSpan | Held, whole: list[bytes]) -> Transfer[None]:
    whole.append((yield Local(lambda: _md5(span.pieces()))))


def _upload_part(
    span: FileSpan | Held,
    state: UnfinishedUpload,
    number: int,
    there: UploadPart | None,
    meter: Meter,
) -> Transfer[None]:
    part = yield from _held(span)
    if there is not None and there.size_bytes == part.size_bytes:
        md5: bytes = yield Local(lambda: _md5(part.pieces()))
        if md5.hex() == there.md5:
            meter.add(part.size_bytes)
            return
    for failures in range(_BUSY_MAX + 1):
        body = Counted(part, meter)
        try:
            yield _upload_flow.put_part(state, number, body)
            return
        except (NotFound, InvalidInput) as error:  # given up or finished by somebody else
            raise _Stale from error
        except AlreadyExists:  # the server has not noticed yet that our last attempt is over
            if failures == _BUSY_MAX:
                raise
            meter.add(-body.sent_bytes)
            yield pause_after(failures + 1)


def _complete(
    uri: DataUri,
    state: UnfinishedUpload,
    count: int,
    md5: bytes,
    *,
    condition: Condition,
    resumes: bool,
) -> Transfer[FileStat]:
    try:
        return (yield from _completed(state, count, md5))
    except (InvalidInput, InvalidRequest) as error:
        if resumes:  # somebody else's parts among ours: begin one that is ours alone
            raise _Stale from error
        raise ContentMismatch(
            f"{uri} was not written: {error.message}",
            hint="Did the local file change while it was sent?",
        ) from error
    except (NotFound, ConnectionLost, ResponseTimeout) as error:
        # It may have been carried out, by us or by another process with the same file. With a
        # condition it matters which of the two, and that cannot be told.
        there = yield from _stat_or_none(uri)
        if condition == ALWAYS and there is not None and there.md5 == md5.hex():
            return there
        if isinstance(error, NotFound):
            raise _Stale from error
        raise


def _completed(state: UnfinishedUpload, count: int, md5: bytes) -> Transfer[FileStat]:
    for failures in range(_BUSY_MAX):
        try:
            stored: FileStat = yield _upload_flow.complete(state, parts_count=count, md5=md5)
            return stored
        except AlreadyExists:  # a part is still arriving, from a connection that is broken by now
            yield pause_after(failures + 1)
    stored = yield _upload_flow.complete(state, parts_count=count, md5=md5)
    return stored


def _stat_or_none(uri: DataUri) -> Transfer[FileStat | None]:
    try:
        told: tuple[FileStat, bool] = yield _data_flow.stat(uri)
        return told[0]
    except PathNotFound:
        return None


def _regular_size(path: Path) -> int:
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):  # a pipe might never end, or never begin
        raise OSError(f"{path} is no regular file")
    return found.st_size


def _md5(pieces: Iterable[bytes]) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
