"""
Work that is cheaper together: while one batch is under way, the next one gathers.

Nobody waits for company. What is asked for when nothing is under way begins at once, and what is
asked for meanwhile is done together afterwards.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Group(Generic[Q, A]):
    """
    Gathers requests into batches, one batch at a time.

    Args:
        work: Answers a batch, in its order: an answer, or the exception to raise, for each. What
            it raises itself is raised by every request of the batch.
        size_max: Of a batch.
    """

    def __init__(
        self, work: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]], *, size_max: int
    ) -> None:
        self._work = work
        self._size_max = size_max
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def ask(self, request: Q) -> A:
        """
        Return the answer to *request*.

        Whoever is cancelled while its batch is under way does not learn what became of it.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((request, answer))
        if self._working is None:
            self._working = loop.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._next_batch())
        finally:
            self._working = None
            for _, answer in self._waiting:  # only when cancelled: the loop ends
                answer.cancel()

    def _next_batch(self) -> list[tuple[Q, asyncio.Future[A]]]:
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(batch) < self._size_max:
            request, answer = self._waiting.popleft()
            if not answer.done():  # cancelled before it began
                batch.append((request, answer))
        return batch

    async def _answer(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        if not batch:
            return
        answers: Sequence[A | Exception]
        try:
            answers = await self._work([request for request, _ in batch])
        except asyncio.CancelledError:
            for _, waiting in batch:
                waiting.cancel()
            raise
        except Exception as error:
            answers = [error] * len(batch)
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
