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
from typing import TYPE_CHECKING, Final, Protocol

from algorium_runtime import frames
from algorium_server.domain.calls import IN_MEMORY, CallInput, LargeBody
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import CALL_KILL_GRACE_S
from algorium_server.engine.capture import Capture
from algorium_server.engine.consumption import Consumption
from algorium_server.engine.flights import Flight
from algorium_server.engine.receiving import FrameReceiver, SlotFrame
from algorium_server.engine.sandbox import ExitStatus
from algorium_server.engine.spawned import SandboxProcess

if TYPE_CHECKING:
    from algorium_server.engine.pools import Seat

_SPLIT_WRITE_BYTES: Final = 65_536
"""Below it head and body are joined for one write; above it joining costs more than a write."""
_FEED_BYTES: Final = 262_144
"""Of a large input at a time."""
_LOADED: Final = frozenset({frames.READY, frames.LOAD_ERROR})
_ANSWERS: Final = frozenset({frames.RESULT, frames.ERROR})
_EXIT_WAIT_S: Final = 2.0
"""How long the exit status may trail the end of the slot's socket."""


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


class Receiver(Protocol):
    """Who waits for a slot: told once, by one of the two."""

    def answered(self, frame: SlotFrame) -> None:
        """Take the frame that answers."""

    def broken(self, end: SlotEnded) -> None:
        """Learn that no answer will come."""


class Closable(Protocol):
    """Something that is closed once."""

    def close(self) -> None:
        """Close it; idempotent."""


class _Loading:
    """Waits for the end of loading."""

    def __init__(self, frame: "asyncio.Future[SlotFrame]") -> None:
        self.frame = frame

    def answered(self, frame: SlotFrame) -> None:
        if not self.frame.done():
            self.frame.set_result(frame)

    def broken(self, end: SlotEnded) -> None:
        if not self.frame.done():
            self.frame.set_exception(end)
            self.frame.exception()  # perhaps nobody waits any more: not worth a log line


class Slot:
    """
    One warm process. Not safe for two calls at once: the pool hands it out to one at a time.

    Attributes:
        consumption: Meters what it consumes.
        flight: The call in flight, None between calls.
        load_principal: Who the algorithm acts as while it loads.
        load_s: What starting and loading took, for the first call; 0 after it.
        listener: The platform's API inside; closed with the slot.
        seat: Its place in the books of `scheduler`, once it is warm.
    """

    def __init__(self, process: SandboxProcess, *, number: int) -> None:
        self.number = number
        self.process = process
        self.capture = Capture(process.stdout_fd, process.stderr_fd)
        self.consumption = Consumption(process.program_pid, root=process.pid)
        self.flight: Flight | None = None
        self.load_principal: Principal | None = None
        self.load_s = 0.0
        self.listener: Closable | None = None
        self.seat: Seat | None = None
        self.is_dead = False
        self.on_end: Callable[[Slot], None] = lambda _slot: None
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._expected_id = 0
        self._loading = _Loading(self._loop.create_future())
        self._receiver: Receiver | None = None
        self._end: SlotEnded | None = None
        self._transport: asyncio.Transport | None = None
        self._protocol: FrameReceiver | None = None
        self._feeding: LargeBody | None = None
        self._fed_bytes = 0
        self._killing: asyncio.Task[None] | None = None
        process.exited.add_done_callback(self._on_exit)

    async def connect(self) -> None:
        """Start reading frames; a forked slot may be loaded before this returns."""
        sock = self.process.socket
        assert sock is not None, "slots are spawned with a socket"
        self._receiver = self._loading
        self._transport, self._protocol = await self._loop.create_unix_connection(
            lambda: FrameReceiver(self._on_frame, self._on_closed, self._feed), sock=sock
        )

    def principal(self) -> Principal | None:
        """Who the algorithm acts as right now; None when no call is in flight."""
        return self.flight.inside() if self.flight is not None else self.load_principal

    async def loaded(self, timeout_s: float) -> SlotFrame:
        """
        Wait until the algorithm is loaded.

        Returns:
            A `READY` or a `LOAD_ERROR` frame.

        Raises:
            SlotEnded: The process ended instead.
            TimeoutError: Neither happened in time.
        """
        if self._end is not None and not self._loading.frame.done():
            raise self._end
        async with asyncio.timeout(timeout_s):
            return await self._loading.frame

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
        if not isinstance(body, IN_MEMORY):
            transport.write(head)
            self._feeding, self._fed_bytes = body, 0
            self._feed()
        elif len(body) < _SPLIT_WRITE_BYTES:
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

    def _on_frame(self, frame: SlotFrame) -> None:
        receiver = self._receiver
        if receiver is None or self._feeding is not None:
            self.fail("a frame arrived outside a call")
        elif (self._expected_id == 0 and frame.type in _LOADED) or (
            frame.type in _ANSWERS and frame.header.get("id") == self._expected_id != 0
        ):
            self._receiver = None
            self.is_dead = self.is_dead or frame.header.get("is_last") is True
            receiver.answered(frame)
        else:
            self.fail(f"frame type {frame.type} is out of place")

    def _feed(self) -> None:
        """Write more of a large input, as long as the slot takes it."""
        assert self._transport is not None
        assert self._protocol is not None
        while self._feeding is not None and not self._protocol.is_paused:
            piece = self._feeding.read(self._fed_bytes, _FEED_BYTES)
            if piece:
                self._fed_bytes += len(piece)
                self._transport.write(piece)
            else:
                self._feeding = None

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
        self._feeding = None
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
