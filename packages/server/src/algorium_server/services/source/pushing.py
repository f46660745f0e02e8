"""
What a push means: judged, noted, built, and told to the pusher.

    push ──> pre-receive ──> the branch moves ──> post-receive ──> ... ──> the end
               judged              │               build asked for      log, result
               noted ──────────────┴─────────────> note removed

What lies between the note and its removal survives a crash: whoever looks next finds the branch
where the note says, and asks for the build. A build goes on whether its pusher stays or not.

Source: wire specification, "Internal git hosting", "Builds".
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from algorium_server.build.source.git_serving import Question, Say
from algorium_server.build.source.push_notes import PushNote, PushNotes
from algorium_server.build.source.pushed import (
    count_refs,
    dropped_commits,
    remove_stale_locks,
    repository_bytes,
    sweep_incoming,
)
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import Algorithm, Build, BuildTrigger
from algorium_server.domain.audit import AuditAction, Outcome
from algorium_server.domain.errors import AlgoriumError, NotFound, Unavailable
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    GIT_PROCESS_S_MAX,
    PUSH_SETTLE_S,
)
from algorium_server.domain.pushes import (
    NO_COMMIT,
    PushFacts,
    PushVerdict,
    RefUpdate,
    judge,
    of_built_branch,
)
from algorium_server.services.auditing import record_on
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.directory import Directory
from algorium_server.services.source.push_output import PushOutput
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_NO_WAIT: Final = "no-wait"

_log = logger(__name__)


class Pushing:
    """
    Use cases of pushes. Whether somebody may push at all is decided by the caller.

    Args:
        output: Shows builds to pushers.
        directory: Who and what there is.
        database: Where rows are.
        builds: Builds what is pushed.
        repositories: Where source is.
        notes: Of pushes under way.
    """

    def __init__(
        self,
        *,
        output: PushOutput,
        directory: Directory,
        database: Database,
        builds: Builds,
        repositories: Repositories,
        notes: PushNotes,
    ) -> None:
        self.output = output
        self.directory = directory
        self.builds = builds
        self.repositories = repositories
        self.notes = notes
        self.under_way: set[str] = set()
        self._database = database
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def begin(self, principal: Principal, algorithm: Algorithm, repository: Path) -> "Push":
        """Return a push that somebody has begun; its `end` must be awaited."""
        turn = self._turns[algorithm.algorithm_id]
        return Push(
            self, principal=principal, algorithm=algorithm, repository=repository, turn=turn
        )

    async def record(
        self, principal: Principal, algorithm: Algorithm, updates: Sequence[RefUpdate], why_not: str
    ) -> None:
        """Record a push before anything moves, or that it was refused."""
        detail = {each.ref: f"{each.old[:12]} -> {each.new[:12]}" for each in updates}
        async with self._database.transaction() as connection:
            await record_on(
                connection,
                principal,
                AuditAction.REPOSITORY_PUSHED,
                algorithm,
                self.directory,
                outcome=Outcome.DENIED if why_not else Outcome.DONE,
                detail={"reason": why_not, **detail} if why_not else detail,
            )

    async def keep_settled(self, repositories_dir: Path) -> None:
        """Look after pushes that were cut off, until cancelled."""
        is_alone = self._database.is_exclusive
        try:
            await asyncio.to_thread(
                sweep_incoming, repositories_dir, age_s=0.0 if is_alone else GIT_PROCESS_S_MAX
            )
        except OSError as error:
            _log.warning("what pushes have left stays until the next start", error=str(error))
        age_s = 0.0 if is_alone else PUSH_SETTLE_S
        while True:
            try:
                for note in await asyncio.to_thread(self.notes.all):
                    is_old = datetime.now(UTC).timestamp() - note.noted_at >= age_s
                    if is_old and note.note_id not in self.under_way:
                        await self.settle(note)
            except (AlgoriumError, OSError) as error:
                _log.warning("pushes wait for their builds", error=str(error))
            await asyncio.sleep(PUSH_SETTLE_S)
            age_s = PUSH_SETTLE_S

    async def settle(self, note: PushNote) -> None:
        """
        Do what a push has left undone: its branch has moved, and nobody asked for the build.

        Raises:
            Unavailable: The database does not answer; the note stays.
        """
        algorithm = self.directory.algorithm_by_id(note.algorithm_id)
        if algorithm is not None and await self._is_unbuilt(algorithm, note):
            _log.info("a push was cut off; its build is asked for", commit=note.commit_sha)
            try:
                await self.request(algorithm, note)
            except Unavailable:
                raise
            except AlgoriumError as error:
                _log.warning("a push is not built", commit=note.commit_sha, error=error.message)
        await asyncio.to_thread(self.notes.remove, note)

    async def request(self, algorithm: Algorithm, note: PushNote) -> Build:
        """Ask for the build of what was pushed."""
        return await self.builds.request(
            algorithm, note.commit_sha, requested_by=note.account_id, trigger=BuildTrigger.PUSH
        )

    async def _is_unbuilt(self, algorithm: Algorithm, note: PushNote) -> bool:
        try:
            head = await self.repositories.head(algorithm.owner_id, algorithm.algorithm_id)
        except NotFound:
            return False
        if head != note.commit_sha:
            return False  # it never came, or others have pushed since, and theirs is built
        async with self._database.reading() as connection:
            builds = await rows.builds(connection, algorithm_id=algorithm.algorithm_id)
        return not any(
            build.commit_sha == head and build.started_at.timestamp() >= note.noted_at
            for build in builds
        )


class Push:
    """
    One push, from its first hook to its end.

    Of several to one algorithm, one at a time is between its judgement and the branch's move, so
    that the others are judged by what it has brought.
    """

    def __init__(
        self,
        pushing: Pushing,
        *,
        principal: Principal,
        algorithm: Algorithm,
        repository: Path,
        turn: asyncio.Lock,
    ) -> None:
        self._pushing = pushing
        self._principal = principal
        self._algorithm = algorithm
        self._repository = repository
        self._turn = turn
        self._has_turn = False
        self._note: PushNote | None = None

    async def answer(self, question: Question, say: Say) -> bool:
        """Answer a hook; see `git_serving.Hooks`."""
        try:
            if question.hook == "pre-receive":
                return await self._may_be(question, say)
            await self._has_come(question, say)
        except AlgoriumError as error:
            await say(error.message)
            return False
        return True

    async def end(self) -> None:
        """Give way to others, and do what is left to do."""
        self._give_way()
        note, self._note = self._note, None
        if note is None:
            return
        try:
            await self._pushing.settle(note)
        except (AlgoriumError, OSError) as error:
            _log.warning("a push waits for its build", error=str(error))
        finally:
            self._pushing.under_way.discard(note.note_id)

    async def _may_be(self, question: Question, say: Say) -> bool:
        if not self._has_turn:
            await self._turn.acquire()
            self._has_turn = True
        verdict = judge(question.updates, await self._facts(question))
        for line in (*verdict.refusals, *verdict.remarks):
            await say(line)
        for option in question.options:
            if option != _NO_WAIT:
                await say(f"The option {option!r} is not known; there is {_NO_WAIT}.")
        await self._pushing.record(
            self._principal, self._algorithm, question.updates, " ".join(verdict.refusals)
        )
        if verdict.refusals:
            self._give_way()
            return False
        refs = [update.ref for update in question.updates]
        await asyncio.to_thread(remove_stale_locks, self._repository, refs)
        await self._write_note(verdict)
        return True

    async def _write_note(self, verdict: PushVerdict) -> None:
        if not verdict.commit_sha:
            return
        note = await asyncio.to_thread(
            self._pushing.notes.write,
            algorithm_id=self._algorithm.algorithm_id,
            commit_sha=verdict.commit_sha,
            account_id=self._principal.account.account_id,
        )
        self._pushing.under_way.add(note.note_id)
        self._note = note

    async def _facts(self, question: Question) -> PushFacts:
        # Anew: the owner may have changed what is allowed since the push began.
        directory = self._pushing.directory
        algorithm = directory.algorithm_by_id(self._algorithm.algorithm_id)
        if algorithm is None:
            raise NotFound("The algorithm was deleted meanwhile.")
        allows_rewriting = algorithm.settings.allows_rewriting
        head = await self._pushing.repositories.head(algorithm.owner_id, algorithm.algorithm_id)
        update = of_built_branch(question.updates)
        dropped: frozenset[str] = frozenset()
        if update is not None and head is not None and not update.is_deletion:
            dropped = await dropped_commits(
                self._repository,
                old=head,
                new=update.new,
                environment=question.environment,
                only_one=not allows_rewriting,
            )
        versions = sorted(
            directory.versions_of(algorithm.algorithm_id), key=lambda v: v.semantic_version
        )
        return PushFacts(
            head=head or NO_COMMIT,
            dropped=len(dropped),
            lost_versions=tuple(
                str(v.semantic_version) for v in versions if v.commit_sha in dropped
            ),
            allows_rewriting=allows_rewriting,
            refs=await count_refs(self._repository),
            repository_bytes=await repository_bytes(self._repository),
        )

    async def _has_come(self, question: Question, say: Say) -> None:
        self._give_way()
        update = of_built_branch(question.updates)
        if update is None or self._note is None:
            return
        try:
            build = await self._pushing.request(self._algorithm, self._note)
        except Unavailable as error:
            await say(f"Stored, and not built yet: {error.message}")
            return  # the note stays, and the build is asked for later
        except AlgoriumError as error:
            await say(f"Stored, and not built: {error.message}")
            await self._forget_note()
            return
        await self._forget_note()
        await self._pushing.output.show(
            self._algorithm, build, say, waits=_NO_WAIT not in question.options
        )

    async def _forget_note(self) -> None:
        note, self._note = self._note, None
        assert note is not None
        await asyncio.to_thread(self._pushing.notes.remove, note)
        self._pushing.under_way.discard(note.note_id)

    def _give_way(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turn.release()
