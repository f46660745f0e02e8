"""
Sessions in the course of time: uses are noted, and what has ended by itself is removed.

Where nobody else is expected to write, a command beside the server may still end sessions, as when
it sets a password: as long as there are any, the list of changes is looked at for that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from algorium_server.domain.audit import AuditAction, Outcome
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import (
    SESSION_IDLE_S_MAX,
    SESSION_LOOK_S,
    SESSION_SWEEP_S,
    SESSION_USE_FLUSH_S,
    SESSION_USE_WRITE_S,
)
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.store import changes as change_rows
from algorium_server.store import sessions as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)


class SessionUpkeep:
    """
    Looks after sessions, on every gateway.

    Args:
        database: Where they are kept.
        directory: Where they are known.
        denied: How often who was refused from which address; emptied here.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        denied: dict[tuple[str, str], int],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._denied = denied
        self._clock = clock
        self._newest = -1
        self._noted: dict[str, datetime] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        duties = [
            (self.note_uses, SESSION_USE_FLUSH_S, "note uses"),
            (self.note_denied, SESSION_USE_FLUSH_S, "note denied"),
            (self.sweep, SESSION_SWEEP_S, "sweep"),
        ]
        if self._database.is_exclusive:
            duties.append((self.look, SESSION_LOOK_S, "look"))
        self._tasks = [
            loop.create_task(self._keep(duty, every_s), name=f"sessions: {name}")
            for duty, every_s, name in duties
        ]

    async def close(self) -> None:
        """Note what was used in the end, and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(AlgoriumError):
            await self.note_uses()
            await self.note_denied()

    async def note_denied(self) -> None:
        """
        Write into the audit log who was refused.

        Raises:
            Unavailable: The database does not take it now; the next time will do.
        """
        denied = dict(self._denied)
        if not denied:
            return
        async with self._database.transaction() as connection:
            for (account_id, address), count in denied.items():
                account = self._directory.account(account_id)
                if account is not None:
                    await record(
                        connection,
                        None,
                        AuditAction.SIGN_IN_DENIED,
                        f"user:{account.username}",
                        outcome=Outcome.DENIED,
                        about=account_id,
                        detail={"address": address, "times": str(count)},
                    )
        for key, count in denied.items():
            self._denied[key] -= count
            if not self._denied[key]:
                del self._denied[key]

    async def note_uses(self) -> None:
        """
        Note when sessions were used, each at most once in `SESSION_USE_WRITE_S`.

        Raises:
            Unavailable: The database does not take it now; the next time will do.
        """
        now = self._clock()
        sessions = self._directory.sessions
        due = {
            session_id: used_at
            for session_id, used_at in sessions.used.items()
            if (noted := self._noted.get(session_id)) is None
            or (used_at - noted).total_seconds() >= SESSION_USE_WRITE_S
        }
        if not due:
            return
        async with self._database.transaction() as connection:
            await rows.note_uses(connection, due)
            found = await rows.sessions(connection, ids=due)
        for session, digest in found:
            sessions.put(session, digest=digest)
        sessions.remove(due.keys() - {session.session_id for session, _ in found})
        lasting = now - timedelta(seconds=SESSION_USE_WRITE_S)
        for session_id, used_at in due.items():  # what was used since stays until the next time
            if sessions.used.get(session_id) == used_at:
                del sessions.used[session_id]
        self._noted = {each: at for each, at in self._noted.items() if at > lasting} | due

    async def sweep(self) -> None:
        """
        Remove sessions that have ended by themselves.

        Raises:
            Unavailable: The database does not take it now.
        """
        now = self._clock()
        # A use may be on its way from another gateway.
        idle_since = now - timedelta(seconds=SESSION_IDLE_S_MAX + 2 * SESSION_USE_WRITE_S)
        async with self._database.transaction() as connection:
            ended = await rows.remove_ended(connection, expired_before=now, idle_since=idle_since)
        self._directory.sessions.remove(ended)

    async def look(self) -> None:
        """
        Take in what another process did to sessions, if one wrote anything.

        Raises:
            Unavailable: The database does not answer.
        """
        if not self._directory.sessions:
            return
        revision = self._directory.sessions.revision
        async with self._database.reading() as connection:
            newest = await change_rows.newest(connection)
            if newest == self._newest:
                return
            found = await rows.sessions(connection)
        if self._directory.sessions.revision == revision:  # else this process was faster
            self._directory.sessions.load(found)
            self._newest = newest

    async def _keep(self, duty: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await duty()
            except AlgoriumError as error:
                _log.warning("sessions are looked after later", reason=error.message)
            except Exception:  # whatever it was: the next time may do
                _log.exception("sessions are looked after later")
