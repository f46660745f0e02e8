"""
The heads of calls, understood once.

For `api/direct.py`, which says why bytes that were understood need not be read again. Only heads of
calls that were answered are kept, so strangers add none.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from algorium_server.domain.calls import CallOptions, ContentType
from algorium_server.domain.limits import CALL_INPUT_BYTES_MAX
from algorium_server.domain.proxies import NO_PROXIES, Proxies
from algorium_server.services.audit_trail import Sightings
from algorium_server.services.calling.admitted import Grant
from algorium_server.services.calling.calls import CallService

_HEAD_BYTES_MAX: Final = 4096
"""Of a head that is remembered: many times what clients send."""
_HEADS_MAX: Final = 4096
"""Remembered. Each is a caller, an algorithm and a length of input."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([^\r]*)", re.IGNORECASE)
_DIGITS: Final = re.compile(rb"[0-9]{1,9}[ \t]*")
_UNUSUAL: Final = re.compile(
    rb"\r\n(?:transfer-encoding|expect|upgrade|proxy-connection|content-length[ \t]"
    rb"|connection:(?![ \t]*keep-alive[ \t]*\r\n))",
    re.IGNORECASE,
)
"""What makes the meaning of a request depend on more than its path and its length."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the head of a call says, understood.

    Attributes:
        grant: That its sender may call what it names.
        content_type: Of the input; None if the head says neither type nor length: no input.
        is_base64: The input is binary and comes encoded.
        continues_alone: The call goes on when its caller goes away.
        idempotency_key: By which it is run once; empty if it has none. Such heads are not kept.
    """

    grant: Grant
    options: CallOptions
    content_type: ContentType | None
    is_base64: bool
    continues_alone: bool
    idempotency_key: str = ""


class KnownHead(NamedTuple):
    """
    A head that was seen before: what it means, and how long the body behind it is.

    Attributes:
        forwarded: Where its sender is, as far as a trusted proxy has written it; else empty.
    """

    head: Head
    body_bytes: int
    forwarded: str = ""


class Heads:
    """
    The heads that were seen before, for all connections.

    Args:
        calls: Runs the calls.
        sightings: Told from where keys are used.
        proxies: Those in front of the server.
    """

    def __init__(
        self,
        calls: CallService,
        sightings: Sightings | None = None,
        *,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self.calls = calls
        self.proxies = proxies
        self.sightings = sightings or Sightings()
        self._known: dict[bytes, KnownHead] = {}
        self._shared_headers: list[tuple[bytes, bytes]] = []
        self._beginnings: dict[tuple[int, str], bytes] = {}

    def find(self, raw_head: bytes) -> KnownHead | None:
        """Return what *raw_head* means, None if that has to be found out (again)."""
        known = self._known.get(raw_head)
        if known is None or self.calls.is_current(known.head.grant):
            return known
        del self._known[raw_head]
        return None

    def remember(
        self, raw_head: bytes, head: Head, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """
        Keep what *raw_head* means, unless more than its bytes decides about that.

        Args:
            raw_head: As it arrived.
            head: What it means.
            headers: Those in it, names in lower case.
        """
        lengths = _LENGTH.findall(raw_head)
        if (
            len(raw_head) > _HEAD_BYTES_MAX
            or len(lengths) != 1
            or not _DIGITS.fullmatch(lengths[0])
            or int(lengths[0]) > CALL_INPUT_BYTES_MAX
            or _UNUSUAL.search(raw_head)
            or not raw_head.partition(b"\r\n")[0].endswith(b" HTTP/1.1")
            or not raw_head.isascii()
        ):
            return
        if len(self._known) >= _HEADS_MAX:
            self._known.clear()
        # The same bytes may come from a proxy and from a stranger: who believes them decides then.
        forwarded = self.proxies.caller(headers).address if self.proxies.networks else ""
        self._known[raw_head] = KnownHead(head, int(lengths[0]), forwarded)

    def beginning(
        self, status: int, content_type: str, headers: list[tuple[bytes, bytes]]
    ) -> bytes:
        """
        Return an answer up to the number of its length.

        Args:
            status: HTTP status.
            content_type: Of its body.
            headers: What every answer carries; uvicorn renews the list once a second.
        """
        if headers is not self._shared_headers:
            self._shared_headers = headers
            self._beginnings.clear()
        beginning = self._beginnings.get((status, content_type))
        if beginning is None:
            shared = b"".join(b"%s: %s\r\n" % header for header in headers)
            beginning = self._beginnings[status, content_type] = (
                b"%b%bcontent-type: %b\r\ncontent-length: "
                % (STATUS_LINE[status], shared, content_type.encode("latin-1"))
            )
        return beginning
