"""
What a project says of itself: its README becomes the summary of its algorithm.

That happens with everything that reaches the default branch from outside: pushes, commits through
the API, commits at a source host. Compiling changes nothing, so a summary that was set by hand
stays until the next push.

Source: wire specification, "Create, read, update, delete".
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from markdown_it import MarkdownIt

from algorium_server.build.source.reading import find_file, read_file
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import Algorithm, Build, BuildTrigger
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.jobs import Job
from algorium_server.domain.limits import ALGORITHM_TEXT_CHARS_MAX, README_BYTES_MAX
from algorium_server.services.authoring.algorithms import change_algorithm
from algorium_server.services.directory import Directory
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

README: Final = "README.md"
_FROM_OUTSIDE: Final = frozenset(
    {BuildTrigger.PUSH, BuildTrigger.COMMIT, BuildTrigger.WEBHOOK, BuildTrigger.POLL}
)
# HTML in a README is shown as text: pages put the summary into themselves as it is.
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")

_log = logger(__name__)


class Readmes:
    """
    Takes READMEs over.

    Args:
        database: Where summaries are.
        directory: Knows which commit a build is of.
        repositories: Where READMEs are.
    """

    def __init__(
        self, database: Database, directory: Directory, repositories: Repositories
    ) -> None:
        self._database = database
        self._directory = directory
        self._repositories = repositories

    def before(self, build: Callable[[Job], Awaitable[None]]) -> Callable[[Job], Awaitable[None]]:
        """Return a handler of jobs that looks at the README, then builds."""

        async def look_and_build(job: Job) -> None:
            wanted = self._directory.build(job.job_id)
            if wanted is not None and wanted.trigger in _FROM_OUTSIDE:
                await self._take_over(wanted)
            await build(job)

        return look_and_build

    async def _take_over(self, build: Build) -> None:
        algorithm = self._directory.algorithm_by_id(build.algorithm_id)
        if algorithm is None:
            return
        try:
            summary = await self._summary(algorithm, build.commit_sha)
            if summary is not None and summary != algorithm.summary:
                await change_algorithm(
                    self._database,
                    self._directory,
                    algorithm,
                    lambda now: replace(now, summary=summary),
                )
        except AlgoriumError as error:
            # There is none, or it is out of all proportion: no reason not to build.
            _log.debug("no README was taken over", build=build.build_id, reason=error.message)

    async def _summary(self, algorithm: Algorithm, commit_sha: str) -> str | None:
        repository = self._repositories.path(algorithm.owner_id, algorithm.algorithm_id)
        entry = await find_file(repository, commit_sha, README)
        if entry.size_bytes > README_BYTES_MAX:
            return None
        text = (await read_file(repository, entry)).decode("utf-8", "replace")
        # In a thread: what is nested without end takes its time, whatever renders it.
        summary = await asyncio.to_thread(rendered, text)
        return summary if len(summary) <= ALGORITHM_TEXT_CHARS_MAX else None


def rendered(markdown: str) -> str:
    """Return Markdown as HTML that is safe to show: without any HTML of its own, or scripts."""
    html: str = _MARKDOWN.render(markdown)
    return html.strip()
