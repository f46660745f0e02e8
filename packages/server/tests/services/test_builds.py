"""The queue of builds: in order, in parallel, cancelled, interrupted; followed while they run."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import rows
from build_site import JANE

from algorium_server.build.builder import Builder
from algorium_server.build.confined import KILLED
from algorium_server.build.environments import Environments
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import BuildStatus, BuildTrigger
from algorium_server.domain.errors import BuildNotFound, InvalidInput, TooManyRequests
from algorium_server.domain.jobs import RetryLater
from algorium_server.domain.limits import BUILDS_WAITING_PER_OWNER_MAX
from algorium_server.jobs.retry import GiveUp
from algorium_server.jobs.worker import JobWorker
from algorium_server.services.authoring import build_logs
from algorium_server.services.authoring.builds import JOB_KIND, Builds
from algorium_server.services.directory import Directory
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as algorithm_rows
from algorium_server.store import jobs as job_rows

HELLO = {"src/Hello.py": b"def apply(input): return input\n"}
PATIENCE_S = 60
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what the database has no part in."""


class Importing:
    """
    Stands in for sandboxes: imports end when they may; everything else succeeds at once.

    Attributes:
        under_way: Build ids of imports that run, in the order in which they began.
        began: The same of all that ever ran.
        cancelled: Of those that were cut off.
    """

    def __init__(self):
        self.under_way, self.began, self.cancelled = [], [], []
        self.most = 0
        self.may_end = asyncio.Event()
        self.says = b"importing\n"
        self.code = 0

    async def __call__(self, job, *, on_output):
        if "--check" not in job.argv:
            return 0
        build_id = job.cwd.parent.name.removesuffix(".work")
        self.under_way.append(build_id)
        self.began.append(build_id)
        self.most = max(self.most, len(self.under_way))
        on_output(self.says)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(build_id)
            raise
        finally:
            self.under_way.remove(build_id)
        return self.code


class Site:
    """A server as far as builds are concerned."""

    def __init__(self, home, database, *, name=""):
        self.home, self.database = home, database
        self.directory = Directory(database)
        self.repositories = Repositories(home / "repos")
        self.jobs = Importing()
        self.builds = Builds(
            database=database,
            directory=self.directory,
            builder=Builder(
                repositories=self.repositories,
                environments=Environments(home / "envs", inherited={}),
                builds_dir=home / "builds",
                run_confined=self.jobs,
            ),
            repositories=self.repositories,
            wake=lambda: self.worker.wake(),  # noqa: PLW0108 - the worker is made of this
        )
        self.worker = JobWorker(
            database,
            {JOB_KIND: self.builds.run},
            concurrency=2,
            poll_s=0.05,
            on_given_up=self.builds.given_up,
            name=name,
        )

    async def start(self):
        await self.directory.load()
        await self.builds.recover()
        await self.worker.start()

    async def algorithm(self, owner, name, *, commits=1):
        algorithm = rows.algorithm(owner.account_id, name)
        async with self.database.transaction() as connection:
            await algorithm_rows.add_algorithm(connection, algorithm)
        self.directory.put_algorithm(algorithm)
        await self.repositories.create(owner.account_id, algorithm.algorithm_id)
        shas = [
            await self.repositories.commit(
                owner.account_id,
                algorithm.algorithm_id,
                {**HELLO, f"src/{name}.py": b"# %d\n" % number},
                author=JANE,
                message="x",
            )
            for number in range(commits)
        ]
        return algorithm, shas

    def left(self):
        """What lies about of builds, beside trees of successful ones."""
        return sorted(
            path.name
            for directory in ("builds", "logs/builds")
            for path in (self.home / directory).glob("*")
        )


async def until(condition, what="the condition"):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def told(runner, database, tmp_path):
    """Tell a story on a site; each begins with Jane, and ends with no build under way."""

    def tell(story):
        async def whole():
            jane = rows.account()
            async with database.transaction() as connection:
                await account_rows.add_account(connection, jane)
            site = Site(tmp_path, database)
            await site.start()
            try:
                return await story(site, jane)
            finally:
                await site.worker.stop(0)

        return runner.run(whole())

    return tell


def test_algorithms_build_side_by_side_and_each_one_in_order(told):
    async def story(site, jane):
        one, shas = await site.algorithm(jane, "One", commits=3)
        other, (sha,) = await site.algorithm(jane, "Other")
        asked = [await site.builds.request(one, each) for each in shas]
        asked.append(await site.builds.request(other, sha))
        await until(lambda: len(site.jobs.under_way) == 2)
        waiting = [site.directory.build(each.build_id).began_at is None for each in asked]
        site.jobs.may_end.set()
        done = [await site.builds.wait(each.build_id) for each in asked]
        return asked, waiting, done, site

    asked, waiting, done, site = told(story)

    assert waiting == [False, True, True, False]
    assert [each.status for each in done] == [BuildStatus.SUCCEEDED] * 4
    assert [b for b in site.jobs.began if b != asked[3].build_id] == [
        each.build_id for each in asked[:3]
    ]
    assert site.jobs.most == 2
    assert site.left() == sorted(each.build_id for each in asked)
    assert all(each.tree_digest and each.log.endswith("Build succeeded\n") for each in done)


def test_a_commit_that_is_being_built_is_joined_and_one_that_was_is_built_again(told):
    async def story(site, jane):
        algorithm, (sha,) = await site.algorithm(jane, "One")
        first = await site.builds.request(algorithm, trigger=BuildTrigger.PUSH)
        joined = await asyncio.gather(*(site.builds.request(algorithm, sha) for _ in range(5)))
        site.jobs.may_end.set()
        await site.builds.wait(first.build_id)
        again = await site.builds.request(algorithm, sha)
        await site.builds.wait(again.build_id)
        return first, joined, again

    first, joined, again = told(story)

    assert {each.build_id for each in joined} == {first.build_id}
    assert again.build_id != first.build_id


def test_a_build_that_waits_is_cancelled_at_once_and_never_begins(told):
    async def story(site, jane):
        algorithm, (first_sha, sha) = await site.algorithm(jane, "One", commits=2)
        first = await site.builds.request(algorithm, first_sha)
        waiting = await site.builds.request(algorithm, sha)
        await until(lambda: site.jobs.under_way)
        cancelled = await site.builds.cancel(algorithm, waiting.build_id, by="bob")
        site.jobs.may_end.set()
        await site.builds.wait(first.build_id)
        fresh = await site.builds.request(algorithm, sha)
        await site.builds.wait(fresh.build_id)
        return cancelled, fresh, site

    cancelled, fresh, site = told(story)

    assert (cancelled.status, cancelled.failure) == (BuildStatus.FAILED, "cancelled by bob")
    assert cancelled.log == "Build failed: cancelled by bob\n"
    assert cancelled.build_id not in site.jobs.began
    assert fresh.build_id != cancelled.build_id


@ON_SQLITE
def test_a_build_that_runs_is_cut_off_says_who_did_it_and_leaves_nothing(told):
    async def story(site, jane):
        algorithm, _ = await site.algorithm(jane, "One")
        build = await site.builds.request(algorithm)
        await until(lambda: site.jobs.under_way)
        await site.builds.cancel(algorithm, build.build_id, by="bob")
        ended = await site.builds.wait(build.build_id)
        again = await site.builds.cancel(algorithm, build.build_id, by="eve")
        return ended, again, site

    ended, again, site = told(story)

    assert (ended.status, ended.failure) == (BuildStatus.FAILED, "cancelled by bob")
    assert ended.log.startswith("Beginning container customization\n")
    assert ended.log.endswith("importing\nBuild failed: cancelled by bob\n")
    assert again.failure == "cancelled by bob"
    assert site.jobs.cancelled == [ended.build_id]
    assert site.left() == []


def test_a_build_that_ends_just_before_it_is_cancelled_stays_ended(told):
    async def story(site, jane):
        hello, _ = await site.algorithm(jane, "Hello")
        build = await site.builds.request(hello)
        await until(lambda: site.jobs.under_way)
        async with site.database.transaction() as connection:
            running = await algorithm_rows.build(connection, build.build_id, is_held=True)
            ended = replace(running, status=BuildStatus.SUCCEEDED)
            cancelling = asyncio.ensure_future(site.builds.cancel(hello, build.build_id, by="jane"))
            await asyncio.wait({cancelling}, timeout=0.1)  # it has to wait for this to be decided
            assert not cancelling.done()
            await algorithm_rows.update_build(connection, ended)
        assert (await cancelling).status is BuildStatus.SUCCEEDED
        assert (await site.builds.build(build.build_id)).status is BuildStatus.SUCCEEDED
        site.jobs.may_end.set()

    told(story)


@ON_SQLITE
def test_only_builds_of_the_algorithm_can_be_cancelled(told):
    async def story(site, jane):
        one, _ = await site.algorithm(jane, "One")
        other, _ = await site.algorithm(jane, "Other")
        build = await site.builds.request(one)
        with pytest.raises(BuildNotFound):
            await site.builds.cancel(other, build.build_id, by="bob")
        with pytest.raises(BuildNotFound):
            await site.builds.cancel(one, "nonsense\0", by="bob")

    told(story)


def test_an_algorithm_that_is_deleted_takes_its_builds_along(told):
    async def story(site, jane):
        algorithm, shas = await site.algorithm(jane, "One", commits=2)
        running, waiting = [await site.builds.request(algorithm, sha) for sha in shas]
        await until(lambda: site.jobs.under_way)
        async with site.database.transaction() as connection:
            await algorithm_rows.delete_algorithm(connection, algorithm.algorithm_id)
        site.directory.remove_algorithm(algorithm.algorithm_id)
        for build in (running, waiting):
            with pytest.raises(BuildNotFound):
                await site.builds.wait(build.build_id)
        other, _ = await site.algorithm(jane, "Other")
        site.jobs.may_end.set()
        build = await site.builds.request(other)
        return await site.builds.wait(build.build_id), site

    build, site = told(story)

    assert build.status is BuildStatus.SUCCEEDED
    assert site.left() == [build.build_id]


@ON_SQLITE
def test_an_account_cannot_fill_the_queue(told):
    async def story(site, jane):
        algorithm, (sha,) = await site.algorithm(jane, "One")
        async with site.database.transaction() as connection:
            for _ in range(BUILDS_WAITING_PER_OWNER_MAX):
                job = rows.job(jane.account_id, kind=JOB_KIND, queue=algorithm.algorithm_id)
                job = replace(job, due_at=job.due_at + timedelta(days=9999))
                await job_rows.enqueue(connection, job)
        with pytest.raises(TooManyRequests, match="100 builds of this account are waiting"):
            await site.builds.request(algorithm, sha)

    told(story)


@ON_SQLITE
def test_without_a_commit_there_is_nothing_to_build(told):
    async def story(site, jane):
        algorithm, _ = await site.algorithm(jane, "One", commits=0)
        with pytest.raises(InvalidInput, match="no source yet"):
            await site.builds.request(algorithm)

    told(story)


@ON_SQLITE
def test_a_build_of_an_algorithm_that_is_not_known_here_yet_waits_for_it(told):
    async def story(site, jane):
        algorithm, _ = await site.algorithm(jane, "One")
        site.jobs.may_end.set()
        build = await site.builds.request(algorithm)
        await site.builds.wait(build.build_id)
        late = await site.builds.request(algorithm)
        site.directory.remove_algorithm(algorithm.algorithm_id)
        async with site.database.reading() as connection:
            job = await job_rows.job(connection, late.build_id)
        with pytest.raises(RetryLater):
            await site.builds.run(job)

    told(story)


@ON_SQLITE
def test_a_build_that_was_interrupted_too_often_fails(told):
    async def story(site, jane):
        algorithm, _ = await site.algorithm(jane, "One")
        build = rows.build(algorithm.algorithm_id)
        async with site.database.transaction() as connection:
            await algorithm_rows.add_build(connection, build)
        site.directory.put_build(build)
        job = rows.job(jane.account_id, kind=JOB_KIND)
        site.builds.given_up(replace(job, job_id=build.build_id), GiveUp(reason="20 restarts"))
        return await site.builds.wait(build.build_id)

    assert told(story).failure == "20 restarts"


@asynccontextmanager
async def interrupted(site, jane):
    """A build whose server goes away while it imports."""
    algorithm, _ = await site.algorithm(jane, "One")
    build = await site.builds.request(algorithm)
    await until(lambda: site.jobs.under_way)
    await site.worker.stop(0)
    yield algorithm, build


def test_the_next_server_builds_what_was_under_way_and_its_log_goes_on(told):
    async def story(site, jane):
        async with interrupted(site, jane) as (_, build):
            heard = [piece async for piece in _pieces(site, build, until="importing\n")]
            after = Site(site.home, site.database)
            after.jobs.may_end.set()
            await after.start()
            try:
                built = await after.builds.wait(build.build_id)
                rest = [
                    piece.text
                    async for piece in after.builds.logs.pieces(
                        build.build_id, after_bytes=heard[-1].end_bytes
                    )
                ]
            finally:
                await after.worker.stop(0)
            return built, "".join(piece.text for piece in heard), "".join(rest), after

    built, heard, rest, after = told(story)

    assert built.status is BuildStatus.SUCCEEDED
    assert heard + rest == built.log
    assert rest.startswith("\nThe server was restarted; the build begins again\n")
    assert built.log.count("Beginning container customization") == 1
    assert after.left() == [built.build_id]


async def _pieces(site, build, *, until):
    async for piece in site.builds.logs.pieces(build.build_id):
        yield piece
        if piece.text.endswith(until):
            return


@ON_SQLITE
def test_a_cancelled_build_stays_cancelled_over_a_restart(told):
    async def story(site, jane):
        async with interrupted(site, jane) as (algorithm, build):
            cancelled = await site.builds.cancel(algorithm, build.build_id, by="bob")
            after = Site(site.home, site.database)
            await after.start()
            try:
                return cancelled, await after.builds.wait(build.build_id), after
            finally:
                await after.worker.stop(0)

    cancelled, ended, after = told(story)

    assert cancelled.status is BuildStatus.IN_PROGRESS
    assert (ended.status, ended.failure) == (BuildStatus.FAILED, "cancelled by bob")
    assert after.jobs.began == []
    assert after.left() == []


@ON_SQLITE
def test_those_who_follow_hear_everything_from_the_beginning_as_it_is_said(told):
    async def story(site, jane):
        algorithm, shas = await site.algorithm(jane, "One", commits=2)
        first, second = [await site.builds.request(algorithm, sha) for sha in shas]

        async def heard(build):
            return "".join([text async for text in site.builds.follow(build.build_id)])

        early = asyncio.ensure_future(heard(second))  # while it waits for the first one
        live = [piece.text async for piece in _pieces(site, first, until="importing\n")]
        site.jobs.may_end.set()
        late = await heard(first)
        done = [await site.builds.wait(each.build_id) for each in (first, second)]
        return live, late, await early, done

    live, late, early, (first, second) = told(story)

    assert first.log.startswith("".join(live))
    assert late == first.log
    assert early == second.log


def test_followers_of_endless_output_get_it_in_pieces_and_what_was_kept(told):
    async def story(site, jane):
        algorithm, _ = await site.algorithm(jane, "One")
        site.builds.logs._log_bytes_max = 300_000
        site.jobs.says = (
            b"".join(b"%d %s\n" % (n, b"x" * 90) for n in range(20_000)) + b"y" * 200_000
        )
        site.jobs.code = KILLED
        site.jobs.may_end.set()
        build = await site.builds.request(algorithm)
        pieces = [piece async for piece in site.builds.logs.pieces(build.build_id)]
        return pieces, await site.builds.build(build.build_id)

    pieces, build = told(story)

    assert "".join(piece.text for piece in pieces) == build.log
    assert max(len(piece.text.encode()) for piece in pieces) <= 64 * 1024
    assert pieces[-1].end_bytes == len(build.log.encode()) < 310_000
    assert build.failure == f"src.One cannot be loaded (exit code {KILLED})"


@ON_SQLITE
def test_a_silent_build_says_that_it_is_there(told, monkeypatch):
    monkeypatch.setattr(build_logs, "BUILD_FOLLOW_IDLE_S", 0.1)

    async def story(site, jane):
        algorithm, _ = await site.algorithm(jane, "One")
        build = await site.builds.request(algorithm)
        async for piece in site.builds.logs.pieces(build.build_id):
            if not piece.text:
                return

    told(story)


@ON_SQLITE
def test_only_so_many_follow_at_a_time(told, monkeypatch):
    monkeypatch.setattr(build_logs, "BUILD_FOLLOWERS_MAX", 1)

    async def story(site, jane):
        algorithm, _ = await site.algorithm(jane, "One")
        build = await site.builds.request(algorithm)
        first = site.builds.logs.pieces(build.build_id)
        await anext(first)
        with pytest.raises(TooManyRequests):
            await anext(site.builds.logs.pieces(build.build_id))
        await first.aclose()
        await anext(site.builds.logs.pieces(build.build_id))

    told(story)


@ON_SQLITE
def test_nobody_can_follow_what_is_not_there(told):
    async def story(site, _jane):
        with pytest.raises(BuildNotFound):
            await anext(site.builds.logs.pieces("none"))

    told(story)
