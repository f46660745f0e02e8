"""
Following what other processes write: their changes reach the directory of this one.

Every gateway reads the list of changes a few times a second, and then the rows that it names; what
it had put into its directory itself is known already and changes nothing. Each row is read once
more with the next look: a process puts what it wrote into its directory right after the commit,
and if that comes late, it must not cover for good what somebody else has written since.

Source: design, "Hot path without I/O of its own": within 1 s in other processes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.algorithms import Algorithm, Build, Version
from algorium_server.domain.changes import Change, ChangeKind, membership_of
from algorium_server.domain.identity import Account, ApiKey, Role
from algorium_server.domain.limits import CHANGES_AT_ONCE_MAX, CHANGES_POLL_S
from algorium_server.domain.sessions import Session
from algorium_server.services.directory import Directory
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store import changes as change_rows
from algorium_server.store import sessions as session_rows
from algorium_server.store import users as user_rows
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

_LOOKS_MAX: Final = 3
"""If this process keeps writing while it reads, the next look puts right what came too early."""

_log = logger(__name__)


class Following:
    """
    Keeps a directory up to date.

    Args:
        database: Where the changes are.
        directory: Where they go.
        position: The newest change that the directory holds already, from `Directory.load`.
    """

    def __init__(self, database: Database, directory: Directory, *, position: int) -> None:
        self._database = database
        self._directory = directory
        self._position = position
        self._recent: Sequence[Change] = ()
        self._turn = asyncio.Lock()
        self._begun = 0
        self._ended = 0
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[tuple[ChangeKind, Callable[[], Awaitable[None]]]] = []

    def listen(self, kind: ChangeKind, listener: Callable[[], Awaitable[None]]) -> None:
        """Have *listener* read anew what it keeps of a kind, after each change of that kind."""
        self._listeners.append((kind, listener))

    def start(self, *, every_s: float = CHANGES_POLL_S) -> None:
        """Begin to look for changes every so often."""
        self._task = asyncio.get_running_loop().create_task(
            self._keep_up(every_s), name="following"
        )

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def before_request(self) -> Callable[[], Awaitable[None]] | None:
        """What to await before a rare request is looked at; None if nobody else writes."""
        return None if self._database.is_exclusive else self.catch_up

    async def catch_up(self) -> None:
        """
        Take in everything that was committed before this was called.

        Many who ask at the same time share one look: whatever strangers send, there is one at a
        time, and nobody waits for more than two.

        Raises:
            Unavailable: The database does not answer.
        """
        asked = self._begun
        async with self._turn:
            if self._ended > asked:
                return  # by a look that began after this was called
            self._begun += 1
            await self._take_in()
            self._ended = self._begun

    async def _take_in(self) -> None:
        for look in range(1, _LOOKS_MAX + 1):
            revision = self._directory.revisions
            async with self._database.reading() as connection:
                found = await change_rows.after(
                    connection, self._position, limit=CHANGES_AT_ONCE_MAX
                )
                news = None if found is None else await _read(connection, self._recent, found)
            # Otherwise this process has put something newer into its directory meanwhile.
            if self._directory.revisions == revision or look == _LOOKS_MAX:
                break
        if found is None or news is None or news.has_lost_rows:
            # Too much to go through one by one, or an account or algorithm was deleted, and
            # with it what hung on it.
            self._position = await self._directory.load()
            self._recent = ()
            await self._tell(set(ChangeKind))
            return
        news.put_into(self._directory)
        await self._tell({change.kind for some in (self._recent, found) for change in some})
        self._recent = found
        if found:
            self._position = found[-1].number

    async def _tell(self, kinds: set[ChangeKind]) -> None:
        for kind, listener in self._listeners:
            if kind in kinds:
                await listener()

    async def _keep_up(self, every_s: float) -> None:
        is_troubled = False
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.catch_up()
                is_troubled = False
            except Exception as error:  # whatever it is: without following, revoked keys stay valid
                if not is_troubled:
                    _log.warning("changes cannot be followed now; trying again", exc_info=error)
                is_troubled = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """
    What the rows that were written say now.

    Attributes:
        links: External ids of these accounts, as far as they have one.
        lost_keys: Keys that were removed.
        lost_sessions: Sessions that have ended.
        memberships: Organization, user, and the role; None if the membership has ended.
        has_lost_rows: Something else is gone.
    """

    accounts: Sequence[Account]
    links: Mapping[str, str]
    keys: Sequence[tuple[ApiKey, str]]
    lost_keys: Sequence[str]
    sessions: Sequence[tuple[Session, str]]
    lost_sessions: Sequence[str]
    memberships: Sequence[tuple[str, str, Role | None]]
    algorithms: Sequence[Algorithm]
    builds: Sequence[Build]
    versions: Sequence[Version]
    has_lost_rows: bool

    def put_into(self, directory: Directory) -> None:
        for account in self.accounts:
            directory.put_account(account)
            directory.links.put(account.account_id, self.links.get(account.account_id, ""))
        for organization_id, user_id, role in self.memberships:
            directory.put_membership(organization_id=organization_id, user_id=user_id, role=role)
        for key_id in self.lost_keys:
            directory.remove_key(key_id)
        for key, digest in self.keys:
            directory.put_key(key, digest=digest)
        directory.sessions.remove(self.lost_sessions)
        for session, digest in self.sessions:
            directory.sessions.put(session, digest=digest)
        for algorithm in self.algorithms:
            directory.put_algorithm(algorithm)
        for build in self.builds:
            directory.put_build(build)
        for version in self.versions:
            directory.put_version(version)


async def _read(connection: AsyncConnection, *changes: Sequence[Change]) -> _News:
    wanted: dict[ChangeKind, set[str]] = {kind: set() for kind in ChangeKind}
    for change in (each for some in changes for each in some):
        wanted[change.kind].add(change.subject)
    account_ids, key_ids = wanted[ChangeKind.ACCOUNT], wanted[ChangeKind.KEY]
    algorithm_ids, build_ids = wanted[ChangeKind.ALGORITHM], wanted[ChangeKind.BUILD]
    version_ids = wanted[ChangeKind.VERSION]
    session_ids = wanted[ChangeKind.SESSION]
    member_ids = {membership_of(subject) for subject in wanted[ChangeKind.MEMBERSHIP]}

    accounts = await account_rows.accounts(connection, ids=account_ids) if account_ids else []
    links = await user_rows.external_ids(connection, ids=account_ids) if account_ids else []
    keys = await account_rows.keys(connection, ids=key_ids) if key_ids else []
    members = await account_rows.memberships(connection, ids=member_ids) if member_ids else []
    sessions = await session_rows.sessions(connection, ids=session_ids) if session_ids else []
    algorithms = (
        await algorithm_rows.algorithms(connection, ids=algorithm_ids) if algorithm_ids else []
    )
    builds = await algorithm_rows.builds(connection, ids=build_ids) if build_ids else []
    versions = await algorithm_rows.versions(connection, ids=version_ids) if version_ids else []

    roles = {(organization_id, user_id): role for organization_id, user_id, role in members}
    found = len(accounts) + len(algorithms) + len(builds) + len(versions)
    asked = len(account_ids) + len(algorithm_ids) + len(build_ids) + len(version_ids)
    return _News(
        accounts=accounts,
        links=dict(links),
        keys=keys,
        lost_keys=sorted(key_ids - {key.key_id for key, _ in keys}),
        sessions=sessions,
        lost_sessions=sorted(session_ids - {session.session_id for session, _ in sessions}),
        memberships=[(*member, roles.get(member)) for member in sorted(member_ids)],
        algorithms=algorithms,
        builds=builds,
        versions=versions,
        has_lost_rows=found < asked,
    )
