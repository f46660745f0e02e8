"""
Source through the API, for editors: files listed, read, changed.

Reading asks for the right to read source, changing for the right to change.

Source: wire specification, "Internal git hosting", "Web IDE save".
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from algorium.wire.refs import AlgorithmRef
from algorium_server.build.source.reading import (
    SourceEntry,
    archive,
    find_commit,
    find_file,
    list_files,
    read_file,
)
from algorium_server.build.source.repositories import FileChange, Repositories, Signature
from algorium_server.domain.algorithms import (
    INTERNAL_SCM,
    Algorithm,
    Build,
    BuildTrigger,
)
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import InvalidInput, SourceNotHostedHere
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    COMMIT_CHANGES_MAX,
    COMMIT_MESSAGE_CHARS_MAX,
    GIT_QUESTIONS_AT_ONCE_MAX,
)
from algorium_server.domain.versions import SemanticVersion
from algorium_server.services.auditing import record_on
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.directory import Directory
from algorium_server.services.source.hosting import GitPlaces
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePage:
    """
    Some files of a commit.

    Attributes:
        total: How many there are on all pages.
        next_path: After which path the next page begins; empty on the last one.
    """

    commit_sha: str
    entries: tuple[SourceEntry, ...]
    total: int
    next_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file, and the commit it was read from."""

    commit_sha: str
    entry: SourceEntry
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What came of a commit; with the build that was asked for, if one was."""

    commit_sha: str
    build: Build | None = None


class SourceFiles:
    """
    Use cases of editors.

    Args:
        database: Where changes are recorded.
        directory: Who and what there is.
        authors: Says who may do what.
        repositories: Where source is.
        builds: Builds what was changed, if that is wanted.
        places: Says how many archives are made at a time.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        authors: Authors,
        repositories: Repositories,
        builds: Builds,
        places: GitPlaces,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._authors = authors
        self._repositories = repositories
        self._builds = builds
        self._places = places
        self._questions = asyncio.Semaphore(GIT_QUESTIONS_AT_ONCE_MAX)
        self._clock = clock

    async def listing(
        self, principal: Principal, ref: AlgorithmRef, *, at: str, limit: int, after: str
    ) -> SourcePage:
        """
        Return a page of the files of a commit, by path.

        Args:
            principal: Who asks.
            ref: Whose source.
            at: A branch, tag, version or commit; empty for the newest commit.
            limit: Files on the page.
            after: Path of the last file of the page before.

        Raises:
            NotFound: There is no such algorithm or commit.
            NotAuthorized: The caller may not read the source.
            TooLarge: There are too many files.
        """
        algorithm, repository = self._readable(principal, ref)
        async with self._questions:
            commit_sha = await self._commit(algorithm, repository, at)
            entries = await list_files(repository, commit_sha)
        rest = [entry for entry in entries if entry.path > after]
        page = tuple(rest[:limit])
        return SourcePage(
            commit_sha=commit_sha,
            entries=page,
            total=len(entries),
            next_path=page[-1].path if len(rest) > limit else "",
        )

    async def file(
        self, principal: Principal, ref: AlgorithmRef, path: str, *, at: str
    ) -> SourceFile:
        """
        Return a file with its content; see `listing`.

        Raises:
            PathNotFound: There is no such file in that commit.
            TooLarge: It is larger than can be had this way.
        """
        algorithm, repository = self._readable(principal, ref)
        async with self._questions:
            commit_sha = await self._commit(algorithm, repository, at)
            entry = await find_file(repository, commit_sha, path)
            content = await read_file(repository, entry)
        return SourceFile(commit_sha=commit_sha, entry=entry, content=content)

    async def archive(
        self, principal: Principal, ref: AlgorithmRef, *, at: str
    ) -> tuple[str, AsyncIterator[bytes]]:
        """
        Return the name of an archive of a commit without its ending, and its bytes.

        Raises:
            TooManyRequests: The account has too many clones, pushes and archives under way.
            Unavailable: The server has.
        """
        algorithm, repository = self._readable(principal, ref)
        async with self._questions:
            commit_sha = await self._commit(algorithm, repository, at)
            await list_files(repository, commit_sha)  # refuses what would never end
        name = f"{algorithm.name}-{commit_sha[:10]}"
        account_id = principal.account.account_id

        async def chunks() -> AsyncIterator[bytes]:
            made = archive(repository, commit_sha, prefix=name)
            with self._places.taken(account_id):
                yield b""
                async with aclosing(made):
                    async for chunk in made:
                        yield chunk

        begun = chunks()
        await anext(begun)  # who gets no place is told so, before the answer begins
        return name, begun

    async def commit(
        self,
        principal: Principal,
        ref: AlgorithmRef,
        changes: Sequence[FileChange],
        *,
        message: str = "",
        parent: str = "",
        builds: bool = False,
    ) -> Committed:
        """
        Change files: all of them in one commit, or nothing.

        Args:
            principal: Who changes.
            ref: Whose source.
            changes: One for each file.
            message: What changed, and why; empty for one that says which files.
            parent: Which commit must be the newest; empty if any may be.
            builds: Ask for a build of the commit.

        Raises:
            NotFound: There is no such algorithm.
            NotAuthorized: The caller may not change it.
            SourceNotHostedHere: It is changed where it is hosted.
            ConditionFailed: Another commit than *parent* is the newest.
            InvalidInput: A change cannot be made.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.CHANGE)
        if algorithm.scm_id != INTERNAL_SCM:
            raise SourceNotHostedHere
        if not changes:
            raise InvalidInput("a commit needs at least one change")
        if len(changes) > COMMIT_CHANGES_MAX:
            raise InvalidInput(f"a commit has {COMMIT_CHANGES_MAX} changes at most: push it")
        if len(message) > COMMIT_MESSAGE_CHARS_MAX:
            raise InvalidInput(f"a message has {COMMIT_MESSAGE_CHARS_MAX} characters at most")
        account = principal.account
        commit_sha = await self._repositories.change(
            algorithm.owner_id,
            algorithm.algorithm_id,
            changes,
            parent=parent,
            author=Signature(
                name=account.fullname or account.username, email=account.email, at=self._clock()
            ),
            message=_ended(message.strip() or _described(changes)),
        )
        async with self._database.transaction() as connection:
            await record_on(
                connection,
                principal,
                AuditAction.SOURCE_CHANGED,
                algorithm,
                self._directory,
                detail={"commit": commit_sha, "files": str(len(changes))},
            )
        if not builds:
            return Committed(commit_sha=commit_sha)
        build = await self._builds.request(
            algorithm, commit_sha, requested_by=account.account_id, trigger=BuildTrigger.COMMIT
        )
        return Committed(commit_sha=commit_sha, build=build)

    def _readable(self, principal: Principal, ref: AlgorithmRef) -> tuple[Algorithm, Path]:
        algorithm = self._authors.algorithm(principal, ref, Act.READ_SOURCE)
        return algorithm, self._repositories.path(algorithm.owner_id, algorithm.algorithm_id)

    async def _commit(self, algorithm: Algorithm, repository: Path, at: str) -> str:
        if at and at != "HEAD":
            try:
                wanted = SemanticVersion.parse(at)
            except ValueError:
                return await find_commit(repository, at)
            for version in self._directory.versions_of(algorithm.algorithm_id):
                if version.semantic_version == wanted:
                    return version.commit_sha
            return await find_commit(repository, at)
        head = await self._repositories.head(algorithm.owner_id, algorithm.algorithm_id)
        if head is None:
            raise InvalidInput(f"{algorithm.name} has no source yet: commit some first")
        return head


def _described(changes: Sequence[FileChange]) -> str:
    first = changes[0]
    verb = "Delete" if first.content is None else "Change"
    others = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return f"{verb} {first.path}{others}"


def _ended(message: str) -> str:
    return f"{message}\n"
