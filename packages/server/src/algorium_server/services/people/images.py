"""
The favicon and the logo.

Source: wire specification, "Notifications, features, UI configuration".
"""

from collections.abc import Callable
from datetime import UTC, datetime

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.identity import Principal
from algorium_server.domain.images import ImageName, StoredImage, media_type_of
from algorium_server.services.auditing import record
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import images as rows
from algorium_server.store.database import Database


class Images:
    """
    Use cases around images; those that write raise `NotAuthorized`.

    Args:
        database: Where they are.
        administrators: Says who may do what.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        administrators: Administrators,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._administrators = administrators
        self._clock = clock

    async def image(self, name: ImageName) -> StoredImage | None:
        """Return what administrators have chosen, None if that is nothing; whoever asks."""
        async with self._database.reading() as connection:
            return await rows.image(connection, name)

    async def put(self, principal: Principal, name: ImageName, content: bytes) -> None:
        """Choose an image; see `media_type_of` for what is refused."""
        self._administrators.check(principal, Action.DECIDE)
        made = StoredImage(
            name=name,
            media_type=media_type_of(name, content),
            content=content,
            changed_at=self._clock(),
        )
        async with self._database.transaction() as connection:
            await rows.put_image(connection, made)
            await record(connection, principal, AuditAction.IMAGE_CHANGED, f"image:{name.value}")

    async def remove(self, principal: Principal, name: ImageName) -> None:
        """Go back to what there is by default."""
        self._administrators.check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            await rows.remove_image(connection, name)
            await record(
                connection,
                principal,
                AuditAction.IMAGE_CHANGED,
                f"image:{name.value}",
                detail={"image": "removed"},
            )
