"""
Algorithms: created, changed, deleted.

A repository comes before its row, and goes after it: whatever happens in between, nobody sees an
algorithm without source, and what is left over is removed at the next start.

Source: wire specification, "Create, read, update, delete".
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from algorium.wire.refs import AlgorithmRef
from algorium_server.build.builder import Builder
from algorium_server.build.source.abandoned import sweep_repositories
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain import authorship
from algorium_server.domain.access import Refused
from algorium_server.domain.algorithms import Algorithm, AlgorithmSettings, NetworkAccess
from algorium_server.domain.audit import AuditAction, changed_names, changed_values
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import (
    AlgorithmNameTaken,
    AlgorithmNotFound,
    AlgoriumError,
    AlreadyExists,
    NoSuchAlgorithm,
    NotAuthorized,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.names import check_algorithm_name
from algorium_server.domain.notifications import NotificationType
from algorium_server.domain.offers import Choice, check_machine
from algorium_server.domain.wishes import (
    WantedDetails,
    WantedLanguage,
    WantedSettings,
    changed_settings,
    changed_texts,
    check_same_language,
)
from algorium_server.services.auditing import record_on
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.environments import EnvironmentCatalog
from algorium_server.services.authoring.hosts import SourceHosts, WantedSource
from algorium_server.services.authoring.notifying import notify
from algorium_server.services.directory import Directory
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlgorithm:
    """What its creator says of a new algorithm."""

    name: str
    details: WantedDetails
    settings: WantedSettings
    language: WantedLanguage
    source: WantedSource


class Algorithms:
    """
    Use cases of those who make algorithms.

    Args:
        database: Where rows are.
        directory: Told of everything new.
        authors: Says who may do what.
        environments: Says what algorithms can be written in.
        repositories: Where source is.
        hosts: Where new source is hosted.
        builder: Has the trees of builds.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        authors: Authors,
        environments: EnvironmentCatalog,
        repositories: Repositories,
        hosts: SourceHosts,
        builder: Builder,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._authors = authors
        self._environments = environments
        self._repositories = repositories
        self._hosts = hosts
        self._builder = builder
        self._clock = clock

    async def create(self, principal: Principal, owner_name: str, new: NewAlgorithm) -> Algorithm:
        """
        Create an algorithm, whose source begins with the template of its language.

        Args:
            principal: Who asks.
            owner_name: The caller, or an organization.
            new: What it is to be.

        Raises:
            NotAuthorized: The caller may not create any for that owner.
            InvalidInput: It cannot be called so, or a value is wrong.
            AlgorithmNameTaken: The owner has one of that name, in whatever case.
            InvalidRequest: No language is said.
            UnknownLanguage: There is no such language or environment, or this host lacks it.
            PackageSetNotFound: There is no such set of packages.
            UnsupportedMachine: There is no machine of that type.
            RepositoryNotCreated: The host of the source refused.
        """
        owner = self._authors.owner_of_new(principal, owner_name)
        name = check_algorithm_name(new.name)
        taken = AlgorithmNameTaken(f"{owner.username} has an algorithm called {name} already")
        if self._directory.algorithm(AlgorithmRef(owner=owner.username, name=name)) is not None:
            raise taken
        choice = await self._environments.choose(
            environment_id=new.language.environment_id,
            package_set=new.language.package_set,
            language=new.language.language,
            machine_type=new.language.machine_type,
        )
        # The old service's default; ours, for what servers publish themselves, is to isolate.
        defaults = AlgorithmSettings(network_access=NetworkAccess.FULL)
        now = self._clock()
        algorithm = Algorithm(
            algorithm_id=str(uuid.uuid4()),
            owner_id=owner.account_id,
            name=name,
            label=name,
            settings=changed_settings(defaults, new.settings, choice),
            created_at=now,
        )
        algorithm = changed_texts(algorithm, new.details)
        scm_id = await self._hosts.choose(principal, new.source)
        algorithm = replace(algorithm, scm_id=scm_id)
        account = principal.account
        await self._hosts.begin(
            principal,
            algorithm,
            new.source,
            files=self._environments.first_files(choice.language, user=owner.username, name=name),
            author=Signature(
                name=account.fullname or account.username, email=account.email, at=now
            ),
        )
        try:
            async with self._database.transaction() as connection:
                await rows.add_algorithm(connection, algorithm)
                await notify(
                    connection,
                    NotificationType.CREATION,
                    algorithm,
                    owner=owner.username,
                    now=now,
                )
                await record_on(
                    connection,
                    principal,
                    AuditAction.ALGORITHM_CREATED,
                    algorithm,
                    self._directory,
                )
        except AlreadyExists as error:
            await self._let_go(algorithm)
            raise taken from error
        self._directory.put_algorithm(algorithm)
        return algorithm

    async def update(
        self,
        principal: Principal,
        ref: AlgorithmRef,
        *,
        details: WantedDetails,
        settings: WantedSettings,
        language: WantedLanguage,
    ) -> Algorithm:
        """
        Change texts and settings; what is not said stays.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: The caller may not change it.
            InvalidInput: A value is wrong.
            LanguageFixed: The language would be another one.
            UnknownLanguage: There is no such environment.
            PackageSetNotFound: There is no such set of packages.
            UnsupportedMachine: There is no machine of that type.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.CHANGE)
        choice = await self._chosen_anew(algorithm.settings, language)
        return await self.change(
            algorithm,
            lambda now: replace(
                changed_texts(now, details),
                settings=changed_settings(now.settings, settings, choice),
            ),
            by=principal,
        )

    async def change(
        self, algorithm: Algorithm, change: Callable[[Algorithm], Algorithm], *, by: Principal
    ) -> Algorithm:
        """See `change_algorithm`."""
        return await change_algorithm(self._database, self._directory, algorithm, change, by=by)

    async def delete(
        self, principal: Principal, ref: AlgorithmRef, *, by: Principal | None = None
    ) -> None:
        """
        Delete an algorithm with its builds, versions and source; its name is free at once.

        Source that is hosted elsewhere stays there.

        Args:
            principal: Who deletes.
            ref: Which algorithm.
            by: Who has *principal* delete it, if somebody does; for the audit log.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: The caller may not delete it, or it has been published for all.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.DELETE)
        algorithm_id = algorithm.algorithm_id
        try:
            async with self._database.transaction() as connection:
                await rows.hold_algorithm(connection, algorithm_id)
                versions = await rows.versions(connection, algorithm_id=algorithm_id)
                is_public = any(version.is_public for version in versions)
                verdict = authorship.may(principal, Act.DELETE, algorithm, is_public=is_public)
                if isinstance(verdict, Refused):  # somebody has just published it
                    raise NotAuthorized(detail=verdict.reason)
                builds = await rows.builds(connection, algorithm_id=algorithm_id)
                await rows.delete_algorithm(connection, algorithm_id)
                await record_on(
                    connection,
                    by or principal,
                    AuditAction.ALGORITHM_DELETED,
                    algorithm,
                    self._directory,
                    detail={"versions": str(len(versions))},
                    behalf=principal.account if by is not None else None,
                )
        except AlgorithmNotFound as error:
            raise NoSuchAlgorithm from error
        self._directory.remove_algorithm(algorithm_id)
        await asyncio.shield(self._clear(algorithm, [build.build_id for build in builds]))

    async def scm_status(self, principal: Principal, ref: AlgorithmRef) -> Mapping[str, Any]:
        """
        Return how the connection to the host of the source is.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: It is private.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.SEE)
        is_manager = self._authors.may(principal, Act.CHANGE, algorithm)
        return await self._hosts.status(algorithm, is_manager=is_manager)

    async def recover(self, *, before: datetime) -> None:
        """
        Remove repositories without an algorithm: what a crash has left of creating or deleting.

        Args:
            before: Only those from before this time; younger ones may be about to get their row.
        """

        async def known() -> set[str]:
            async with self._database.reading() as connection:
                return {each.algorithm_id for each in await rows.algorithms(connection)}

        await sweep_repositories(self._repositories.directory, known, before=before)

    async def _chosen_anew(
        self, settings: AlgorithmSettings, wanted: WantedLanguage
    ) -> Choice | None:
        check_machine(wanted.machine_type)
        if not wanted.says_something:
            return None
        choice = await self._environments.choose(
            environment_id=wanted.environment_id,
            package_set=wanted.package_set,
            language=wanted.language,
            machine_type=wanted.machine_type,
            kept=settings.environment_id,
        )
        check_same_language(settings, choice)
        if not wanted.environment_id and not wanted.package_set:
            return None  # the language is said, which stays; so does the version of it
        return replace(choice, language=settings.language)

    async def _clear(self, algorithm: Algorithm, build_ids: list[str]) -> None:
        await self._let_go(algorithm)
        await self._builder.remove(build_ids)

    async def _let_go(self, algorithm: Algorithm) -> None:
        try:
            await self._hosts.end(algorithm)
        except AlgoriumError as error:
            # The algorithm is gone; what its host still has of it is a matter of tidiness.
            _log.warning(
                "the host of a deleted algorithm was not told",
                algorithm=algorithm.algorithm_id,
                reason=error.message,
            )


async def change_algorithm(
    database: Database,
    directory: Directory,
    algorithm: Algorithm,
    change: Callable[[Algorithm], Algorithm],
    *,
    by: Principal | None = None,
) -> Algorithm:
    """
    Store an algorithm as *change* makes it of what is stored now, and return that.

    Args:
        database: Where it is.
        directory: Told of it.
        algorithm: Which one.
        change: Makes the new one of the present one.
        by: Who wants it; without one it is no decision of anybody, such as a text that was read
            in its source, and stays out of the audit log.

    Raises:
        NoSuchAlgorithm: It is gone meanwhile.
    """
    try:
        async with database.transaction() as connection:
            await rows.hold_algorithm(connection, algorithm.algorithm_id)
            (now,) = await rows.algorithms(connection, ids=[algorithm.algorithm_id])
            changed = change(now)
            if changed != now:
                await rows.update_algorithm(connection, changed)
                if by is not None:
                    texts = changed_names(replace(now, settings=changed.settings), changed)
                    detail = changed_values(now.settings, changed.settings)
                    if texts:
                        detail["texts"] = texts
                    await record_on(
                        connection,
                        by,
                        AuditAction.ALGORITHM_CHANGED,
                        changed,
                        directory,
                        detail=detail,
                    )
    except AlgorithmNotFound as error:
        raise NoSuchAlgorithm from error
    directory.put_algorithm(changed)
    return changed
