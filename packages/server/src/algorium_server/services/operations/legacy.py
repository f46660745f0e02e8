"""
Legacy algorithms: those whose environment this server does not offer any more.

They go on running; they cannot be built anew as they are. The old service called so what was
written before it had environments.

Source: wire specification, "Usage endpoints".
"""

from dataclasses import dataclass
from datetime import datetime

from algorium_server.domain.administration import Action
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.identity import Principal
from algorium_server.domain.languages import Language, language_of
from algorium_server.services.authoring.environments import EnvironmentCatalog
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyAlgorithm:
    """
    One of them.

    Attributes:
        compiled_at: When its newest build ended; None if none has.
    """

    algorithm: Algorithm
    owner: str
    compiled_at: datetime | None


class LegacyAlgorithms:
    """
    Finds them.

    Args:
        directory: Which algorithms there are.
        administrators: Says who may do what.
        environments: What is offered.
    """

    def __init__(
        self,
        directory: Directory,
        administrators: Administrators,
        environments: EnvironmentCatalog,
    ) -> None:
        self._directory = directory
        self._administrators = administrators
        self._environments = environments

    async def algorithms(self, principal: Principal) -> list[LegacyAlgorithm]:
        """Return them, by owner and name; `NotAuthorized` to others than administrators."""
        self._administrators.check(principal, Action.SEE_ALL)
        offered = await self._environments.offered()
        ids = {environment.environment_id for environment in offered}
        languages = {environment.language.language for environment in offered}
        found = [
            self._described(algorithm)
            for account in self._directory.accounts()
            for algorithm in self._directory.algorithms_of(account.account_id)
            if not _is_offered(algorithm, ids, languages)
        ]
        return sorted(found, key=lambda each: (each.owner.lower(), each.algorithm.name.lower()))

    def _described(self, algorithm: Algorithm) -> LegacyAlgorithm:
        builds = self._directory.builds_of(algorithm.algorithm_id)
        ends = [build.finished_at for build in builds if build.finished_at is not None]
        return LegacyAlgorithm(
            algorithm=algorithm,
            owner=self._directory.owner_name(algorithm),
            compiled_at=max(ends, default=None),
        )


def _is_offered(algorithm: Algorithm, ids: set[str], languages: set[Language | None]) -> bool:
    if algorithm.settings.environment_id:
        return algorithm.settings.environment_id in ids
    language = language_of(algorithm.settings.language)
    # Who brings a program of their own needs no environment.
    return language is Language.PIPE or (language is not None and language in languages)
