"""
One slot: a warm sandboxed process that runs one version, one call at a time, over frames.

Theory of operation: the slot's process is untrusted. Every frame is checked (kind, id, sizes)
before anything is made of it; the first frame out of place destroys the slot. Whatever ends a slot
(exit, end of file, violation, deadline) ends in `_fail`, which wakes whoever waits for a frame.

Source: runtime design, "Slot protocol", "Failures".
"""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgspec

from algorium_runtime import frames
from algorium_server.domain.calls import CallInput
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    CALL_KILL_GRACE_S,
    SLOT_BODY_BYTES_MAX,
    SLOT_HEADER_BYTES_MAX,
)
from algorium_server.engine.capture import Capture
from algorium_server.engine.host import SandboxProcess
from algorium_server.engine.sandbox import ExitStatus

if TYPE_CHECKING:
    from algorium_server.engine.pools import Pool

_SCRATCH_BYTES: Final = 2 * SLOT_HEADER_BYTES_MAX
"""Holds a prefix and the largest header with room to spare; larger bodies get their own buffer."""
_SPLIT_WRITE_BYTES: Final = 65_536
"""Below it head and body are joined for one write; above it joining costs more than a write."""
_PREFIX_BYTES: Final = frames.PREFIX.size
_header = msgspec.json.Decoder(dict[str, Any])
_LOADED: Final = frozenset({frames.READY, frames.LOAD_ERROR})
_ANSWERS: Final = frozenset({frames.RESULT, frames.ERROR})
_EXIT_WAIT_S: Final = 2.0
"""How long the exit status may trail the end of the slot's socket."""


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """
    A call in flight, as the engine sees it.

    Attributes:
        account_id: Whose slots may run it: slots are never shared between calling accounts.
        inside: Makes the principal that the algorithm acts as while this call runs; most calls
            never ask.
        deadline_at: Monotonic seconds.
        is_nested: Made by an algorithm; such calls have their own share of slots.
        on_delivery: Told right before the call's first byte goes to a slot; from then on the
            call may have had effects.
    """

    account_id: str
    inside: Callable[[], Principal]
    deadline_at: float
    is_nested: bool = False
    on_delivery: Callable[[], None] | None = None


class SlotEnded(Exception):
    """
    The slot is gone.

    Attributes:
        status: How its process ended, None if that is not known.
        violation: What the process did wrong, empty if it just ended.
        is_oversized: The violation was a result beyond every limit.
    """

    def __init__(
        self, status: ExitStatus | None, *, violation: str = "", is_oversized: bool = False
    ) -> None:
        super().__init__(violation or "the slot's process ended")
        self.status = status
        self.violation = violation
        self.is_oversized = is_oversized


class _Oversized(Exception):
    """A frame announces a body beyond the limit."""


class FrameReceiver(asyncio.BufferedProtocol):
    """Cuts the byte stream of a slot into frames; large bodies are received in place."""

    def __init__(
        self, on_frame: Callable[[frames.Frame], None], on_closed: Callable[[str, bool], None]
    ) -> None:
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._view = memoryview(self._scratch)
        self._filled = 0
        self._pending: tuple[int, dict[str, Any]] | None = None
        self._body = bytearray()
        self._body_filled = 0
        self._is_broken = False

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the base class names it
        """Return where the next bytes go."""
        if self._pending is not None and not self._is_broken:
            return memoryview(self._body)[self._body_filled :]
        return self._view[self._filled :] if self._filled else self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* that arrived in the buffer."""
        if self._is_broken:  # the slot is being killed; what it still sends is nobody's
            return
        try:
            if self._pending is not None:
                self._body_filled += nbytes
                self._finish_body()
            else:
                self._filled += nbytes
                self._cut()
        except frames.ProtocolError as error:
            self._is_broken, self._filled = True, 0
            self._on_closed(str(error), False)
        except _Oversized as error:
            self._is_broken, self._filled = True, 0
            self._on_closed(str(error), True)

    def eof_received(self) -> None:
        """Note the end of the stream; the transport closes itself."""
        self._on_closed("", False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - base class names it
        """Note the loss of the connection."""
        self._on_closed("", False)

    def _finish_body(self) -> None:
        if self._body_filled < len(self._body):
            return
        assert self._pending is not None
        frame_type, header = self._pending
        # Handed on as it is, since a copy of the largest costs milliseconds; nobody changes it.
        body = cast(bytes, self._body)
        self._body, self._pending = bytearray(), None
        self._on_frame(frames.Frame(frame_type, header, body))

    def _cut(self) -> None:
        at, filled = 0, self._filled
        while filled - at >= _PREFIX_BYTES:
            prefix = frames.decode_prefix(
                bytes(self._scratch[at : at + _PREFIX_BYTES]),
                header_len_max=SLOT_HEADER_BYTES_MAX,
                body_len_max=2**63,
            )
            if prefix.body_len > SLOT_BODY_BYTES_MAX:
                raise _Oversized(f"a body of {prefix.body_len} bytes")
            body_at = at + _PREFIX_BYTES + prefix.header_len
            if filled < body_at:
                break
            header = _parse_header(self._scratch[at + _PREFIX_BYTES : body_at])
            end = body_at + prefix.body_len
            if filled < end:
                self._body = bytearray(prefix.body_len)
                self._body_filled = filled - body_at
                self._body[: self._body_filled] = self._scratch[body_at:filled]
                self._pending = (prefix.type, header)
                at = filled
                break
            body = bytes(self._scratch[body_at:end])
            at = end
            if at == filled:  # the usual case: one frame, and nothing behind it
                self._filled = 0
                self._on_frame(frames.Frame(prefix.type, header, body))
                return
            self._on_frame(frames.Frame(prefix.type, header, body))
        if at:
            remaining = filled - at
            self._scratch[:remaining] = self._scratch[at:filled]
            self._filled = remaining


def _parse_header(data: bytearray) -> dict[str, Any]:
    try:
        return _header.decode(data)
    except msgspec.DecodeError as error:
        raise frames.ProtocolError("a header is not a JSON object") from error


class Receiver(Protocol):
    """Who waits for a slot: told once, by one of the two."""

    def answered(self, frame: frames.Frame) -> None:
        """Take the frame that answers."""

    def broken(self, end: SlotEnded) -> None:
        """Learn that no answer will come."""


class Closable(Protocol):
    """Something that is closed once."""

    def close(self) -> None:
        """Close it; idempotent."""


class _Loading:
    """Waits for the end of loading."""

    def __init__(self, frame: "asyncio.Future[frames.Frame]") -> None:
        self.frame = frame

    def answered(self, frame: frames.Frame) -> None:
        if not self.frame.done():
            self.frame.set_result(frame)

    def broken(self, end: SlotEnded) -> None:
        if not self.frame.done():
            self.frame.set_exception(end)


class Slot:
    """
    One warm process. Not safe for two calls at once: the pool hands it out to one at a time.

    Attributes:
        flight: The call in flight, None between calls.
        load_principal: Who the algorithm acts as while it loads.
        load_s: What starting and loading took, for the first call; 0 after it.
        listener: The platform's API inside; closed with the slot.
        idle_since: Monotonic seconds of the end of the last call.
        pool: Where it belongs; set by `capacity` once it is warm.
    """

    def __init__(self, process: SandboxProcess, *, number: int) -> None:
        self.number = number
        self.process = process
        self.capture = Capture(process.stdout_fd, process.stderr_fd)
        self.flight: Flight | None = None
        self.load_principal: Principal | None = None
        self.load_s = 0.0
        self.listener: Closable | None = None
        self.idle_since = 0.0
        self.pool: Pool | None = None
        self.is_dead = False
        self.on_end: Callable[[Slot], None] = lambda _slot: None
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._expected_id = 0
        self._receiver: Receiver | None = None
        self._end: SlotEnded | None = None
        self._transport: asyncio.Transport | None = None
        self._killing: asyncio.Task[None] | None = None
        process.exited.add_done_callback(self._on_exit)

    async def connect(self) -> None:
        """Start reading frames."""
        sock = self.process.socket
        assert sock is not None, "slots are spawned with a socket"
        transport, _ = await self._loop.create_unix_connection(
            lambda: FrameReceiver(self._on_frame, self._on_closed), sock=sock
        )
        self._transport = transport

    def principal(self) -> Principal | None:
        """Who the algorithm acts as right now; None when no call is in flight."""
        return self.flight.inside() if self.flight is not None else self.load_principal

    async def loaded(self, timeout_s: float) -> frames.Frame:
        """
        Wait until the algorithm is loaded.

        Returns:
            A `READY` or a `LOAD_ERROR` frame.

        Raises:
            SlotEnded: The process ended instead.
            TimeoutError: Neither happened in time.
        """
        loading = _Loading(self._loop.create_future())
        self._receiver = loading
        if self._end is not None:
            raise self._end
        async with asyncio.timeout(timeout_s):
            return await loading.frame

    def send(self, call_input: CallInput, *, remaining_s: float, receiver: Receiver) -> None:
        """
        Send a call; *receiver* gets its `RESULT` or `ERROR`, or learns of the slot's end.

        From the first byte on the call counts as delivered: it is never sent again.
        """
        self.capture.begin()
        self._receiver = receiver
        if self._end is not None:
            self._loop.call_soon(self._tell, self._end)
            return
        self._expected_id = next(self._ids)
        body = call_input.body
        head = frames.encode_call_head(
            self._expected_id, call_input.content_type, max(int(remaining_s * 1000), 0), len(body)
        )
        transport = self._transport
        assert transport is not None, "connected before anybody gets the slot"
        if len(body) < _SPLIT_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    def forget(self, receiver: Receiver) -> None:
        """Tell *receiver* nothing any more: its call was given up."""
        if self._receiver is receiver:
            self._receiver = None

    def fail(self, violation: str) -> None:
        """Destroy the slot because of what its process did; wakes whoever waits."""
        self._fail(SlotEnded(None, violation=violation))

    def kill(self, *, grace_s: float = CALL_KILL_GRACE_S) -> asyncio.Task[None]:
        """End the whole sandbox, in the background; idempotent."""
        self.is_dead = True
        if self.listener is not None:
            self.listener.close()
        if self._killing is None:
            self._killing = self._loop.create_task(self._kill(grace_s))
        return self._killing

    async def ended(self, end: SlotEnded) -> SlotEnded:
        """Complete *end* with the exit status, which may trail the end of the socket."""
        if end.status is not None or end.violation:
            return end
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_WAIT_S):
                return SlotEnded(await asyncio.shield(self.process.exited))
        return SlotEnded(None, violation="the process closed its connection to the platform")

    def _on_frame(self, frame: frames.Frame) -> None:
        receiver = self._receiver
        if receiver is None:
            self.fail("a frame arrived outside a call")
        elif (self._expected_id == 0 and frame.type in _LOADED) or (
            frame.type in _ANSWERS and frame.header.get("id") == self._expected_id != 0
        ):
            self._receiver = None
            receiver.answered(frame)
        else:
            self.fail(f"frame type {frame.type} is out of place")

    def _on_closed(self, violation: str, is_oversized: bool) -> None:
        self._fail(SlotEnded(None, violation=violation, is_oversized=is_oversized))

    def _on_exit(self, exited: "asyncio.Future[ExitStatus]") -> None:
        status = None if exited.cancelled() or exited.exception() else exited.result()
        self._fail(SlotEnded(status))

    def _fail(self, end: SlotEnded) -> None:
        if self._end is not None:
            return
        self._end = end
        self.is_dead = True
        self._tell(end)
        self.on_end(self)

    def _tell(self, end: SlotEnded) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.broken(end)

    async def _kill(self, grace_s: float) -> None:
        await self.process.kill(grace_s)
        self.capture.close()
        if self._transport is not None:
            self._transport.abort()
        elif self.process.socket is not None:
            self.process.socket.close()
