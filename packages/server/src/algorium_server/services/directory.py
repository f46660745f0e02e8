"""
The directory: everything that a warm call has to look up, in memory.

Keys, accounts, roles, algorithms, versions and what of a build is needed to run it are read once
at the start. Whoever writes rows puts the same values here after the commit; readers then see
them at once. What others write arrives through `following`. A write drops what was derived from
the old values, and awaits nothing, so no reader ever meets a half-made change.

Two things are derived and kept: the principal of a key, and what a reference resolves to.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.access import is_owner_like
from algorium_server.domain.algorithms import Algorithm, Build, Resolved, Version
from algorium_server.domain.identity import Account, ApiKey, Principal, Role
from algorium_server.domain.versions import SpecKind, VersionSpec, resolve
from algorium_server.services.known_builds import KnownBuilds
from algorium_server.services.known_keys import KnownKeys
from algorium_server.services.known_links import KnownLinks
from algorium_server.services.known_sessions import KnownSessions
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store import changes as change_rows
from algorium_server.store import sessions as session_rows
from algorium_server.store import users as user_rows
from algorium_server.store.database import Database

_READ_ATTEMPTS: Final = 3
"""If this process keeps writing while it reads, the next changes put right what came too early."""
_RESOLVED_MAX: Final = 10_000
"""Resolved references kept. Callers choose how they write a version, so the number is bounded."""


def key_digest(secret: str) -> str:
    """Return the hexadecimal SHA-256 by which a key is kept and found."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Directory:
    """
    Accounts, keys, algorithms, builds and versions in memory.

    Args:
        database: Where they are read from.
        clock: Says what time it is, for keys that end.

    Attributes:
        generation: Grows with every change of accounts, keys or roles; whoever keeps principals
            compares it.
        revision: Grows with every change; whoever keeps anything compares it.
        sessions: Those of people who signed in; they count changes of their own.
        links: What users are called elsewhere; likewise.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self.generation = 0
        self.revision = 0
        self.sessions = KnownSessions(clock)
        self.links = KnownLinks()
        self._accounts: dict[str, Account] = {}
        self._accounts_by_name: dict[str, Account] = {}
        self._keys = KnownKeys(clock)
        self._roles: dict[str, dict[str, Role]] = {}
        self._algorithms: dict[str, Algorithm] = {}
        self._algorithms_by_name: dict[tuple[str, str], Algorithm] = {}
        self._builds = KnownBuilds()
        self._versions: dict[str, tuple[Version, ...]] = {}
        self._principals: dict[str, Principal] = {}
        self._resolved: dict[tuple[str, str, bool], Resolved] = {}

    async def load(self) -> int:
        """
        Read everything anew from the store.

        Returns:
            The number of the newest change that is surely in what was read.
        """
        for _ in range(_READ_ATTEMPTS):
            revision = self.revisions
            async with self._database.reading() as connection:
                newest = await change_rows.newest(connection)
                accounts = await account_rows.accounts(connection)
                keys = await account_rows.keys(connection)
                memberships = await account_rows.memberships(connection)
                algorithms = await algorithm_rows.algorithms(connection)
                builds = await algorithm_rows.builds(connection)
                versions = await algorithm_rows.versions(connection)
                sessions = await session_rows.sessions(connection)
                links = await user_rows.external_ids(connection)
            # Otherwise this process wrote something newer meanwhile.
            if self.revisions == revision:
                break
        self._accounts = {account.account_id: account for account in accounts}
        self._accounts_by_name = {account.username.lower(): account for account in accounts}
        self._keys.load(keys)
        self.sessions.load(sessions)
        self.links.load(links)
        self._roles = {}
        for organization_id, user_id, role in memberships:
            self._roles.setdefault(user_id, {})[organization_id] = role
        self._algorithms = {algorithm.algorithm_id: algorithm for algorithm in algorithms}
        self._builds.load(builds)
        self._versions = _grouped(versions)
        self._index_algorithms()
        self._forget(principals=True)
        return newest

    @property
    def revisions(self) -> tuple[int, int, int]:
        """All counts of changes: they stay the same as long as nothing at all was put in."""
        return self.revision, self.sessions.revision, self.links.revision

    # Reading

    def principal_of_key(self, secret: str) -> Principal | None:
        """Return who shows *secret*, None if nobody does."""
        digest = key_digest(secret)
        principal = self._principals.get(digest)
        return principal if principal is not None else self._make_principal(digest)

    def account(self, account_id: str) -> Account | None:
        """Return an account by its id."""
        return self._accounts.get(account_id)

    def account_named(self, name: str) -> Account | None:
        """Return a user or organization by its name, in any case."""
        return self._accounts_by_name.get(name.lower())

    def accounts(self) -> tuple[Account, ...]:
        """Return all accounts, in no particular order."""
        return tuple(self._accounts.values())

    def roles_of(self, account_id: str) -> dict[str, Role]:
        """Return the account's role in each organization, by organization id."""
        return dict(self._roles.get(account_id, {}))

    def principal_of(self, account: Account) -> Principal:
        """Return *account* as a principal without a key: all its rights, unrestricted."""
        return Principal(account=account, roles=self.roles_of(account.account_id))

    def principal_of_cookie(self, cookie: str) -> Principal | None:
        """Return whose session a cookie is, None if nobody's."""
        session = self.sessions.of_cookie(cookie)
        account = self._accounts.get(session.account_id) if session is not None else None
        if session is None or account is None or account.is_disabled:
            return None
        return replace(self.principal_of(account), session_id=session.session_id)

    def principal_of_call(self, account_id: str, key_id: str) -> Principal | None:
        """Return who made an earlier call, by key if there was one; None if either is gone."""
        if not key_id:
            account = self._accounts.get(account_id)
            return None if account is None or account.is_disabled else self.principal_of(account)
        digest = self._keys.digest_of(key_id)
        return self._principals.get(digest) or self._make_principal(digest)

    def has_key(self, account_id: str) -> bool:
        """Whether an account has a key of its own."""
        return self._keys.has_one_of(account_id)

    def algorithm(self, ref: AlgorithmRef) -> Algorithm | None:
        """Return the algorithm that *ref* names, whatever its version; names in any case."""
        if ref.algorithm_id:
            return self._algorithms.get(ref.algorithm_id)
        return self._algorithms_by_name.get((ref.owner.lower(), ref.name.lower()))

    def algorithm_by_id(self, algorithm_id: str) -> Algorithm | None:
        """Return an algorithm by its id."""
        return self._algorithms.get(algorithm_id)

    def algorithms_of(self, owner_id: str) -> list[Algorithm]:
        """Return the algorithms of an account, in no particular order."""
        return [each for each in self._algorithms.values() if each.owner_id == owner_id]

    def owner_name(self, algorithm: Algorithm) -> str:
        """Return the username of the algorithm's owner."""
        return self._accounts[algorithm.owner_id].username

    def versions_of(self, algorithm_id: str) -> tuple[Version, ...]:
        """Return the published versions of an algorithm, in no particular order."""
        return self._versions.get(algorithm_id, ())

    def published(self) -> tuple[tuple[Version, ...], ...]:
        """Return the published versions of each algorithm that has any."""
        return tuple(self._versions.values())

    def build(self, build_id: str) -> Build | None:
        """Return a build without log, lock and signature; those are in the store only."""
        return self._builds.get(build_id)

    def builds_of(self, algorithm_id: str) -> tuple[Build, ...]:
        """Return the builds of an algorithm, in no particular order; see `build`."""
        return self._builds.of(algorithm_id)

    def newest_build_of_commit(self, algorithm_id: str, sha: str) -> Build | None:
        """Return the newest *successful* build of a commit, without its log and its lock."""
        return self._builds.newest_of_commit(algorithm_id, sha)

    def resolve(
        self, ref: AlgorithmRef, principal: Principal, *, is_sudo: bool = False
    ) -> Resolved | None:
        """
        Find what *ref* means for *principal*; None looks the same for "hidden" and "absent".

        Whether the principal may call it is not decided here, nor whether it may use sudo.

        Args:
            ref: Which algorithm and version.
            principal: Who asks.
            is_sudo: See what the owner sees.

        Source: wire specification, "Version resolution".
        """
        algorithm = self.algorithm(ref)
        if algorithm is None:
            return None
        sees_all = is_sudo or is_owner_like(principal, algorithm.owner_id)
        cache_key = (algorithm.algorithm_id, ref.version, sees_all)
        found = self._resolved.get(cache_key)
        if found is None:
            found = self._resolve_anew(algorithm, ref.version, is_owner_like=sees_all)
            if found is not None:  # what is not there is not kept: strangers choose those texts
                if len(self._resolved) >= _RESOLVED_MAX:
                    self._resolved.clear()
                self._resolved[cache_key] = found
        return found

    def resolved_build(self, build_id: str, *, version_id: str) -> Resolved | None:
        """Find again what was resolved before, such as the target of a stored call."""
        build = self._builds.get(build_id)
        algorithm = self._algorithms.get(build.algorithm_id) if build is not None else None
        owner = self._accounts.get(algorithm.owner_id) if algorithm is not None else None
        if build is None or algorithm is None or owner is None:
            return None
        versions = self.versions_of(algorithm.algorithm_id)
        version = next((v for v in versions if v.version_id == version_id), None)
        return Resolved(algorithm=algorithm, owner=owner, version=version, build=build)

    # Writing: after the rows are committed. What is known already changes nothing.

    def put_account(self, account: Account) -> None:
        """Take in a new or changed account."""
        known = self._accounts.get(account.account_id)
        if account == known:
            return
        self._accounts[account.account_id] = account
        if known is not None:
            self._accounts_by_name.pop(known.username.lower(), None)
        self._accounts_by_name[account.username.lower()] = account
        if known is None or known.username != account.username:
            self._index_algorithms()
        self._forget(principals=True)

    def remove_account(self, account_id: str) -> None:
        """Forget an account with its keys and memberships: nobody can act as it any more."""
        account = self._accounts.pop(account_id, None)
        if account is None:
            return
        self._accounts_by_name.pop(account.username.lower(), None)
        self._keys.remove_of(account_id)
        self.sessions.remove_of(account_id)
        self._roles.pop(account_id, None)
        for user_id, roles in self._roles.items():
            if account_id in roles:
                self._roles[user_id] = {o: r for o, r in roles.items() if o != account_id}
        self._index_algorithms()
        self._forget(principals=True)

    def put_key(self, key: ApiKey, *, digest: str) -> None:
        """Take in a new or changed key."""
        if self._keys.put(key, digest=digest):
            self._forget(principals=True)

    def change_key(self, key: ApiKey) -> None:
        """Take in what has changed of a key that is known."""
        digest = self._keys.digest_of(key.key_id)
        if digest:
            self.put_key(key, digest=digest)

    def remove_key(self, key_id: str) -> None:
        """Forget a key; whoever shows it is nobody from now on."""
        if self._keys.remove(key_id):
            self._forget(principals=True)

    def end_keys(self) -> None:
        """Forget the keys that have expired; to be called often, for it costs a comparison."""
        if self._keys.end():
            self._forget(principals=True)

    def put_membership(self, *, organization_id: str, user_id: str, role: Role | None) -> None:
        """Take in a user's role in an organization; None ends the membership."""
        mine = {o: r for o, r in self.roles_of(user_id).items() if o != organization_id}
        if role is not None:
            mine[organization_id] = role
        if mine == self.roles_of(user_id):
            return
        self._roles[user_id] = mine
        self._forget(principals=True)

    def put_algorithm(self, algorithm: Algorithm) -> None:
        """Take in a new or changed algorithm."""
        known = self._algorithms.get(algorithm.algorithm_id)
        if algorithm == known:
            return
        self._algorithms[algorithm.algorithm_id] = algorithm
        if known is None or (known.owner_id, known.name) == (algorithm.owner_id, algorithm.name):
            self._index_algorithm(algorithm)
        else:
            self._index_algorithms()
        self._forget()

    def remove_algorithm(self, algorithm_id: str) -> None:
        """Forget an algorithm with all its builds and versions: nobody can call it any more."""
        algorithm = self._algorithms.pop(algorithm_id, None)
        if algorithm is None:
            return
        self._builds.remove_of(algorithm_id)
        self._versions.pop(algorithm_id, None)
        self._index_algorithms()
        self._forget()

    def put_build(self, build: Build) -> None:
        """Take in a new or finished build."""
        if self._builds.put(build):
            self._forget()

    def put_version(self, version: Version) -> None:
        """Take in a newly published version."""
        mine = self.versions_of(version.algorithm_id)
        if version in mine:
            return
        others = [v for v in mine if v.version_id != version.version_id]
        self._versions[version.algorithm_id] = (*others, version)
        self._forget()

    def _make_principal(self, digest: str) -> Principal | None:
        key = self._keys.valid(digest)
        account = self._accounts.get(key.account_id) if key is not None else None
        if key is None or account is None or account.is_disabled:
            return None
        principal = Principal(account=account, key=key, roles=self.roles_of(account.account_id))
        self._principals[digest] = principal
        return principal

    def _resolve_anew(
        self, algorithm: Algorithm, version_text: str, *, is_owner_like: bool
    ) -> Resolved | None:
        spec = VersionSpec.parse(version_text)
        owner = self._accounts.get(algorithm.owner_id)
        if spec is None or owner is None:
            return None
        version = None
        if spec.kind is SpecKind.COMMIT:
            build = (
                self.newest_build_of_commit(algorithm.algorithm_id, spec.text)
                if is_owner_like
                else None
            )
        else:
            published = self.versions_of(algorithm.algorithm_id)
            version = resolve(spec, published, is_owner_like=is_owner_like)
            build = self._builds.get(version.build_id) if version is not None else None
        if build is None:
            return None
        return Resolved(algorithm=algorithm, owner=owner, version=version, build=build)

    def _index_algorithms(self) -> None:
        self._algorithms_by_name = {}
        for algorithm in self._algorithms.values():
            self._index_algorithm(algorithm)

    def _index_algorithm(self, algorithm: Algorithm) -> None:
        owner = self._accounts.get(algorithm.owner_id)
        if owner is not None:
            by_name = (owner.username.lower(), algorithm.name.lower())
            self._algorithms_by_name[by_name] = algorithm

    def _forget(self, *, principals: bool = False) -> None:
        self._resolved.clear()
        self.revision += 1
        if principals:
            self._principals.clear()
            self.generation += 1


def _grouped(versions: Iterable[Version]) -> dict[str, tuple[Version, ...]]:
    groups: dict[str, list[Version]] = {}
    for version in versions:
        groups.setdefault(version.algorithm_id, []).append(version)
    return {algorithm_id: tuple(group) for algorithm_id, group in groups.items()}
