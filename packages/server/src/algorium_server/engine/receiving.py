"""
The byte stream of a slot, cut into frames.

The slot's process is untrusted: sizes are checked on the prefix, before anything is stored. Bodies
too large for memory go into a spool while they arrive.

Source: runtime design, "Slot protocol".
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import msgspec

from algorium_runtime import frames
from algorium_server.domain.calls import Body
from algorium_server.domain.limits import (
    CALL_BODY_IN_MEMORY_BYTES_MAX,
    SLOT_BODY_BYTES_MAX,
    SLOT_HEADER_BYTES_MAX,
)
from algorium_server.spool import Spool

_SCRATCH_BYTES: Final = 2 * SLOT_HEADER_BYTES_MAX
"""Holds a prefix and the largest header with room to spare; larger bodies get their own buffer."""
_PREFIX_BYTES: Final = frames.PREFIX.size
_header = msgspec.json.Decoder(dict[str, Any])


class _Oversized(Exception):
    """A frame announces a body beyond the limit."""


class SlotFrame(NamedTuple):
    """One message of a slot; like `frames.Frame`, but its body may be too large for memory."""

    type: int
    header: dict[str, Any]
    body: Body


class FrameReceiver(asyncio.BufferedProtocol):
    """
    Cuts the byte stream of a slot into frames; large bodies go where they are kept at once.

    Attributes:
        is_paused: What was written is more than the socket takes now.
    """

    def __init__(
        self,
        on_frame: Callable[[SlotFrame], None],
        on_closed: Callable[[str, bool], None],
        on_writable: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_paused = False
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._on_writable = on_writable
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._view = memoryview(self._scratch)
        self._filled = 0
        self._pending: tuple[int, dict[str, Any]] | None = None
        self._body = bytearray()
        self._spool: Spool | None = None
        self._body_missing = 0
        self._is_broken = False

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the base class names it
        """Return where the next bytes go."""
        if self._pending is None or self._is_broken:
            return self._view[self._filled :] if self._filled else self._view
        if self._spool is not None:
            return self._view[: self._body_missing]
        return memoryview(self._body)[len(self._body) - self._body_missing :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* that arrived in the buffer."""
        if self._is_broken:  # the slot is being killed; what it still sends is nobody's
            return
        try:
            if self._pending is None:
                self._filled += nbytes
                self._cut()
                return
            if self._spool is not None:
                self._spool.append(self._view[:nbytes])
            self._body_missing -= nbytes
            if self._body_missing == 0:
                self._finish_body(*self._pending)
        except frames.ProtocolError as error:
            self._is_broken, self._filled = True, 0
            self._on_closed(str(error), False)
        except _Oversized as error:
            self._is_broken, self._filled = True, 0
            self._on_closed(str(error), True)

    def pause_writing(self) -> None:
        """Note that the slot does not take more for now."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """Go on with what waits to be written."""
        self.is_paused = False
        self._on_writable()

    def eof_received(self) -> None:
        """Note the end of the stream; the transport closes itself."""
        self._on_closed("", False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - base class names it
        """Note the loss of the connection."""
        self._on_closed("", False)

    def _begin_body(
        self, frame_type: int, header: dict[str, Any], begun: memoryview, size: int
    ) -> None:
        self._pending = (frame_type, header)
        self._body_missing = size - len(begun)
        if size > CALL_BODY_IN_MEMORY_BYTES_MAX:
            self._spool = Spool(size)
            self._spool.append(begun)
        else:
            self._body = bytearray(size)
            self._body[: len(begun)] = begun

    def _finish_body(self, frame_type: int, header: dict[str, Any]) -> None:
        # Handed on as it is, not copied; nobody changes it any more.
        body: Body = self._spool if self._spool is not None else cast(bytes, self._body)
        self._body, self._spool, self._pending = bytearray(), None, None
        self._on_frame(SlotFrame(frame_type, header, body))

    def _cut(self) -> None:
        at, filled = 0, self._filled
        only = frames.only_frame(self._view, filled)
        if only is not None:  # the usual case: a small one, and nothing behind it
            frame_type, body_at = only
            data = bytes(self._view[_PREFIX_BYTES:filled])
            header_bytes = body_at - _PREFIX_BYTES
            header = _parse_header(data[:header_bytes])
            self._filled = 0
            self._on_frame(SlotFrame(frame_type, header, data[header_bytes:]))
            return
        while filled - at >= _PREFIX_BYTES:
            prefix = frames.decode_prefix(
                bytes(self._view[at : at + _PREFIX_BYTES]),
                header_len_max=SLOT_HEADER_BYTES_MAX,
                body_len_max=2**63,
            )
            if prefix.body_len > SLOT_BODY_BYTES_MAX:
                raise _Oversized(f"a body of {prefix.body_len} bytes")
            body_at = at + _PREFIX_BYTES + prefix.header_len
            if filled < body_at:
                break
            header = _parse_header(self._view[at + _PREFIX_BYTES : body_at])
            end = body_at + prefix.body_len
            if filled < end:
                begun = self._view[body_at:filled]
                self._begin_body(prefix.type, header, begun, prefix.body_len)
                at = filled
                break
            body = bytes(self._view[body_at:end])
            at = end
            self._on_frame(SlotFrame(prefix.type, header, body))
        if at:
            remaining = filled - at
            self._scratch[:remaining] = self._scratch[at:filled]
            self._filled = remaining


def _parse_header(data: bytes | memoryview) -> dict[str, Any]:
    try:
        return _header.decode(data)
    except msgspec.DecodeError as error:
        raise frames.ProtocolError("a header is not a JSON object") from error
