"""
Insights on their way: from memory to a topic of Kafka, without a call ever waiting.

A record is put into a queue, which is all that its call does. One task sends what is there, in
batches, oldest first. Brokers that do not take it are tried again, with growing pauses, until a
record is four minutes old; then it is lost, as it is when the queue is full, when the server dies,
and when there is no connection. What is lost is counted, and told in the server's log.

Source: wire specification, "Insights", "Retries".
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Protocol

from algorium_server.data.kafka import KafkaSender
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.insights import InsightsConnection
from algorium_server.domain.limits import (
    INSIGHTS_BATCH_MAX,
    INSIGHTS_GATHER_S,
    INSIGHTS_LIFE_S,
    INSIGHTS_RETRY_S_FIRST,
    INSIGHTS_RETRY_S_MAX,
    INSIGHTS_STOP_S,
    INSIGHTS_WAITING_BYTES_MAX,
    INSIGHTS_WAITING_MAX,
)
from algorium_server.sealing import Seal
from algorium_server.store import insights as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)


class Sender(Protocol):
    """Something that takes records: `data.kafka`."""

    async def send(self, records: Sequence[bytes]) -> None:
        """Send them all; raises an `AlgoriumError` if not all arrived."""

    async def close(self) -> None:
        """End."""


Open = Callable[[InsightsConnection, str], Awaitable[Sender]]


async def open_kafka(connection: InsightsConnection, password: str) -> Sender:
    """Connect to the brokers of a connection."""
    return await KafkaSender.open(connection.settings, password)


class InsightDelivery:
    """
    Sends records. Start it once, close it once.

    Args:
        database: Where the connection is.
        seal: Opens its password.
        open_sender: Connects.
        clock: Returns monotonic seconds.

    Attributes:
        sent: Records that have arrived, of this gateway since its start.
        lost: Records that have not and never will.
    """

    def __init__(
        self,
        database: Database,
        seal: Seal,
        *,
        open_sender: Open = open_kafka,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sent = 0
        self.lost = 0
        self._database = database
        self._seal = seal
        self._open = open_sender
        self._clock = clock
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._has_some = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_changed = asyncio.Event()
        self._sender: Sender | None = None
        self._connection_id = ""
        self._told_lost = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many records are on their way."""
        return len(self._waiting)

    def put(self, record: bytes) -> None:
        """Take a record, at once; if there are too many, it is lost."""
        if (
            len(self._waiting) >= INSIGHTS_WAITING_MAX
            or self._bytes + len(record) > INSIGHTS_WAITING_BYTES_MAX
        ):
            self.lost += 1
            return
        self._waiting.append((self._clock(), record))
        self._bytes += len(record)
        self._has_some.set()
        self._is_empty.clear()

    def connection_changed(self) -> None:
        """Try again now, with the connection as it is now."""
        self._is_changed.set()

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.get_running_loop().create_task(self._keep_sending(), name="insights")

    async def close(self) -> None:
        """Send what is left, for a moment; the rest is lost."""
        if self._task is None:
            return
        if self._waiting:
            self.connection_changed()  # what waits for a better moment has no other one
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INSIGHTS_STOP_S):
                    await self._is_empty.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._drop(len(self._waiting))
        self._tell_lost("the server stops")
        await self._disconnect()

    async def _keep_sending(self) -> None:
        pause_s = INSIGHTS_RETRY_S_FIRST
        while True:
            await self._has_some.wait()
            self._expire()
            self._is_changed.clear()
            try:
                await self._send_some()
            except AlgoriumError as error:
                reason = error.message
            except Exception as error:  # whatever it is, the next records may fare better
                _log.exception("insights cannot be sent; trying again")
                reason = type(error).__name__
            else:
                pause_s = INSIGHTS_RETRY_S_FIRST
                # Records that come one by one are sent together, and ask the database once.
                await asyncio.sleep(INSIGHTS_GATHER_S)
                continue
            if pause_s == INSIGHTS_RETRY_S_FIRST:
                _log.warning("insights wait in memory", records=len(self._waiting), reason=reason)
            await self._disconnect()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._is_changed.wait()
            pause_s = min(2 * pause_s, INSIGHTS_RETRY_S_MAX)
            self._expire()

    async def _send_some(self) -> None:
        """Send the oldest records; without a connection, all are lost."""
        async with self._database.reading() as connection:
            wanted = await rows.connection_of(connection)
        if wanted is None:
            self._drop(len(self._waiting))
            self._tell_lost("there is no connection")
            await self._disconnect()
            return
        if self._sender is None or wanted.connection_id != self._connection_id:
            await self._disconnect()
            self._sender = await self._open(wanted, self._password(wanted))
            self._connection_id = wanted.connection_id
        batch = [record for _, record in islice(self._waiting, INSIGHTS_BATCH_MAX)]
        if batch:
            await self._sender.send(batch)
            self.sent += len(batch)
            self._take(len(batch))

    def _password(self, connection: InsightsConnection) -> str:
        if not connection.sealed:
            return ""
        opened = self._seal.unseal(
            connection.sealed, owner=connection.connection_id, name="insights"
        )
        return opened.decode()

    async def _disconnect(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.close()

    def _expire(self) -> None:
        before = self._clock() - INSIGHTS_LIFE_S
        old = 0
        for taken_at, _ in self._waiting:
            if taken_at > before:
                break
            old += 1
        self._drop(old)
        self._tell_lost("no broker took them in time" if old else "too many were waiting")

    def _drop(self, count: int) -> None:
        self.lost += count
        self._take(count)

    def _take(self, count: int) -> None:
        for _ in range(count):
            _, record = self._waiting.popleft()
            self._bytes -= len(record)
        if not self._waiting:
            self._has_some.clear()
            self._is_empty.set()

    def _tell_lost(self, reason: str) -> None:
        if self.lost > self._told_lost:
            _log.warning("insights are lost", records=self.lost - self._told_lost, reason=reason)
            self._told_lost = self.lost
