"""
The languages and environments that authors can choose, and their templates.

Which there are, the host decides; which of them are offered, its administrators. An environment
that is switched off is no longer chosen; algorithms that have chosen it go on.

Source: wire specification, "Languages and environments".
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from algorium_server.build import languages, templating
from algorium_server.domain.access import is_cluster_admin, is_cluster_viewer
from algorium_server.domain.algorithms import MachineType
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    InvalidInput,
    NotAuthorized,
    NotFound,
    UnknownLanguage,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.languages import Language, language_of
from algorium_server.domain.offers import (
    LANGUAGES,
    Choice,
    Environment,
    OfferedLanguage,
    choose,
    environments,
    language_named,
)
from algorium_server.services.auditing import record
from algorium_server.store import environments as rows
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedEnvironment:
    """
    An environment, and whether it can be chosen.

    Attributes:
        why_not: What this host lacks for it, and the remedy; empty if it has all.
    """

    environment: Environment
    is_enabled: bool
    why_not: str = ""


class EnvironmentCatalog:
    """
    Use cases around environments.

    Args:
        database: Where it is noted what is switched off.
        python_versions: Returns the versions of Python on this host, such as `3.11`, the default
            first; may take its time, and is called in a thread.
        why_not: Returns what keeps this host from building a language, and the remedy.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        *,
        python_versions: Callable[[], Sequence[str]],
        why_not: Callable[[Language], str] = languages.why_not,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._python_versions = python_versions
        self._why_not = why_not
        self._clock = clock

    def languages(self) -> Sequence[OfferedLanguage]:
        """Return all languages that have a name here, also those without an environment."""
        return LANGUAGES

    async def of_language(self, name: str) -> list[Environment]:
        """
        Return the environments of a language that can be chosen, the default one first.

        Raises:
            NotFound: There is no such language.
        """
        language = language_named(name)
        if language is None:
            raise NotFound(f"there is no language {name!r}")
        return [
            each.environment
            for each in await self._all()
            if each.is_enabled and each.environment.language == language
        ]

    async def available(self, principal: Principal) -> list[OfferedEnvironment]:
        """
        Return all environments, switched on or off, to administrators and viewers.

        Raises:
            NotAuthorized: Somebody else asks.
        """
        if not is_cluster_viewer(principal):
            _check_admin(principal)
        return await self._all()

    async def offered(self) -> list[Environment]:
        """Return all environments that can be chosen."""
        return [each.environment for each in await self._all() if each.is_enabled]

    async def enable(self, principal: Principal, specification_id: str) -> OfferedEnvironment:
        """
        Switch an environment on.

        Raises:
            NotAuthorized: The caller is no administrator.
            NotFound: There is no such environment.
            InvalidInput: This host cannot run it.
        """
        _check_admin(principal)
        found = await self._of_specification(specification_id)
        if found.why_not:
            raise InvalidInput(f"this host cannot offer it: {found.why_not}")
        async with self._database.transaction() as connection:
            await rows.enable(connection, found.environment.specification_id)
            await record(
                connection,
                principal,
                AuditAction.ENVIRONMENT_CHANGED,
                f"environment:{specification_id}",
                detail={"enabled": "true"},
            )
        return OfferedEnvironment(environment=found.environment, is_enabled=True)

    async def disable(self, principal: Principal, specification_id: str) -> None:
        """Switch an environment off; raises like `enable`, but for what the host lacks."""
        _check_admin(principal)
        found = await self._of_specification(specification_id)
        async with self._database.transaction() as connection:
            await rows.disable(connection, found.environment.specification_id, now=self._clock())
            await record(
                connection,
                principal,
                AuditAction.ENVIRONMENT_CHANGED,
                f"environment:{specification_id}",
                detail={"enabled": "false"},
            )

    async def template(self, specification_id: str, *, user: str = "", name: str = "") -> bytes:
        """
        Return the template of an environment as a compressed archive.

        Args:
            specification_id: Which one.
            user: Who will own the algorithm; without it and *name* the placeholders stay.
            name: What it will be called.

        Raises:
            NotFound: There is no such environment.
            InvalidInput: An algorithm cannot be called so.
        """
        environment = (await self._of_specification(specification_id)).environment
        template = templating.template_of(environment.language.name)
        return await asyncio.to_thread(templating.packed, template, user=user, name=name)

    async def choose(
        self,
        *,
        environment_id: str = "",
        package_set: str = "",
        language: str = "",
        machine_type: MachineType | None = None,
        kept: str = "",
    ) -> Choice:
        """
        Return what an author has chosen; see `domain.offers.choose`.

        Args:
            environment_id: See there.
            package_set: See there.
            language: See there.
            machine_type: See there.
            kept: Id of the environment that the algorithm has, which it may keep.

        Raises:
            UnknownLanguage: See there; or this host cannot build the language.
            PackageSetNotFound: See there.
            UnsupportedMachine: See there.
            InvalidRequest: See there.
        """
        known = {
            each.environment.environment_id: each.environment
            for each in await self._all()
            if each.is_enabled or each.environment.environment_id == kept
        }
        choice = choose(
            known,
            environment_id=environment_id,
            package_set=package_set,
            language=language,
            machine_type=machine_type,
        )
        known_language = language_of(choice.language)
        assert known_language is not None, "checked there"
        if reason := await asyncio.to_thread(self._why_not, known_language):
            raise UnknownLanguage(f"algorithms in {choice.language!r} cannot be built: {reason}")
        return choice

    def first_files(self, language: str, *, user: str, name: str) -> dict[str, bytes]:
        """
        Return what a new algorithm begins with, by path.

        Raises:
            UnknownLanguage: There is no template for the language.
        """
        if language_of(language) is Language.PIPE:
            # Whoever brings a program of their own has one; there is nothing to begin it with.
            return {languages.CONF: _conf(language, user=user, name=name)}
        try:
            template = templating.template_of(language)
        except InvalidInput as error:
            raise UnknownLanguage(error.message) from error
        return templating.render(template, user=user, name=name)

    async def _all(self) -> list[OfferedEnvironment]:
        async with self._database.reading() as connection:
            disabled = await rows.disabled(connection)
        return await asyncio.to_thread(self._look, disabled)

    def _look(self, disabled: frozenset[str]) -> list[OfferedEnvironment]:
        found = []
        for environment in environments(self._python_versions()):
            language = environment.language.language
            assert language is not None, "others have no environments"
            why_not = self._why_not(language)
            found.append(
                OfferedEnvironment(
                    environment=environment,
                    is_enabled=not why_not and environment.specification_id not in disabled,
                    why_not=why_not,
                )
            )
        return found

    async def _of_specification(self, specification_id: str) -> OfferedEnvironment:
        for each in await self._all():
            if each.environment.specification_id == specification_id.lower():
                return each
        raise NotFound(f"there is no environment specification {specification_id!r}")


def _check_admin(principal: Principal) -> None:
    if not is_cluster_admin(principal):
        raise NotAuthorized(detail="only administrators decide which environments there are")


def _conf(language: str, *, user: str, name: str) -> bytes:
    conf = {"username": user, "algoname": name, "language": language}
    return f"{json.dumps(conf, indent=2)}\n".encode()
