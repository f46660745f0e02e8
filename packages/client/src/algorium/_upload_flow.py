"""
Resumable uploads: the requests of which one consists, as in `_flow.py`.

An upload is begun, takes parts in any order and any number of times, and is completed: only then
the file changes, at once. Parts that arrived stay on the server for days, so that whoever is cut
off goes on where it was.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from algorium._answers import check, check_path, unexpected
from algorium._data_flow import OCTETS, moving_s
from algorium._errors import ApiError
from algorium._file_headers import ALWAYS, Condition, FileStat
from algorium._messages import Body, Request, Response
from algorium._retry import Flow
from algorium._values import to_json
from algorium.wire.uris import DataUri

_PATH: Final = "/v1/uploads"


class NoUploads(Exception):
    """The server has no resumable uploads, or not for this place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPart:
    """A part that the server has: its number from 1, its size, its digest in hexadecimal."""

    number: int
    size_bytes: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedUpload:
    """
    An upload that has begun and is not finished; `put_file` goes on with it.

    Attributes:
        upload_id: Names it; only who began it may go on.
        uri: Where the file goes, as the server spells it.
        size_bytes: Of the whole file, if that was told.
        part_bytes: Size of every part but the last.
        parts_max: How many parts it may have.
        parts: What has arrived; only if it was asked for.
        expires_at: When the server gives it up; None if it does not tell.
    """

    upload_id: str
    uri: str
    size_bytes: int | None
    part_bytes: int
    parts_max: int
    parts: tuple[UploadPart, ...] = ()
    expires_at: datetime | None = None


def begin(
    uri: DataUri, *, size_bytes: int, part_bytes: int, condition: Condition = ALWAYS
) -> Flow[UnfinishedUpload]:
    """
    Begin an upload.

    Raises:
        NoUploads: This server cannot, or not there.
        QuotaExceeded: The account may not store that much.
        ConditionFailed: *condition* does not hold already now.
    """
    wish = {"uri": str(uri), "size_bytes": size_bytes, "part_bytes": part_bytes}
    response = yield Request(
        method="POST",
        path=_PATH,
        headers={"Content-Type": "application/json", **condition.headers},
        body=to_json(wish).encode(),
    )
    try:
        check_path(response)
    except ApiError as error:
        # "No such directory" and "no such route" look alike: a plain upload tells them apart.
        # Too many unfinished ones need not keep anybody from it, either.
        if error.status not in {400, 404, 405, 429, 501}:
            raise
        raise NoUploads from error
    if response.status != 201:  # whatever answers there, it is not this
        raise NoUploads
    return _state(response, response.json())


def put_part(upload: UnfinishedUpload, number: int, body: Body) -> Flow[UploadPart]:
    """
    Send a part. Its digest is left out: that of the whole file, at the end, finds what went wrong.

    Raises:
        PathNotFound: The upload is gone: abandoned or too old.
        AlreadyExists: Somebody sends this part already, maybe we, before the connection broke off.
        InvalidInput: The upload is finished.
    """
    response = yield Request(
        method="PUT",
        path=f"{_PATH}/{upload.upload_id}/parts/{number}",
        headers={"Content-Type": OCTETS},
        body=body,
    )
    check_path(response)
    return _part(response, response.json())


def state(upload_id: str) -> Flow[UnfinishedUpload]:
    """
    Read how far an upload is.

    Raises:
        PathNotFound: It is gone.
    """
    response = yield Request(method="GET", path=f"{_PATH}/{upload_id}")
    check_path(response)
    return _state(response, response.json())


def begun() -> Flow[list[UnfinishedUpload]]:
    """Read which uploads you have begun; none where the server has no such thing."""
    response = yield Request(method="GET", path=_PATH)
    if response.status in {404, 405, 501}:
        return []
    check(response)
    if response.media_type != "application/json":
        return []
    results = response.json()
    results = results.get("results") if isinstance(results, dict) else None
    if not isinstance(results, list):
        raise unexpected(response, "no list of uploads")
    return [_state(response, result) for result in results]


def complete(upload: UnfinishedUpload, *, parts_count: int, md5: bytes) -> Flow[FileStat]:
    """
    Make the parts the file; asked for again, the answer is the same.

    Raises:
        PathNotFound: The upload is gone.
        AlreadyExists: Parts are still arriving.
        InvalidInput: Parts are missing.
        InvalidRequest: Together they do not have this *md5*.
        ConditionFailed: The condition that it was begun with does not hold.
    """
    response = yield Request(
        method="POST",
        path=f"{_PATH}/{upload.upload_id}/complete",
        headers={"Content-Type": "application/json"},
        body=to_json({"parts_count": parts_count, "md5": md5.hex()}).encode(),
        work_s=moving_s(parts_count * upload.part_bytes),
        is_repeatable=True,
    )
    check_path(response)
    told = response.json()
    if not isinstance(told, dict):
        raise unexpected(response, "a completed upload that tells nothing")
    return FileStat(
        size_bytes=_number(told.get("size_bytes")),
        etag=str(told.get("etag") or ""),
        md5=str(told.get("md5") or ""),
    )


def abandon(upload_id: str) -> Flow[None]:
    """Give an upload up; one that is gone already is fine."""
    response = yield Request(method="DELETE", path=f"{_PATH}/{upload_id}")
    if response.status != 404:
        check_path(response)


def _state(response: Response, told: Any) -> UnfinishedUpload:
    if not isinstance(told, dict):
        raise unexpected(response, "an upload that is no object")
    upload_id, uri = told.get("upload_id"), told.get("uri")
    part_bytes, parts_max = _number(told.get("part_bytes")), _number(told.get("parts_max"))
    # The id becomes part of a path.
    if not isinstance(upload_id, str) or not upload_id.replace("-", "").replace("_", "").isalnum():
        raise unexpected(response, "an upload without an id")
    if not isinstance(uri, str) or not part_bytes or not parts_max:
        raise unexpected(response, "an upload without a place or a size of parts")
    parts = told.get("parts")
    return UnfinishedUpload(
        upload_id=upload_id,
        uri=uri,
        size_bytes=_number(told.get("size_bytes")),
        part_bytes=part_bytes,
        parts_max=parts_max,
        parts=tuple(_part(response, part) for part in parts) if isinstance(parts, list) else (),
        expires_at=_moment(told.get("expires_at")),
    )


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _part(response: Response, told: Any) -> UploadPart:
    number = _number(told.get("number")) if isinstance(told, dict) else None
    size_bytes = _number(told.get("size_bytes")) if isinstance(told, dict) else None
    if number is None or size_bytes is None:
        raise unexpected(response, "a part without number and size")
    return UploadPart(number=number, size_bytes=size_bytes, md5=str(told.get("md5") or ""))


def _number(value: object) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_number and isinstance(value, int) else None
