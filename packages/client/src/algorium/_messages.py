"""What flows and drivers hand each other: requests, responses, pauses. Plain values, no I/O."""

import json
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from algorium._errors import UnexpectedResponse

Body: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One HTTP request, without host and credentials.

    Attributes:
        path: Starts with `/v1/`, percent-encoded.
        query: Names and values, not encoded.
        body: Bytes, or pieces of bytes; pieces can be sent once only.
        body_bytes: Length of *body* where pieces hide it, else None.
        work_s: How long the server may work before it answers, beside the client's own timeout.
        is_streamed: A successful answer's body is left to be read piece by piece.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""
    body_bytes: int | None = None
    work_s: float = 0.0
    is_streamed: bool = False

    @property
    def is_replayable(self) -> bool:
        """Whether the body is still whole after an attempt to send it."""
        return isinstance(self.body, bytes)

    @property
    def is_idempotent(self) -> bool:
        """Whether carrying it out twice is the same as once."""
        return self.method in {"GET", "HEAD", "PUT"}


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
