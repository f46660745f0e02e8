"""Organizations beside their accounts: profiles, types, members, users of the host."""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.identity import Account, Role
from algorium_server.domain.organizations import (
    HostInformation,
    Member,
    Organization,
    OrganizationProfile,
    OrganizationType,
)
from algorium_server.store.columns import is_storable, name_key, of_row, row_of
from algorium_server.store.tables.accounts import accounts as account_table
from algorium_server.store.tables.accounts import memberships as membership_table
from algorium_server.store.tables.accounts import organization_hosts
from algorium_server.store.tables.accounts import organization_types as type_table
from algorium_server.store.tables.accounts import organizations as table
from algorium_server.store.tables.algorithms import algorithm_hosts
from algorium_server.store.tables.algorithms import algorithms as algorithm_table
from algorium_server.store.upserts import insert_unless_taken, upsert


async def with_profiles(
    connection: AsyncConnection, accounts: Sequence[Account]
) -> list[Organization]:
    """Return accounts with what else is known of them, in the same order."""
    ids = [account.account_id for account in accounts]
    result = await connection.execute(select(table).where(table.c.organization_id.in_(ids)))
    known = {row["organization_id"]: of_row(OrganizationProfile, row) for row in result.mappings()}
    return [
        Organization(
            account=account,
            profile=known.get(
                account.account_id, OrganizationProfile(organization_id=account.account_id)
            ),
        )
        for account in accounts
    ]


async def put_profile(connection: AsyncConnection, profile: OrganizationProfile) -> None:
    """Store a profile, in place of the one there was."""
    await upsert(connection, table, row_of(profile))


async def organization_of_external_id(connection: AsyncConnection, external_id: str) -> str | None:
    """Return the id of the oldest organization that the company's directory calls so."""
    if not is_storable(external_id):
        return None
    found: str | None = await connection.scalar(
        select(table.c.organization_id)
        .join(account_table, account_table.c.account_id == table.c.organization_id)
        .where(table.c.external_id == external_id)
        .order_by(account_table.c.created_at, table.c.organization_id)
        .limit(1)
    )
    return found


async def with_groups(connection: AsyncConnection) -> list[OrganizationProfile]:
    """Return the profiles of organizations whose members an identity provider decides about."""
    result = await connection.execute(
        select(table).where(
            or_(
                table.c.external_admin_group != "",
                table.c.external_member_group != "",
                table.c.external_executor_group != "",
            )
        )
    )
    return [of_row(OrganizationProfile, row) for row in result.mappings()]


# Members


async def page_of_members(
    connection: AsyncConnection, organization_id: str, *, after: str, limit: int
) -> list[Member]:
    """
    Return members of an organization by name.

    Args:
        connection: Any.
        organization_id: Which one.
        after: Only those behind the user of this name; empty for the first page.
        limit: So many at most.
    """
    result = await connection.execute(
        select(account_table, membership_table.c.role)
        .join(membership_table, membership_table.c.user_id == account_table.c.account_id)
        .where(
            membership_table.c.organization_id == organization_id,
            account_table.c.username_key > name_key(after),
        )
        .order_by(account_table.c.username_key)
        .limit(limit)
    )
    return [Member(user=of_row(Account, row), role=row["role"]) for row in result.mappings()]


async def owners_of(connection: AsyncConnection, organization_id: str) -> set[str]:
    """Return the ids of the owners of an organization."""
    members = membership_table
    result = await connection.scalars(
        select(members.c.user_id).where(
            members.c.organization_id == organization_id, members.c.role == Role.OWNER
        )
    )
    return set(result.all())


async def owned_by(connection: AsyncConnection, user_id: str) -> list[str]:
    """Return the ids of the organizations that a user is an owner of."""
    members = membership_table
    result = await connection.scalars(
        select(members.c.organization_id)
        .where(members.c.user_id == user_id, members.c.role == Role.OWNER)
        .order_by(members.c.organization_id)
    )
    return list(result.all())


# Types


async def types(connection: AsyncConnection) -> list[OrganizationType]:
    """Return all types, by name."""
    result = await connection.execute(select(type_table).order_by(type_table.c.name_key))
    return [of_row(OrganizationType, row) for row in result.mappings()]


async def add_type(connection: AsyncConnection, kind: OrganizationType) -> bool:
    """Add a type; return whether its name was free."""
    row = row_of(kind) | {"name_key": name_key(kind.name)}
    return await insert_unless_taken(connection, type_table, row)


async def is_type_used(connection: AsyncConnection, type_id: str) -> bool:
    """Whether there are organizations of a type."""
    statement = select(table.c.organization_id).where(table.c.type_id == type_id).limit(1)
    return await connection.scalar(statement) is not None


async def delete_type(connection: AsyncConnection, type_id: str) -> None:
    """Delete a type of which there are no organizations."""
    await connection.execute(delete(type_table).where(type_table.c.type_id == type_id))


# Users of the host


async def host_of(connection: AsyncConnection, organization_id: str) -> HostInformation | None:
    """Return the user of the host that is noted for an organization."""
    hosts = organization_hosts
    result = await connection.execute(
        select(hosts).where(hosts.c.organization_id == organization_id)
    )
    row = result.mappings().first()
    return None if row is None else of_row(HostInformation, row)


async def add_host(connection: AsyncConnection, host: HostInformation) -> bool:
    """Note a user of the host for an organization; return whether there was none."""
    return await insert_unless_taken(connection, organization_hosts, row_of(host))


async def put_host(connection: AsyncConnection, host: HostInformation) -> None:
    """Note a user of the host for an organization, in place of the one there was."""
    await upsert(connection, organization_hosts, row_of(host))


async def remove_host(connection: AsyncConnection, organization_id: str) -> bool:
    """Forget the user of the host; return whether there was one."""
    hosts = organization_hosts
    result = await connection.execute(
        delete(hosts).where(hosts.c.organization_id == organization_id)
    )
    return result.rowcount > 0


async def algorithm_hosts_of(
    connection: AsyncConnection, organization_id: str
) -> list[tuple[str, str]]:
    """Return algorithms of an organization with the users of the host noted for them."""
    result = await connection.execute(
        select(algorithm_hosts.c.algorithm_id, algorithm_hosts.c.functional_id)
        .join(algorithm_table, algorithm_table.c.algorithm_id == algorithm_hosts.c.algorithm_id)
        .where(algorithm_table.c.owner_id == organization_id)
        .order_by(algorithm_hosts.c.algorithm_id)
    )
    return [(algorithm_id, functional_id) for algorithm_id, functional_id in result]


async def put_algorithm_hosts(connection: AsyncConnection, hosts: Mapping[str, str]) -> None:
    """Note users of the host for algorithms, in place of those there were."""
    for algorithm_id, functional_id in sorted(hosts.items()):
        row = {"algorithm_id": algorithm_id, "functional_id": functional_id}
        await upsert(connection, algorithm_hosts, row)


async def remove_algorithm_host(connection: AsyncConnection, algorithm_id: str) -> None:
    """Forget the user of the host of an algorithm."""
    hosts = algorithm_hosts
    await connection.execute(delete(hosts).where(hosts.c.algorithm_id == algorithm_id))
