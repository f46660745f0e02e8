"""
Users, organizations and keys, built and wired together, and their HTTP.

Part of what `app` builds for a gateway; here because it is a house of its own.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter

from algorium_server.api.audit import audit_routes
from algorium_server.api.credentials import Credentials
from algorium_server.api.images import image_routes
from algorium_server.api.installation import installation_routes
from algorium_server.api.keys import key_routes
from algorium_server.api.organization_hosts import organization_host_routes
from algorium_server.api.organizations import organization_routes
from algorium_server.api.signing_up import sign_up_routes
from algorium_server.api.users import user_routes
from algorium_server.data.blobs import BlobStore
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.calling.meter import Meter
from algorium_server.services.directory import Directory
from algorium_server.services.people.account_removal import AccountRemoval
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.audit_log import AuditLog
from algorium_server.services.people.guessing import Guessing
from algorium_server.services.people.images import Images
from algorium_server.services.people.installation import Installation
from algorium_server.services.people.key_upkeep import KeyUpkeep
from algorium_server.services.people.keys import Keys
from algorium_server.services.people.organization_hosts import OrganizationHosts
from algorium_server.services.people.organization_types import OrganizationTypes
from algorium_server.services.people.organizations import Organizations
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.people.signing_up import SignUps
from algorium_server.services.people.users import Users
from algorium_server.store.database import Database


@asynccontextmanager
async def open_people(
    *,
    api: str,
    database: Database,
    directory: Directory,
    blobs: BlobStore,
    algorithms: Algorithms,
    credentials: Credentials,
    meter: Meter,
    passwords: Passwords,
    guessing: Guessing,
) -> AsyncIterator[Sequence[APIRouter]]:
    """
    Build everything around accounts, and look after keys until the end.

    Args:
        api: Base address, for links.
        database: Open until afterwards.
        directory: Told of everything new.
        blobs: Has the bytes of files of accounts that are deleted.
        algorithms: Deletes the algorithms of those.
        credentials: Knows which keys were shown.
        meter: Knows which keys calls were made with.
        passwords: Hashes those of people who sign up.
        guessing: Says when they may try a code.

    Yields:
        The routes.
    """
    administrators = Administrators(directory)
    removal = AccountRemoval(database, directory, algorithms, blobs)
    organizations = Organizations(database, directory, administrators, Authors(directory), removal)
    users = Users(database, directory, administrators, removal)
    upkeep = KeyUpkeep(database, directory, credentials.used_keys, meter.used_keys)
    upkeep.start()
    try:
        yield (
            user_routes(users, api=api),
            sign_up_routes(SignUps(database, users, passwords, guessing), api=api),
            organization_routes(
                organizations, OrganizationTypes(database, administrators), api=api
            ),
            organization_host_routes(OrganizationHosts(database, directory, administrators)),
            key_routes(Keys(database, directory, administrators)),
            installation_routes(Installation(database, administrators), api=api),
            image_routes(Images(database, administrators)),
            audit_routes(AuditLog(database, administrators), api=api),
        )
    finally:
        await upkeep.close()
