"""
Transfers: generators like flows, of steps that also touch this machine's files or run side by side.

A flow (`_flow.py`) is requests and answers and nothing else. What moves files needs more: reading
and writing here, bodies that stream into a file, many requests at once. A *transfer* yields these
as steps and is told their results, so that it, too, is written once and driven twice: by threads
(`SyncDriver`) and by an `asyncio` loop (`AsyncDriver`).

| step       | is                                           | blocking           | `asyncio`       |
|------------|----------------------------------------------|--------------------|-----------------|
| a flow     | requests until it has its result             | this thread        | this task       |
| `Local`    | work on local files                          | this thread        | a thread        |
| `Fetch`    | a flow, then its body into a sink            | this thread        | task, thread    |
| `Together` | transfers side by side, taken as they come   | threads            | tasks           |
| `Pause`    | waiting                                      | sleeps             | sleeps          |

However deep `Together` is nested, at most `width` requests of a driver are under way.
"""

import asyncio
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from algorium._messages import Pause, Response
from algorium._retry import Flow
from algorium._transport import AsyncTransport, SyncTransport

T = TypeVar("T")
Transfer: TypeAlias = Generator[Any, Any, T]
Sink: TypeAlias = Callable[[bytes], object]

PARALLEL_DEFAULT: Final = 4
"""Requests at once: enough to fill a line with some delay, few enough to leave room for others."""

SINK_BYTES: Final = 1024 * 1024
"""What is handed to a sink in a thread at once; a switch of threads costs as much as 64 KiB."""


@dataclass(frozen=True, slots=True)
class Local(Generic[T]):
    """Blocking work on this machine; its result is the step's."""

    work: Callable[[], T]


@dataclass(frozen=True, slots=True)
class Fetch:
    """
    An answer whose body goes into a sink; the answer is the step's result.

    Attributes:
        flow: Ends with a streamed response.
        begin: Told the response, returns the sink; both may block.
    """

    flow: Flow[Response]
    begin: Callable[[Response], Sink]


@dataclass(frozen=True, slots=True)
class Together:
    """Transfers to be run side by side; the first error stops the others and is raised."""

    transfers: Iterable[Transfer[None]]


class Stopped(Exception):
    """A neighbour failed, so this transfer is not wanted any more; never seen outside."""


class _Scope:
    """Whether the transfers of a `Together`, or of one around it, are to stop."""

    def __init__(self, parent: "_Scope | None" = None) -> None:
        self._parent = parent
        self._is_stopped = False

    def stop(self) -> None:
        self._is_stopped = True

    def check(self) -> None:
        """
        Go on, or do not.

        Raises:
            Stopped: Do not.
        """
        scope: _Scope | None = self
        while scope is not None:
            if scope._is_stopped:
                raise Stopped
            scope = scope._parent


class SyncDriver:
    """
    Runs transfers in the calling thread, and in more of them where they run side by side.

    Args:
        transport: Sends the requests.
        width: Requests under way at once.
    """

    def __init__(self, transport: SyncTransport, *, width: int) -> None:
        self._transport = transport
        self._width = _checked(width, transport.connections_max)
        self._gate = threading.BoundedSemaphore(self._width)

    def run(self, transfer: Transfer[T]) -> T:
        """Drive *transfer* to its end and return its result."""
        return self._run(transfer, _Scope())

    def _run(self, transfer: Transfer[T], scope: _Scope) -> T:
        answer: Any = None
        failure: Exception | None = None
        try:
            while True:
                step = transfer.send(answer) if failure is None else transfer.throw(failure)
                answer = failure = None
                try:
                    answer = self._do(step, scope)
                except Stopped:
                    raise
                except Exception as error:
                    failure = error
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            transfer.close()

    def _do(self, step: Any, scope: _Scope) -> Any:
        scope.check()
        match step:
            case Local():
                return step.work()
            case Together():
                return self._together(step, scope)
            case Pause():
                return self._transport.pause(step)
            case Fetch():
                with self._gate:
                    return self._fetch(step, scope)
            case _:
                with self._gate:
                    return self._transport.run(step)

    def _fetch(self, step: Fetch, scope: _Scope) -> Response:
        response = self._transport.run(step.flow)
        try:
            sink = step.begin(response)
            for piece in response.stream:
                scope.check()
                sink(piece)
        finally:
            response.stream.close()
        return response

    def _together(self, step: Together, around: _Scope) -> None:
        scope = _Scope(around)
        transfers = iter(step.transfers)
        lock = threading.Lock()
        errors: list[BaseException] = []

        def work() -> None:
            while not errors:
                with lock:
                    transfer = next(transfers, None)
                if transfer is None:
                    return
                self._run(transfer, scope)

        def work_aside() -> None:
            try:
                work()
            except BaseException as error:  # told to the thread that waits for this one
                scope.stop()
                errors.append(error)

        threads = [threading.Thread(target=work_aside, daemon=True) for _ in range(self._width - 1)]
        for thread in threads:
            thread.start()
        try:
            work()
        except Exception as error:
            scope.stop()
            errors.append(error)
        except BaseException:  # an interrupt waits for nobody: the others stop when they can
            scope.stop()
            raise
        for thread in threads:
            thread.join()
        around.check()
        if errors:
            # Who was stopped has nothing to tell.
            raise next((each for each in errors if not isinstance(each, Stopped)), errors[0])


class AsyncDriver:
    """
    Runs transfers on the running `asyncio` loop.

    Args:
        transport: Sends the requests.
        width: Requests under way at once.
    """

    def __init__(self, transport: AsyncTransport, *, width: int) -> None:
        self._transport = transport
        self._width = _checked(width, transport.connections_max)
        self._gate = asyncio.Semaphore(self._width)

    async def run(self, transfer: Transfer[T]) -> T:
        """Drive *transfer* to its end and return its result."""
        answer: Any = None
        failure: Exception | None = None
        try:
            while True:
                step = transfer.send(answer) if failure is None else transfer.throw(failure)
                answer = failure = None
                try:
                    answer = await self._do(step)
                except Exception as error:
                    failure = error
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            transfer.close()

    async def _do(self, step: Any) -> Any:
        match step:
            case Local():
                return await asyncio.to_thread(step.work)
            case Together():
                return await self._together(step)
            case Pause():
                return await self._transport.pause(step)
            case Fetch():
                async with self._gate:
                    return await self._fetch(step)
            case _:
                async with self._gate:
                    return await self._transport.run(step)

    async def _fetch(self, step: Fetch) -> Response:
        response = await self._transport.run(step.flow)
        try:
            sink = await asyncio.to_thread(step.begin, response)
            gathered: list[bytes] = []
            size = 0
            try:
                async for piece in response.stream:
                    gathered.append(piece)
                    size += len(piece)
                    if size >= SINK_BYTES:
                        await asyncio.to_thread(sink, b"".join(gathered))
                        gathered, size = [], 0
            finally:  # what came before the connection broke off need not come again
                if gathered:
                    await asyncio.to_thread(sink, b"".join(gathered))
        finally:
            await response.stream.aclose()
        return response

    async def _together(self, step: Together) -> None:
        transfers = iter(step.transfers)

        async def work() -> None:
            for transfer in transfers:
                await self.run(transfer)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._width):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise _first(errors) from None


def _checked(width: int, connections_max: int) -> int:
    if width < 1:
        raise ValueError(f"parallel must be at least 1, not {width}")
    return min(width, connections_max)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what went wrong first; what came of stopping the others is not in the group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
