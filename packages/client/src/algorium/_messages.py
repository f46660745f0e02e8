"""What flows and drivers hand each other: requests, responses, pauses. Plain values, no I/O."""

import json
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable
from urllib.parse import quote

from algorium._errors import UnexpectedResponse

_CONDITIONS: Final = frozenset({"if-match", "if-none-match"})
_MOVE: Final = "x-move-from"


@runtime_checkable
class Replayable(Protocol):
    """Bytes of known length that can be read again from the start, in pieces, without `asyncio`."""

    @property
    def size_bytes(self) -> int:
        """How many bytes all pieces have together."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Read from the start."""
        ...


Body: TypeAlias = bytes | Replayable | Iterable[bytes] | AsyncIterable[bytes]


def segment(name: str) -> str:
    """
    Return a name as a part of a path.

    Raises:
        ValueError: It would make another path of it. Dots are taken as directories have them on
            the way, so that removing the member `..` would remove the organization.
    """
    if name in {"", ".", ".."}:
        raise ValueError(f"nothing can be called {name!r}")
    return quote(name, safe="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One HTTP request, without host and credentials.

    Attributes:
        path: Starts with `/v1/`, percent-encoded.
        query: Names and values, not encoded.
        body: Bytes, or pieces of bytes; pieces that are not `Replayable` can be sent once only.
        body_bytes: Length of *body* where pieces hide it, else None.
        work_s: How long the server may work before it answers, beside the client's own timeout.
        is_streamed: A successful answer's body is left to be read piece by piece.
        is_repeatable: The protocol has it that carrying this out twice is the same as once,
            although its method does not say so.
        is_kept: It carries a key by which the server carries it out once and keeps the answer.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""
    body_bytes: int | None = None
    work_s: float = 0.0
    is_streamed: bool = False
    is_repeatable: bool = False
    is_kept: bool = False

    @property
    def is_replayable(self) -> bool:
        """Whether the body is still whole after an attempt to send it."""
        return isinstance(self.body, bytes | Replayable)

    @property
    def is_idempotent(self) -> bool:
        """
        Whether carrying it out twice is the same as once.

        A write with a condition is not: the second time, the first may have made it false. Neither
        is a move: the second time, the source is gone.
        """
        if self.method != "PUT":
            return self.is_repeatable or self.method in {"GET", "HEAD"}
        return not any(name.lower() in {*_CONDITIONS, _MOVE} for name in self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """
    One HTTP response.

    Attributes:
        headers: Names in lower case.
        body: The whole body; empty when it is streamed.
        stream: What the driver reads a streamed body from, else None.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Any = None  # SyncStream or AsyncStream, only its own driver knows which

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def request_id(self) -> str:
        """The server's name for the request, or empty."""
        return self.headers.get("x-request-id", "")

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """
        Return the body as JSON.

        Raises:
            UnexpectedResponse: It is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise UnexpectedResponse(
                f"The answer (HTTP {self.status}) is not JSON.",
                status=self.status,
                request_id=self.request_id,
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait before going on, somewhere between *shortest_s* and *longest_s*, drawn at random."""

    shortest_s: float
    longest_s: float
