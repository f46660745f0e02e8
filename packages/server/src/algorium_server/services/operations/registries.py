"""
Container registries, kept for those who ask; nothing is pushed to them.

Source: wire specification, "Container registries (image push)".
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.administration import Action
from algorium_server.domain.algorithms import Algorithm, Version
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import InvalidInput, VersionNotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import REGISTRIES_MAX
from algorium_server.domain.registries import Registry, WantedRegistry, check_registry
from algorium_server.sealing import Seal
from algorium_server.services.auditing import record
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import registries as rows
from algorium_server.store.database import Database


class _Login(msgspec.Struct):
    username: str = ""
    password: str = ""


class Registries:
    """
    Use cases of registries; those that write raise `NotAuthorized`.

    Args:
        database: Where they are.
        directory: Which algorithms there are.
        administrators: Says who may do what.
        seal: Seals names and passwords.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        administrators: Administrators,
        seal: Seal,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators
        self._authors = Authors(directory)
        self._seal = seal
        self._clock = clock

    async def registries(self) -> list[Registry]:
        """Return all registries, oldest first; whoever asks."""
        async with self._database.reading() as connection:
            return await rows.registries(connection)

    async def create(self, principal: Principal, wanted: WantedRegistry) -> Registry:
        """Add a registry; `InvalidInput` if a value is wrong, or there are too many."""
        self._administrators.check(principal, Action.DECIDE)
        check_registry(wanted)
        registry_id = str(uuid4())
        made = Registry(
            registry_id=registry_id,
            name=wanted.name,
            registry_url=wanted.registry_url,
            sealed=self._sealed(registry_id, wanted, _Login()),
            created_at=self._clock(),
        )
        async with self._database.transaction() as connection:
            if await rows.count(connection) >= REGISTRIES_MAX:
                raise InvalidInput(f"there are {REGISTRIES_MAX} registries: delete some first")
            await rows.add(connection, made)
            await record(
                connection, principal, AuditAction.REGISTRY_CREATED, f"registry:{registry_id}"
            )
        return made

    async def change(
        self, principal: Principal, registry_id: str, wanted: WantedRegistry
    ) -> Registry:
        """Replace what is said of a registry; `InvalidInput` if there is none."""
        self._administrators.check(principal, Action.DECIDE)
        check_registry(wanted)
        async with self._database.transaction() as connection:
            old = await rows.registry(connection, registry_id.lower())
            if old is None:
                raise _missing(registry_id)
            changed = replace(
                old,
                name=wanted.name,
                registry_url=wanted.registry_url,
                sealed=self._sealed(old.registry_id, wanted, self._login(old)),
            )
            await rows.change(connection, changed)
            await record(
                connection, principal, AuditAction.REGISTRY_CHANGED, f"registry:{old.registry_id}"
            )
        return changed

    async def remove(self, principal: Principal, registry_id: str) -> None:
        """Delete a registry; `InvalidInput` if there is none."""
        self._administrators.check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            if not await rows.remove(connection, registry_id.lower()):
                raise _missing(registry_id)
            await record(
                connection,
                principal,
                AuditAction.REGISTRY_DELETED,
                f"registry:{registry_id.lower()}",
            )

    def version(
        self, principal: Principal, ref: AlgorithmRef, commit: str, act: Act
    ) -> tuple[Algorithm, Version]:
        """
        Return the version of an algorithm that was made of a commit.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: The caller may not do this with it.
            VersionNotFound: No version is of this commit.
        """
        algorithm = self._authors.algorithm(principal, ref, act)
        for version in self._directory.versions_of(algorithm.algorithm_id):
            if version.commit_sha == commit.lower():
                return algorithm, version
        raise VersionNotFound(f"no version of {algorithm.name} is of the commit {commit[:64]!r}")

    def _login(self, registry: Registry) -> _Login:
        if not registry.sealed:
            return _Login()
        opened = self._seal.unseal(registry.sealed, owner=registry.registry_id, name="registry")
        return msgspec.json.decode(opened, type=_Login)

    def _sealed(self, registry_id: str, wanted: WantedRegistry, known: _Login) -> bytes:
        login = _Login(
            username=known.username if wanted.username is None else wanted.username,
            password=known.password if wanted.password is None else wanted.password,
        )
        if not login.username and not login.password:
            return b""
        return self._seal.seal(msgspec.json.encode(login), owner=registry_id, name="registry")


def _missing(registry_id: str) -> InvalidInput:
    return InvalidInput(f"there is no registry {registry_id[:80]!r}")
