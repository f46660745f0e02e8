"""
Types of organizations: which there are, and which of them is meant.

Source: wire specification, "Organization types".
"""

import uuid

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    InvalidInput,
    OrganizationTypeExists,
    OrganizationTypeNotFound,
    StillInUse,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import ORGANIZATION_TYPES_MAX
from algorium_server.domain.names import check_account_name
from algorium_server.domain.organizations import BASIC_TYPE_ID, BUILT_IN_TYPES, OrganizationType
from algorium_server.services.auditing import record
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import organizations as rows
from algorium_server.store.database import AsyncConnection, Database


class OrganizationTypes:
    """
    Use cases around types; those that change one raise `NotAuthorized` for most callers.

    Args:
        database: Where they are.
        administrators: Says who may do what.
    """

    def __init__(self, database: Database, administrators: Administrators) -> None:
        self._database = database
        self._administrators = administrators

    async def all(self) -> list[OrganizationType]:
        """Return all types, those that clients know by name first."""
        async with self._database.reading() as connection:
            found = await rows.types(connection)
        return sorted(found, key=lambda kind: kind.type_id not in BUILT_IN_TYPES)

    async def create(self, principal: Principal, name: str) -> OrganizationType:
        """
        Create a type.

        Raises:
            InvalidInput: None can be called so, or there are too many.
            OrganizationTypeExists: There is one of that name.
        """
        self._administrators.check(principal, Action.DECIDE)
        kind = OrganizationType(type_id=str(uuid.uuid4()), name=check_account_name(name))
        async with self._database.transaction() as connection:
            if len(await rows.types(connection)) >= ORGANIZATION_TYPES_MAX:
                raise InvalidInput(f"there are {ORGANIZATION_TYPES_MAX} types already")
            if not await rows.add_type(connection, kind):
                raise OrganizationTypeExists(f"there is a type called {name} already")
            await record(
                connection,
                principal,
                AuditAction.ORGANIZATION_TYPE_CREATED,
                f"organization_type:{kind.name}",
            )
        return kind

    async def delete(self, principal: Principal, name: str) -> None:
        """
        Delete a type.

        Raises:
            OrganizationTypeNotFound: There is none of that name.
            StillInUse: There are organizations of that type, or clients rely on it.
        """
        self._administrators.check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            type_id = await type_id_of(connection, name)
            if type_id in BUILT_IN_TYPES:
                raise StillInUse(f"clients look for the type {name[:100]!r}; it stays")
            if await rows.is_type_used(connection, type_id):
                raise StillInUse(f"there are organizations of the type {name[:100]!r}")
            await rows.delete_type(connection, type_id)
            await record(
                connection,
                principal,
                AuditAction.ORGANIZATION_TYPE_DELETED,
                f"organization_type:{name}",
            )


async def type_id_of(connection: AsyncConnection, wanted: str | None) -> str:
    """Return the id of a type by its name or id; the usual one if nothing is said."""
    if wanted is None:
        return BASIC_TYPE_ID
    for kind in await rows.types(connection):
        if wanted.lower() in {kind.type_id, kind.name.lower()}:
            return kind.type_id
    raise OrganizationTypeNotFound(f"there is no type of organization {wanted[:100]!r}")
