"""Languages and environments that algorithms can be built in: `client.environments`."""

from collections.abc import Sequence

from algorium import _source_flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.authoring import EnvironmentInfo, LanguageInfo


class Environments:
    """
    What algorithms can be built in. See `Algorium.environments`.

    Example:
        for environment in client.environments.list("python3"):
            print(environment.display_name, environment.environment_id)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def languages(self) -> Sequence[LanguageInfo]:
        """Return the languages that the server knows."""
        return self._transport.run(_source_flow.languages())

    def list(self, language: str) -> Sequence[EnvironmentInfo]:
        """
        Return the environments of a language that can be chosen, the default first.

        Raises:
            NotFound: There is no such language.
        """
        return self._transport.run(_source_flow.environments(language))

    def template(self, specification_id: str, *, owner: str = "", name: str = "") -> bytes:
        """
        Return the project that algorithms of an environment begin with, as a `.tar.gz`.

        Args:
            specification_id: From an environment.
            owner: Fill in this owner.
            name: Fill in this name.

        Raises:
            NotFound: There is no such environment, or no template for it.
        """
        flow = _source_flow.template(specification_id, owner=owner, name=name)
        return self._transport.run(flow)

    def available(self) -> Sequence[EnvironmentInfo]:
        """
        Return all environments, those included that cannot be chosen; for administrators.

        Raises:
            NotAuthorized: The key is no admin key.
        """
        return self._transport.run(_source_flow.all_environments())

    def enable(self, specification_id: str) -> EnvironmentInfo:
        """
        Let an environment be chosen; for administrators.

        Args:
            specification_id: From an environment.

        Raises:
            NotFound: There is none.
            NotAuthorized: The key is no admin key.
        """
        return self._transport.run(_source_flow.enable_environment(specification_id))

    def disable(self, specification_id: str) -> None:
        """
        Let an environment be chosen no longer; what has chosen it goes on. For administrators.

        Args:
            specification_id: From an environment.

        Raises:
            NotFound: There is none.
            NotAuthorized: The key is no admin key.
        """
        self._transport.run(_source_flow.disable_environment(specification_id))


class AsyncEnvironments:
    """What algorithms can be built in; see `Environments`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def languages(self) -> Sequence[LanguageInfo]:
        """Return the languages that the server knows, as `Environments.languages`."""
        return await self._transport.run(_source_flow.languages())

    async def list(self, language: str) -> Sequence[EnvironmentInfo]:
        """Return the environments of a language, as `Environments.list`."""
        return await self._transport.run(_source_flow.environments(language))

    async def template(self, specification_id: str, *, owner: str = "", name: str = "") -> bytes:
        """Return the project that algorithms begin with, as `Environments.template`."""
        flow = _source_flow.template(specification_id, owner=owner, name=name)
        return await self._transport.run(flow)

    async def available(self) -> Sequence[EnvironmentInfo]:
        """Return all environments, for administrators, as `Environments.available`."""
        return await self._transport.run(_source_flow.all_environments())

    async def enable(self, specification_id: str) -> EnvironmentInfo:
        """Let an environment be chosen, as `Environments.enable`."""
        return await self._transport.run(_source_flow.enable_environment(specification_id))

    async def disable(self, specification_id: str) -> None:
        """Let an environment be chosen no longer, as `Environments.disable`."""
        await self._transport.run(_source_flow.disable_environment(specification_id))
