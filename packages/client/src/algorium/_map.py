"""
One algorithm, many inputs: some calls at a time, results in the order of the inputs.

Each call that is under way has a connection of its own: in the blocking client it is made by a
thread, in the other by a task. Inputs are taken and results handed out by whoever iterates, so
inputs may come from a cursor or a file that belongs to one thread. Whoever stops iterating breaks
off what is under way; the server then gives up those calls as well.

At any time a window of twice the concurrency is in memory: half of it may have ended while the
first one is still waited for.
"""

import queue
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from algorium import _flow
from algorium._flow import CallOptions
from algorium._idempotency import with_key
from algorium._responses import AlgoResponse
from algorium._retry import Flow
from algorium._transport import AsyncTransport, SyncLane, SyncTransport
from algorium.wire.refs import AlgorithmRef

CONCURRENCY_DEFAULT: Final = 16

CONCURRENCY_MAX: Final = 1000
"""Each takes a connection and, in the blocking client, a thread."""

_WINDOW: Final = 2
"""Of the concurrency: so much may be begun or wait to be handed out."""

_BUSY_RETRIES_MAX: Final = 9
"""Half a minute, together: others share the account, and their calls end."""

_END: Final = object()

Errors: TypeAlias = Literal["raise", "return"]
Outcome: TypeAlias = AlgoResponse | Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class MapProgress:
    """
    How far a `map` is.

    Attributes:
        done: Results handed out, failures included.
        failed: Failures among them.
        total: Inputs there are, None if they do not say how many.
    """

    done: int
    failed: int
    total: int | None


OnMapProgress: TypeAlias = Callable[[MapProgress], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapWish:
    """
    How to go through many inputs.

    Attributes:
        concurrency: Calls at a time.
        errors: What becomes of a call that fails.
        progress: Told after each result.
    """

    concurrency: int = CONCURRENCY_DEFAULT
    errors: Errors = "raise"
    progress: OnMapProgress | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= CONCURRENCY_MAX:
            raise ValueError(f"concurrency must be 1 to {CONCURRENCY_MAX}, not {self.concurrency}")
        if self.errors not in {"raise", "return"}:
            raise ValueError(f"errors must be raise or return, not {self.errors!r}")


def mapped(
    transport: SyncTransport,
    ref: AlgorithmRef,
    options: CallOptions,
    values: Iterable[Any],
    wish: MapWish,
) -> Iterator[Outcome]:
    """Call an algorithm with each of *values*; see `AlgorithmHandle.map`."""
    tally = _Tally(wish, values)
    inputs = iter(values)
    window: deque[Future[Outcome]] = deque()
    with _Crew(transport, wish.concurrency) as crew:
        while True:
            while len(window) < _WINDOW * wish.concurrency:
                value = next(inputs, _END)
                if value is _END:
                    break
                window.append(crew.begin(_flow.call(ref, value, with_key(options))))
            if not window:
                return
            yield tally.handed_out(window.popleft().result())


async def mapped_async(
    transport: AsyncTransport,
    ref: AlgorithmRef,
    options: CallOptions,
    values: Iterable[Any] | AsyncIterable[Any],
    wish: MapWish,
) -> AsyncIterator[Outcome]:
    """Call an algorithm with each of *values*; see `AlgorithmHandle.map`."""
    import asyncio  # noqa: PLC0415 - whoever is here has it; others need not wait for it

    tally = _Tally(wish, values)
    window: deque[asyncio.Task[Outcome]] = deque()
    lanes = _Lanes(transport, wish.concurrency)
    async with aclosing(_inputs(values)) as inputs:
        try:
            while True:
                while len(window) < _WINDOW * wish.concurrency:
                    value = await anext(inputs, _END)
                    if value is _END:
                        break
                    work = lanes.outcome(_flow.call(ref, value, with_key(options)))
                    window.append(asyncio.create_task(work))
                if not window:
                    return
                yield tally.handed_out(await window.popleft())
        finally:
            for task in window:
                task.cancel()
            await asyncio.gather(*window, return_exceptions=True)
            await lanes.aclose()


async def _inputs(values: Iterable[Any] | AsyncIterable[Any]) -> Any:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


class _Crew:
    """Threads that run flows, each on a connection of its own, while a `with` block lasts."""

    def __init__(self, transport: SyncTransport, size: int) -> None:
        self._transport = transport
        self._size = size
        self._work: queue.SimpleQueue[tuple[Flow[AlgoResponse], Future[Outcome]] | None] = (
            queue.SimpleQueue()
        )
        self._threads: list[threading.Thread] = []
        self._lanes: list[SyncLane] = []

    def __enter__(self) -> "_Crew":
        return self

    def begin(self, flow: Flow[AlgoResponse]) -> "Future[Outcome]":
        """Have a flow run; threads start as there is work for them."""
        future: Future[Outcome] = Future()
        self._work.put((flow, future))
        if len(self._threads) < self._size:
            lane = self._transport.lane(busy_retries_max=_BUSY_RETRIES_MAX)
            # A daemon: a program that is over does not wait for calls that nobody asks about.
            thread = threading.Thread(
                target=self._serve, args=(lane,), name="algorium-map", daemon=True
            )
            thread.start()
            self._lanes.append(lane)
            self._threads.append(thread)
        return future

    def __exit__(self, *exc_info: object) -> None:
        for lane in self._lanes:
            lane.break_off()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, lane: SyncLane) -> None:
        while (work := self._work.get()) is not None and not lane.is_broken_off:
            flow, future = work
            try:
                future.set_result(lane.run(flow))
            except Exception as error:  # whatever it is, it is told to whoever asked
                future.set_result(error)
        lane.close()


class _Lanes:
    """Connections for tasks, each used by one at a time."""

    def __init__(self, transport: AsyncTransport, size: int) -> None:
        import asyncio  # noqa: PLC0415 - likewise

        self._transport = transport
        self._turn = asyncio.Semaphore(size)
        self._idle: list[AsyncTransport] = []

    async def outcome(self, flow: Flow[AlgoResponse]) -> Outcome:
        """Run a flow, and return its result or why there is none."""
        async with self._turn:
            lane = (
                self._idle.pop()
                if self._idle
                else self._transport.lane(busy_retries_max=_BUSY_RETRIES_MAX)
            )
            try:
                return await lane.run(flow)
            except Exception as error:  # whatever it is, it is told to whoever asked
                return error
            finally:
                self._idle.append(lane)

    async def aclose(self) -> None:
        """Close them; all must be idle."""
        for lane in self._idle:
            await lane.aclose()


class _Tally:
    """Counts what is handed out, and decides in which form."""

    def __init__(self, wish: MapWish, values: object) -> None:
        self._wish = wish
        self._total = len(values) if hasattr(values, "__len__") else None
        self._done = self._failed = 0

    def handed_out(self, outcome: Outcome) -> Outcome:
        """
        Return what the next input has come to.

        Raises:
            Exception: It failed, and failures are to be raised.
        """
        self._done += 1
        self._failed += isinstance(outcome, Exception)
        if self._wish.progress is not None:
            self._wish.progress(
                MapProgress(done=self._done, failed=self._failed, total=self._total)
            )
        if isinstance(outcome, Exception) and self._wish.errors == "raise":
            outcome.add_note(f"input: number {self._done}, counted from 1")
            raise outcome
        return outcome
