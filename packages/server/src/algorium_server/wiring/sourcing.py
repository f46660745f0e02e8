"""
Where source is hosted, built and wired together: the internal host and those elsewhere.

Part of what `authoring` builds; here because it is a house of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter

from algorium_server.api.scms import scm_admin_routes, scm_routes
from algorium_server.api.webhooks import webhook_routes
from algorium_server.build.providers.calling import Caller
from algorium_server.build.source.fetching import Fetching
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.limits import BUILD_QUEUE_POLL_S, SCM_FETCHES_MAX
from algorium_server.jobs.worker import JobWorker
from algorium_server.sealing import Seal
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.authoring.hosts import Hosts, InternalHosts, SourceHosts
from algorium_server.services.directory import Directory
from algorium_server.services.files.reaching import Reach
from algorium_server.services.following import Following
from algorium_server.services.source.external_hosts import ExternalHosts
from algorium_server.services.source.host_reach import HostReach
from algorium_server.services.source.mirroring import JOB_KIND, Mirroring
from algorium_server.services.source.scm_access import ScmAccess
from algorium_server.services.source.scm_connections import ScmConnections
from algorium_server.services.source.scm_directory import ScmDirectory
from algorium_server.services.source.scms import Scms
from algorium_server.services.source.source_polling import SourcePolling
from algorium_server.services.source.webhooks import Webhooks
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourcing:
    """
    What a gateway has for source.

    Attributes:
        hosts: All hosts together.
        routes: Of the management API.
    """

    hosts: SourceHosts
    routes: Sequence[APIRouter]
    polling: SourcePolling
    external: ExternalHosts
    fetching: Fetching
    worker: JobWorker

    async def begin(self) -> None:
        """Tidy up, and begin to fetch: for whoever has the duties."""
        await asyncio.to_thread(self.fetching.prepare)
        await self.external.sweep()
        await self.worker.start()

    async def keep(self) -> None:
        """Look for pushes that were missed, until cancelled: for whoever has the duties."""
        await self.polling.keep()


@asynccontextmanager
async def open_sourcing(
    *,
    home: Path,
    api: str,
    database: Database,
    directory: Directory,
    following: Following,
    repositories: Repositories,
    builds: Builds,
    poll_s: float,
    reach: Reach,
    worker_name: str = "",
) -> AsyncIterator[Sourcing]:
    """
    Build everything in the order in which it depends on one another; take it down reversed.

    Args:
        home: Holds the keys of hosts.
        api: Base address of this server, for hosts to come back to.
        database: Open until afterwards.
        directory: What is in memory.
        following: Brings there what other gateways write.
        repositories: Where source is.
        builds: Builds it.
        poll_s: Time between two looks for pushes that were missed; 0 for none.
        reach: Says where hosts may be.
        worker_name: See `JobWorker`.
    """
    seal = await asyncio.to_thread(Seal.open, home)
    known = ScmDirectory(database)
    await known.load()
    following.listen(ChangeKind.SCM, known.load)
    scms = Scms(database, known, seal)
    hosts_allowed = HostReach(reach)
    caller = Caller(hosts_allowed.check)
    access = ScmAccess(database, scms, seal, caller)
    connections = ScmConnections(database, scms, access, caller, api=api)
    fetching = Fetching(home / "hosts", check=hosts_allowed.check)
    mirroring = Mirroring(
        database=database,
        directory=directory,
        scms=known,
        access=access,
        fetching=fetching,
        repositories=repositories,
        builds=builds,
        seal=seal,
        wake=lambda: worker.wake(),  # noqa: PLW0108 - the worker runs what this queues
    )
    worker = JobWorker(
        database,
        {JOB_KIND: mirroring.run},
        concurrency=SCM_FETCHES_MAX,
        poll_s=BUILD_QUEUE_POLL_S,
        name=worker_name,
    )
    external = ExternalHosts(
        database=database,
        directory=directory,
        scms=known,
        access=access,
        mirroring=mirroring,
        fetching=fetching,
        repositories=repositories,
        api=api,
    )
    hosts = Hosts(InternalHosts(repositories), external, default_id=lambda: known.default_id)
    webhooks = Webhooks(database, directory, known, mirroring)
    try:
        yield Sourcing(
            hosts=hosts,
            routes=(
                scm_routes(scms, connections),
                scm_admin_routes(scms),
                webhook_routes(webhooks),
            ),
            polling=SourcePolling(database, directory, known, mirroring, every_s=poll_s),
            external=external,
            fetching=fetching,
            worker=worker,
        )
    finally:
        await worker.stop(0.0)  # the next server fetches what was under way
        await caller.close()
