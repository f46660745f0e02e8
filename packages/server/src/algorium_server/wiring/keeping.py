"""
Secrets of algorithms, built and wired together: where values are, how slots get them, their HTTP.

Part of what `app` builds for a gateway. In two steps, since slots get secrets and secrets have
slots replaced: `Keeping` comes before the engine, `begin` after it.
"""

from collections.abc import Sequence

from fastapi import APIRouter

from algorium_server.api.secrets import secret_provider_routes, secret_routes
from algorium_server.domain.changes import ChangeKind
from algorium_server.engine.local import LocalEngine
from algorium_server.sealing import Seal
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.services.files.reaching import Reach
from algorium_server.services.following import Following
from algorium_server.services.people.secret_delivery import SecretDelivery, SlotRenewals
from algorium_server.services.people.secret_providers import SecretProviders
from algorium_server.services.people.secret_stores import SecretStores
from algorium_server.services.people.secrets import Secrets
from algorium_server.store.database import Database


class Keeping:
    """
    What a gateway has for secrets.

    Args:
        database: Open until afterwards.
        seal: Seals values.
        reach: Says where providers may be.

    Attributes:
        secrets_of: Opens the secrets of an algorithm, for the engine.
    """

    def __init__(self, database: Database, seal: Seal, reach: Reach) -> None:
        self._database = database
        self._stores = SecretStores(seal, reach)
        self._delivery = SecretDelivery(database, self._stores)
        self.secrets_of = self._delivery.variables

    async def begin(
        self, engine: LocalEngine, directory: Directory, following: Following
    ) -> Sequence[APIRouter]:
        """
        Begin to have slots replaced; before the first one starts.

        Args:
            engine: Has the slots.
            directory: Which algorithms there are.
            following: Tells what other gateways write.

        Returns:
            The routes.
        """
        renewals = SlotRenewals(self._database, Authors(directory), self._delivery, engine)
        await renewals.load()
        following.listen(ChangeKind.SLOTS, renewals.follow)
        return (
            secret_routes(Secrets(self._database, self._stores, renewals), renewals),
            secret_provider_routes(SecretProviders(self._database, self._stores, renewals)),
        )

    async def close(self) -> None:
        """Close the connections to providers."""
        await self._stores.close()
