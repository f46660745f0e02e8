"""
Files up: transfers of one file from this machine to the server.

A large file is cut into parts that travel side by side. They wait on the server, so that whoever is
cut off goes on where it was. At the end it is told the digest of the whole file, and refuses parts
of a file that changed while it was read.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from algorium import _data_flow, _upload_flow
from algorium._content import FileSpan, Held
from algorium._data_flow import ALWAYS, Condition, FileStat
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
from algorium._messages import Body
from algorium._progress import Counted, Meter
from algorium._retry import Flow, pause_after
from algorium._steps import Local, Together, Transfer
from algorium._upload_flow import NoUploads, UnfinishedUpload, UploadPart
from algorium.wire.uris import DataUri

UPLOAD_PART_BYTES: Final = 16 * 1024 * 1024
"""Held in memory while it is sent, times the requests at once. Smaller files go in one piece."""

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


class _Stale(Exception):
    """This upload cannot be completed; a new one can."""


def put_bytes(uri: DataUri, content: bytes, condition: Condition, meter: Meter) -> Flow[FileStat]:
    """Write a file from memory."""
    meter.expect(len(content))
    md5 = _md5([content])
    # In one piece unless somebody watches: small files should be one system call.
    body = Counted(Held(content), meter) if meter.is_watched else content
    stored = yield from _data_flow.put(uri, body, None, condition=condition, md5=md5)
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
    if size_bytes > UPLOAD_PART_BYTES:
        for resumes in (wish.resume, False):
            try:
                return (yield from _upload_parts(path, uri, size_bytes, wish, resumes=resumes))
            except NoUploads:
                break
            except _Stale:
                continue
    return (yield from _upload_whole(path, uri, size_bytes, wish))


def _upload_whole(
    path: Path, uri: DataUri, size_bytes: int, wish: UploadWish
) -> Transfer[FileStat]:
    span = FileSpan(path=path, start=0, size_bytes=size_bytes)
    body: FileSpan | Held = span
    if size_bytes <= UPLOAD_PART_BYTES:
        body = Held((yield Local(lambda: b"".join(span.pieces()))))
    md5: bytes = yield Local(lambda: _md5(body.pieces()))
    flow = _data_flow.put(uri, Counted(body, wish.meter), None, condition=wish.condition, md5=md5)
    stored: FileStat = yield flow
    wish.meter.finish_file()
    return FileStat(size_bytes=size_bytes, etag=stored.etag, md5=md5.hex())


def _upload_parts(
    path: Path, uri: DataUri, size_bytes: int, wish: UploadWish, *, resumes: bool
) -> Transfer[FileStat]:
    state: UnfinishedUpload | None = None
    if resumes and wish.condition == ALWAYS:  # the condition of a begun one cannot be known
        state = yield from _begun(uri, size_bytes)
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
        yield Together(_part_uploads(path, size_bytes, state, whole, wish.meter))
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


def _begun(uri: DataUri, size_bytes: int) -> Transfer[UnfinishedUpload | None]:
    """Find an upload of a file of this size to this place that was cut off."""
    try:
        uploads: list[UnfinishedUpload] = yield _upload_flow.begun()
        for found in uploads:
            if found.size_bytes == size_bytes and _is_same_place(found.uri, uri):
                state: UnfinishedUpload = yield _upload_flow.state(found.upload_id)
                return state
    except NotFound:  # completed or given up between the two answers
        pass
    return None


def _is_same_place(told: str, uri: DataUri) -> bool:
    try:
        return DataUri.parse(told) == uri
    except ValueError:
        return False


def _part_uploads(
    path: Path, size_bytes: int, state: UnfinishedUpload, whole: list[bytes], meter: Meter
) -> Iterator[Transfer[None]]:
    # The digest of the whole file first: it takes as long as sending, so it must begin with it.
    yield _hash_whole(path, size_bytes, whole)
    there = {part.number: part for part in state.parts}
    for start in range(0, size_bytes, state.part_bytes):
        number = start // state.part_bytes + 1
        length = min(state.part_bytes, size_bytes - start)
        span = FileSpan(path=path, start=start, size_bytes=length)
        yield _upload_part(span, state, number, there.get(number), meter)


def _hash_whole(path: Path, size_bytes: int, whole: list[bytes]) -> Transfer[None]:
    span = FileSpan(path=path, start=0, size_bytes=size_bytes)
    whole.append((yield Local(lambda: _md5(span.pieces()))))


def _upload_part(
    span: FileSpan, state: UnfinishedUpload, number: int, there: UploadPart | None, meter: Meter
) -> Transfer[None]:
    content: bytes = yield Local(lambda: b"".join(span.pieces()))
    if there is not None and there.size_bytes == span.size_bytes:
        md5: bytes = yield Local(lambda: _md5([content]))
        if md5.hex() == there.md5:
            meter.add(span.size_bytes)
            return
    for failures in range(_BUSY_MAX + 1):
        body = Counted(Held(content), meter)
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
    if not path.is_file():
        path.open("rb").close()  # says what is wrong, for a directory or nothing at all
        raise OSError(f"{path} is no regular file")
    return path.stat().st_size


def _md5(pieces: Iterable[bytes]) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
