"""
Duties: what one gateway does for all gateways of its home, once.

A single gateway has them. Of several, their parent appoints one, and another one when that has
died; so nothing here may rely on having been finished by whoever had them before.
"""

import asyncio
import importlib.metadata
from datetime import datetime
from typing import Final, Protocol

from algorium.wire.refs import AlgorithmRef
from algorium_server.announcing import say
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import CHANGES_KEPT_MAX, CHANGES_PRUNE_S
from algorium_server.engine.probe import HostReport
from algorium_server.jobs.worker import JobWorker
from algorium_server.services.audit_checkpoints import Checkpoints
from algorium_server.services.auditing import record
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.calling.error_log import ErrorLog
from algorium_server.services.calling.kept_calls import KeptCalls
from algorium_server.services.calling.meter import Meter
from algorium_server.services.demo import Demo
from algorium_server.services.directory import Directory
from algorium_server.services.files.data import DataService
from algorium_server.services.files.resumable import ResumableUploads
from algorium_server.services.files.scrubbing import Scrubber
from algorium_server.services.sweeping import keep_pruning
from algorium_server.settings import Settings
from algorium_server.store import changes as change_rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_HELLO: Final = AlgorithmRef(owner="demo", name="Hello")

_log = logger(__name__)


class SourceDuties(Protocol):
    """What is to be done about source that is hosted elsewhere."""

    async def begin(self) -> None:
        """Tidy up, and begin to fetch."""
        ...

    async def keep(self) -> None:
        """Look for pushes that were missed, until cancelled."""
        ...


class ReportDuties(Protocol):
    """What is to be done so that reports know of the past."""

    async def keep(self) -> None:
        """Note what is stored, and delete what is old, until cancelled."""
        ...


class Duties:
    """
    The duties, of whoever has them.

    Args:
        settings: What was asked for.
        report: What the host offers.
        since: When the first process began that may be writing files in this home now.

    Attributes:
        demo: State of the demo algorithms in a word or a sentence, empty without demo.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        report: HostReport,
        since: datetime,
        database: Database,
        directory: Directory,
        algorithms: Algorithms,
        sourcing: SourceDuties,
        builds: Builds,
        build_worker: JobWorker,
        demo: Demo,
        data: DataService,
        uploads: ResumableUploads,
        meter: Meter,
        errors: ErrorLog,
        kept_calls: KeptCalls,
        reporting: ReportDuties,
        scrubber: Scrubber,
        checkpoints: Checkpoints,
    ) -> None:
        self.demo = "building" if settings.demo else ""
        self._has_begun = asyncio.Event()
        self._settings = settings
        self._report = report
        self._since = since
        self._database = database
        self._directory = directory
        self._algorithms = algorithms
        self._sourcing = sourcing
        self._builds = builds
        self._build_worker = build_worker
        self._demo = demo
        self._data = data
        self._uploads = uploads
        self._meter = meter
        self._errors = errors
        self._kept_calls = kept_calls
        self._reporting = reporting
        self._scrubber = scrubber
        self._checkpoints = checkpoints

    @property
    def has_hello(self) -> bool:
        """Whether there is a demo algorithm to show to newcomers."""
        return self._settings.demo and self._directory.algorithm(_HELLO) is not None

    async def begin(self) -> None:
        """
        Tidy up after whoever had the duties before, begin to build, and publish the quick demo.

        Raises:
            InvalidInput: The catalog of the demo is not readable.
            Unavailable: The database does not answer.
        """
        async with self._database.transaction() as connection:
            version = importlib.metadata.version("algorium-server")
            await record(
                connection, None, AuditAction.SERVER_STARTED, "server", detail={"version": version}
            )
        await self._algorithms.recover(before=self._since)
        await self._builds.recover()
        await self._build_worker.start()
        await self._sourcing.begin()
        await self._publish_demo(late=False)
        self._has_begun.set()

    async def _publish_demo(self, *, late: bool) -> None:
        if not self._settings.demo:
            return
        owner = self._directory.account_named(self._settings.admin_username)
        if owner is None:  # the first administrator has been deleted; there is another one always
            owner = next(each for each in self._directory.accounts() if each.is_admin)
        try:
            failed = await self._demo.publish(
                self._settings.examples_dir,
                owner=owner,
                on_progress=say,
                has_network=self._report.without_network is None,
                late=late,
            )
        except Unavailable as error:
            self.demo = "unavailable"
            say(f"demo algorithms are not available: {error.message}")
        else:
            self.demo = f"not published: {', '.join(failed)}" if failed else "published"

    async def keep_house(self) -> None:
        """Publish the rest of the demo, and remove what has ended by itself, until cancelled."""
        # One that fails for a reason of its own must not take the others along.
        done = await asyncio.gather(
            self._publish_late(),
            self._data.keep_swept(since=self._since),
            self._uploads.keep_swept(),
            self._meter.keep_pruned(),
            self._errors.keep_pruned(),
            self._kept_calls.keep_pruned(),
            self._reporting.keep(),
            self._scrubber.keep(),
            self._checkpoints.keep(),
            keep_pruning(self._prune_changes, what="changes", every_s=CHANGES_PRUNE_S),
            self._keep_fetched(),
            return_exceptions=True,
        )
        for error in done:
            if isinstance(error, Exception):
                _log.error("clean-ups have ended until the next start", exc_info=error)

    async def _keep_fetched(self) -> None:
        await self._has_begun.wait()
        await self._sourcing.keep()

    async def _publish_late(self) -> None:
        await self._has_begun.wait()
        if self.demo == "published":
            await self._publish_demo(late=True)

    async def _prune_changes(self) -> None:
        async with self._database.transaction() as connection:
            await change_rows.prune(connection, keep=CHANGES_KEPT_MAX)
