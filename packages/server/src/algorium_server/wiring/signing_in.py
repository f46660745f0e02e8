"""
Who asks, and how people sign in, built and wired together, and its HTTP.

Part of what `app` builds for a gateway. In two steps, since everything that is asked for needs to
know who asks: `SigningIn` comes before the faces, `begin` with what they have brought.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter

from algorium_server.api.credentials import Credentials
from algorium_server.api.sessions import session_routes
from algorium_server.domain.federation import ProviderSettings
from algorium_server.sealing import Seal
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.federation import Federation
from algorium_server.services.people.identity_provider import IdentityProvider
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.people.provider_sign_in import ProviderSignIn
from algorium_server.services.people.session_upkeep import SessionUpkeep
from algorium_server.services.people.sessions import Sessions
from algorium_server.services.people.tokens import Tokens
from algorium_server.store.database import Database


@asynccontextmanager
async def open_signing_in(
    database: Database,
    directory: Directory,
    seal: Seal,
    settings: ProviderSettings | None,
    *,
    api: str,
    catch_up: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator["SigningIn"]:
    """Yield what `SigningIn` describes, and close it in the end."""
    signing_in = SigningIn(database, directory, seal, settings, api=api, catch_up=catch_up)
    try:
        yield signing_in
    finally:
        await signing_in.close()


class SigningIn:
    """
    What a gateway has for those who show who they are.

    Args:
        database: Open until afterwards.
        directory: Who there is.
        seal: Seals what browsers keep on their way to an identity provider and back.
        settings: Of that provider; None if there is none.
        api: Base address.
        catch_up: Brings in what other gateways have written; None if nobody else writes.

    Attributes:
        credentials: Tells who asks.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        seal: Seal,
        settings: ProviderSettings | None,
        *,
        api: str,
        catch_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._directory = directory
        self._api = api
        self._upkeep: SessionUpkeep | None = None
        self._provider = IdentityProvider(settings) if settings is not None else None
        self._sign_in: ProviderSignIn | None = None
        tokens = None
        if settings is not None and self._provider is not None:
            federation = Federation(database, directory, settings.rules)
            tokens = Tokens(self._provider, federation, directory) if settings.audience else None
            if settings.client_id:
                self._sign_in = ProviderSignIn(self._provider, federation, seal, api=api)
        self.credentials = Credentials(directory, tokens=tokens, public_url=api, catch_up=catch_up)

    def begin(self, passwords: Passwords) -> Sequence[APIRouter]:
        """Begin to look after sessions; return the routes."""
        sessions = Sessions(
            self._database, self._directory, passwords, Administrators(self._directory)
        )
        self._upkeep = SessionUpkeep(self._database, self._directory, sessions.denied)
        self._upkeep.start()
        return (session_routes(sessions, self.credentials, self._sign_in, api=self._api),)

    async def close(self) -> None:
        """Note the last uses of sessions, and close the connections to the provider."""
        if self._upkeep is not None:
            await self._upkeep.close()
        if self._provider is not None:
            await self._provider.close()
