"""
JSON bodies as values: errors, answers of calls, listings, access lists.

Reading is strict about what a client relies on and blind to everything else, so that a newer
server may add fields.

Source: wire specification, "Responses", "ACLs", "Directories", "Envelope".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from algorium.wire.uris import can_be_name


class BodyError(ValueError):
    """The body is not what the protocol says; the text names the field."""


class ReadAcl(StrEnum):
    """Who may read a directory of hosted data beside its owner."""

    PRIVATE = "private"
    """The owner, and algorithms that the owner calls."""
    MY_ALGORITHMS = "my_algorithms"
    """Also the owner's algorithms, whoever calls them. What a new directory gets by default."""
    PUBLIC = "public"
    """Everybody with an account."""

    @property
    def entries(self) -> list[str]:
        """The wire's list."""
        return list(_ACL_ENTRIES[self])

    @classmethod
    def of_entries(cls, entries: object) -> "ReadAcl":
        """
        Read the wire's list.

        Raises:
            BodyError: The list is none of the three known ones.
        """
        for acl, known in _ACL_ENTRIES.items():
            if isinstance(entries, list) and tuple(entries) == known:
                return acl
        raise BodyError(f"acl.read: unknown list {entries!r}")


_ACL_ENTRIES: Final[dict[ReadAcl, tuple[str, ...]]] = {
    ReadAcl.PRIVATE: (),
    ReadAcl.MY_ALGORITHMS: ("algo://.my/*",),
    ReadAcl.PUBLIC: ("user://*",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAcl:
    """The access list of a directory. Writing is always the owner's alone."""

    read: ReadAcl = ReadAcl.MY_ALGORITHMS

    @classmethod
    def from_read(cls, read: ReadAcl) -> "DataAcl":
        """Return the access list that lets *read* read."""
        return cls(read=read)

    @classmethod
    def from_json(cls, value: object) -> "DataAcl":
        """
        Read the object `{"read": [...]}`.

        Raises:
            BodyError: It is something else.
        """
        return cls(read=ReadAcl.of_entries(_object(value, "acl").get("read")))

    def to_json(self) -> dict[str, list[str]]:
        """Return the object `{"read": [...]}`."""
        return {"read": self.read.entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """
    The object under `error`.

    Attributes:
        message: For people. Never empty.
        code: Row of the table of codes, if the platform refused.
        error_type: Standard error type, if the algorithm failed.
        error_id: Finds the line in the server's log.
        deleted: How many entries a failed deletion did delete.
        limit: What a quota allows.
        used: What counts towards it so far.
        unit: Of what: `bytes` or `files`.
    """

    message: str
    code: int | None = None
    error_type: str = ""
    stacktrace: str = ""
    hint: str = ""
    error_id: str = ""
    deleted: int | None = None
    limit: int | None = None
    used: int | None = None
    unit: str = ""

    @classmethod
    def from_json(cls, value: object) -> "ErrorBody | None":
        """Read a whole body; None when it carries no error. The error may be a bare string."""
        error = value.get("error") if isinstance(value, dict) else None
        if isinstance(error, str) and error:
            return cls(message=error)
        if not isinstance(error, dict):
            return None
        return cls(
            message=_text(error, "message") or "The server gave no reason.",
            code=_whole_number(error, "code"),
            error_type=_text(error, "error_type"),
            stacktrace=_text(error, "stacktrace") or _text(error, "stack_trace"),
            hint=_text(error, "hint"),
            error_id=_text(error, "id"),
            deleted=_whole_number(error, "deleted"),
            limit=_whole_number(error, "limit"),
            used=_whole_number(error, "used"),
            unit=_text(error, "unit"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMetadata:
    """
    What an answer says about its call.

    Attributes:
        content_type: `json`, `text`, `binary` or `void`.
        duration: Seconds the call took on the server.
        stdout: What the algorithm printed; None unless asked for and allowed.
        timing: Seconds by name; empty unless asked for.
    """

    content_type: str
    duration: float | None = None
    stdout: str | None = None
    alerts: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object) -> "CallMetadata":
        """
        Read the object under `metadata`.

        Raises:
            BodyError: No object, or no known content type in it.
        """
        metadata = _object(value, "metadata")
        content_type = metadata.get("content_type")
        if content_type not in {"json", "text", "binary", "void"}:
            raise BodyError(f"metadata.content_type: unknown type {content_type!r}")
        alerts = metadata.get("alerts")
        timing = metadata.get("timing")
        return cls(
            content_type=content_type,
            duration=_number(metadata.get("duration")),
            stdout=_text(metadata, "stdout") if "stdout" in metadata else None,
            alerts=tuple(str(alert) for alert in alerts) if isinstance(alerts, list) else (),
            timing={
                str(name): seconds
                for name, given in (timing.items() if isinstance(timing, dict) else ())
                if (seconds := _number(given)) is not None
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnvelope:
    """A successful call's answer; a binary result is still base64 text here."""

    metadata: CallMetadata
    result: Any

    @classmethod
    def from_json(cls, value: object) -> "CallEnvelope":
        """
        Read a whole body.

        Raises:
            BodyError: `result` or `metadata` is missing or malformed.
        """
        envelope = _object(value, "answer")
        if "result" not in envelope:
            raise BodyError("answer: no result")
        return cls(
            metadata=CallMetadata.from_json(envelope.get("metadata")), result=envelope["result"]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidReply:
    """The answer to `output=void`: the call goes on by itself."""

    request_id: str

    @classmethod
    def from_json(cls, value: object) -> "VoidReply":
        """
        Read a whole body.

        Raises:
            BodyError: No request id in it.
        """
        request_id = _text(_object(value, "answer"), "request_id")
        if not request_id:
            raise BodyError("answer: no request_id")
        return cls(request_id=request_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file in a listing."""

    filename: str
    size: int
    last_modified: datetime

    @classmethod
    def from_json(cls, value: object) -> "FileEntry":
        """
        Read one element of `files`.

        Raises:
            BodyError: A field is missing or malformed.
        """
        entry = _object(value, "files[]")
        size = _whole_number(entry, "size")
        if size is None or size < 0:
            raise BodyError("files[].size: not a whole number of bytes")
        try:
            last_modified = datetime.fromisoformat(_text(entry, "last_modified"))
        except ValueError as error:
            raise BodyError("files[].last_modified: not a time") from error
        return cls(filename=_name(entry, "filename"), size=size, last_modified=last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    One page of a directory.

    Attributes:
        folders: Names of directories below.
        marker: Asks for the next page; empty on the last one.
        acl: Only when it was asked for and the directory has one.
    """

    folders: tuple[str, ...] = ()
    files: tuple[FileEntry, ...] = ()
    marker: str = ""
    acl: DataAcl | None = None

    @classmethod
    def from_json(cls, value: object) -> "Listing":
        """
        Read a whole body.

        Raises:
            BodyError: A field is malformed.
        """
        listing = _object(value, "listing")
        acl = listing.get("acl")
        return cls(
            folders=tuple(
                _name(_object(folder, "folders[]"), "name") for folder in _list(listing, "folders")
            ),
            files=tuple(FileEntry.from_json(entry) for entry in _list(listing, "files")),
            marker=_text(listing, "marker"),
            acl=None if acl is None else DataAcl.from_json(acl),
        )


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BodyError(f"{where}: not an object")
    return value


def _list(parent: Mapping[str, Any], key: str) -> list[Any]:
    value = parent.get(key, [])
    if not isinstance(value, list):
        raise BodyError(f"{key}: not a list")
    return value


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def _name(parent: Mapping[str, Any], key: str) -> str:
    name = _text(parent, key)
    if not can_be_name(name):
        raise BodyError(f"{key}: {name!r} cannot be a name")
    return name


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole_number(parent: Mapping[str, Any], key: str) -> int | None:
    value = parent.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
