"""Create, commit, build, publish; and the demo, which does all four."""

import asyncio
import itertools
import json
import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from plain_jobs import PlainJobs
from rows import NOW, account

from algorium.wire.refs import AlgorithmRef
from algorium_server.build import languages
from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import (
    AlgorithmSettings,
    BuildStatus,
    Callability,
    Isolation,
    PublishGate,
    Scaling,
    SourceVisibility,
)
from algorium_server.domain.errors import (
    AlgorithmNameTaken,
    InvalidInput,
    NotAuthorized,
    Unavailable,
    VersionAlreadyPublished,
    VersionNotFound,
)
from algorium_server.domain.identity import Principal, Role
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.authoring.documents import Documents, Kind
from algorium_server.services.authoring.gate import SampleRun
from algorium_server.services.authoring.publishing import Publishing
from algorium_server.services.demo import Demo
from algorium_server.services.directory import Directory
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database, sqlite_url

EXAMPLES = Path(__file__).parents[4] / "examples"
HELLO = {"src/Hello.py": b"def apply(input):\n    return f'Hello {input}'\n"}
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


class Site:
    """An installation with one author, Jane."""

    def __init__(self, home, database, *, run_confined=None, inherited=NOWHERE):
        self.home = home
        self.seconds = itertools.count()
        self.database = database
        self.directory = Directory(database)
        self.repositories = Repositories(home / "repos")
        self.jobs = run_confined or PlainJobs()
        self.environments = Environments(home / "envs", inherited=inherited)
        self.builder = Builder(
            repositories=self.repositories,
            environments=self.environments,
            builds_dir=home / "builds",
            run_confined=self.jobs,
        )
        clock = lambda: NOW + timedelta(seconds=next(self.seconds))  # noqa: E731
        self.builds = Builds(
            database=database,
            directory=self.directory,
            builder=self.builder,
            repositories=self.repositories,
            clock=clock,
        )
        authors = Authors(self.directory)
        self.documents = Documents(
            database=database,
            directory=self.directory,
            authors=authors,
            builds_dir=home / "builds",
            environments_dir=home / "envs",
        )
        self.publishing = Publishing(
            database=database,
            directory=self.directory,
            repositories=self.repositories,
            documents=self.documents,
            clock=clock,
        )
        self.demo = Demo(
            database=database,
            directory=self.directory,
            builds=self.builds,
            publishing=self.publishing,
            clock=clock,
        )

    async def start(self):
        """What a server does before its first build."""
        await self.directory.load()
        self.jane = self.directory.account_named("jane")
        if self.jane is None:
            self.jane = account()
            async with self.database.transaction() as connection:
                await account_rows.add_account(connection, self.jane)
            self.directory.put_account(self.jane)
        await self.builds.recover()
        return self

    async def algorithm(self, files=HELLO, **fields):
        algorithm = await self.publishing.create_algorithm(owner=self.jane, name="Hello", **fields)
        if files:
            await self.commit(algorithm, files)
        return algorithm

    async def commit(self, algorithm, files):
        return await self.publishing.commit_files(
            algorithm, files, author=self.jane, message="Change"
        )

    async def publish(self, algorithm, **wanted):
        return (await self.publishing.publish(algorithm, **wanted)).version

    def resolve(self, ref):
        return self.directory.resolve(AlgorithmRef.parse(ref), Principal(account=self.jane))


@pytest.fixture
def run(sqlite_file, tmp_path):
    """Run a story on the installation in `tmp_path`, as one start of a server after the other."""

    def run(story, **options):
        async def start():
            async with await Database.open(sqlite_url(sqlite_file)) as database:
                return await story(await Site(tmp_path, database, **options).start())

        return asyncio.run(start())

    return run


def test_from_nothing_to_a_version_that_resolves_also_after_a_restart(run):
    async def publish(site):
        algorithm = await site.algorithm()
        build = await site.builds.build_now(algorithm)
        version = await site.publish(algorithm, release_notes="First")

        assert build.status is BuildStatus.SUCCEEDED, build.log
        assert build.finished_at > build.started_at
        assert str(version.semantic_version) == "0.1.0"
        assert version.callability is Callability.PRIVATE
        assert site.resolve("jane/Hello/0.1.0").build.entry == "src.Hello"
        return version

    version = run(publish)

    async def look(site):
        assert site.resolve("jane/hello/latestPrivate").version == version
        async with site.database.reading() as connection:
            return await rows.build(connection, version.build_id)

    build = run(look)
    assert build.log.startswith("Beginning container customization\n")
    assert build.log.endswith("Build succeeded\n")


def test_a_name_is_taken_in_every_case(run):
    async def story(site):
        await site.algorithm()
        with pytest.raises(AlgorithmNameTaken, match="jane has an algorithm called hELLO"):
            await site.publishing.create_algorithm(owner=site.jane, name="hELLO")
        with pytest.raises(InvalidInput):
            await site.publishing.create_algorithm(owner=site.jane, name="he llo")
        return list((site.home / "repos" / site.jane.account_id).iterdir())

    assert len(run(story)) == 1


def test_a_failed_build_is_kept_with_its_log_and_cannot_be_published(run):
    async def story(site):
        algorithm = await site.algorithm({"src/Hello.py": b"import nowhere_at_all\n"})
        build = await site.builds.build_now(algorithm)

        assert build.status is BuildStatus.FAILED
        assert "nowhere_at_all" in build.log
        assert site.resolve(f"jane/Hello/{build.commit_sha}") is None
        with pytest.raises(VersionAlreadyPublished, match="no successful build"):
            await site.publish(algorithm)
        with pytest.raises(InvalidInput, match="not a successful build"):
            await site.publish(algorithm, build=build)

    run(story)


def test_an_algorithm_without_source_is_not_built(run):
    async def story(site):
        with pytest.raises(InvalidInput, match="no source yet"):
            await site.builds.build_now(await site.algorithm(files=None))

    run(story)


def test_a_build_is_published_once_and_the_same_commit_can_be_built_again(run):
    async def story(site):
        algorithm = await site.algorithm()
        first = await site.builds.build_now(algorithm)
        await site.publish(algorithm)
        with pytest.raises(VersionAlreadyPublished, match=r"version 0\.1\.0 already") as caught:
            await site.publish(algorithm, build=first)
        assert (caught.value.code, caught.value.status) == (1007, 400)

        second = await site.builds.build_now(algorithm)
        version = await site.publish(algorithm, build=second, version_type="revision")
        assert second.commit_sha == first.commit_sha
        assert second.environment == first.environment
        assert str(version.semantic_version) == "0.1.1"

    run(story)


@pytest.mark.parametrize(
    ("before", "wanted", "next_one"),
    [
        ([], {}, "0.1.0"),
        ([], {"version_type": "major"}, "1.0.0"),
        ([], {"version_type": "patch"}, "0.0.1"),
        (["1.2.3"], {"version_type": "default"}, "1.3.0"),
        (["1.2.3"], {"version_type": "major"}, "2.0.0"),
        (["0.9.0", "0.10.0"], {"version_type": "revision"}, "0.10.1"),
        (["1.2.3"], {"semantic_version": "1.2.4"}, "1.2.4"),
        (["1.2.3"], {"version_type": "major", "callability": Callability.PUBLIC}, "2.0.0"),
        (["1.2.3"], {"semantic_version": "2.0.5", "callability": Callability.PUBLIC}, "2.0.5"),
    ],
)
def test_versions_follow_the_rules(run, before, wanted, next_one):
    async def story(site):
        algorithm = await site.algorithm()
        for number in before:
            await site.builds.build_now(algorithm)
            await site.publish(algorithm, semantic_version=number)
        await site.builds.build_now(algorithm)
        return await site.publish(algorithm, **wanted)

    assert str(run(story).semantic_version) == next_one


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"semantic_version": "1.2.3"}, "not higher"),
        ({"semantic_version": "1.1.9"}, "not higher"),
        ({"semantic_version": "1.3"}, "not a semantic version"),
        ({"version_type": "huge"}, "not a version type"),
        ({"callability": Callability.PUBLIC}, "only a new major version"),
        ({"semantic_version": "1.9.0", "callability": Callability.PUBLIC}, "only a new major"),
    ],
)
def test_versions_that_break_the_rules_are_refused(run, wanted, complaint):
    async def story(site):
        algorithm = await site.algorithm()
        await site.builds.build_now(algorithm)
        await site.publish(algorithm, semantic_version="1.2.3")
        await site.builds.build_now(algorithm)
        with pytest.raises(InvalidInput, match=complaint) as caught:
            await site.publish(algorithm, **wanted)

        assert caught.value.code == 6001
        assert len(site.directory.versions_of(algorithm.algorithm_id)) == 1

    run(story)


def test_two_publishers_at_once_get_one_version(run):
    async def story(site):
        algorithm = await site.algorithm()
        await site.builds.build_now(algorithm)
        results = await asyncio.gather(
            *(site.publish(algorithm) for _ in range(4)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, VersionAlreadyPublished)]
        assert len(refused) == 3

    run(story)


def test_what_is_published_is_what_the_sample_was_run_on(run):
    async def story(site):
        class Interrupted:
            """A gate; while the sample runs, somebody else publishes a newer build."""

            async def run(self, build, text, *, publisher):
                await site.publish(algorithm, build=await site.builds.build_now(algorithm))
                return SampleRun(output=build.build_id)

        algorithm = await site.algorithm()
        build = await site.builds.build_now(algorithm)
        site.publishing._gate = Interrupted()
        version = await site.publish(
            algorithm, publisher=Principal(account=site.jane), sample_input="1"
        )

        assert version.build_id == version.sample_output == build.build_id
        assert str(version.semantic_version) == "0.2.0"

    run(story)


TYPED = """
from dataclasses import dataclass

@dataclass
class Request:
    {fields}

def apply(input: Request) -> {output}:
    return {{}}
"""


def typed(fields, output="str"):
    return {"src/Hello.py": TYPED.format(fields="\n    ".join(fields), output=output).encode()}


def test_what_may_break_for_callers_is_told_or_refused(run):
    async def story(site):
        algorithm = await site.algorithm(typed(["name: str", "age: int = 0"]))

        async def publish(fields, gate=PublishGate.WARN, **wanted):
            await site.commit(algorithm, typed(fields))
            await site.builds.build_now(algorithm)
            settings = replace(algorithm.settings, publish_gate=gate)
            return await site.publishing.publish(replace(algorithm, settings=settings), **wanted)

        assert (await publish(["name: str", "age: int = 0"])).warnings == ()
        assert (await publish(["name: str", "age: float = 0", "x: int = 1"])).warnings == ()
        assert (await publish(["name: str", "age: int", "x: int = 1"])).warnings == (
            "since version 0.2.0: input.age is required now",
            "since version 0.2.0: input.age: a number is not accepted any more",
        )
        assert (await publish(["other: str"], PublishGate.OFF)).warnings == ()
        with pytest.raises(InvalidInput, match=r"input\.name is required now") as refused:
            await publish(["name: str"], PublishGate.REFUSE)
        assert "publish_gate" in refused.value.hint
        assert len(site.directory.versions_of(algorithm.algorithm_id)) == 4
        newest = await publish(["name: str"], PublishGate.REFUSE, version_type="major")
        assert (str(newest.version.semantic_version), newest.warnings) == ("1.0.0", ())
        public = {"version_type": "major", "callability": Callability.PUBLIC}
        assert (await publish(["first: str"], **public)).warnings == ()

    run(story)


def test_a_version_has_its_documents_also_after_a_restart(run):
    async def publish(site):
        algorithm = await site.algorithm(typed(["name: str"]), settings=AlgorithmSettings())
        build = await site.builds.build_now(algorithm)
        return await site.publish(algorithm, publisher_id=site.jane.account_id), build

    version, build = run(publish)

    async def look(site):
        async with site.database.reading() as connection:
            return {
                kind: await rows.document(connection, version.version_id, kind=kind)
                for kind in Kind
            }

    documents = run(look)
    bill, statement = json.loads(documents["sbom"]), json.loads(documents["provenance"])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("jane/Hello", "0.1.0")
    assert [each["name"] for each in bill["components"]] == ["cpython"]
    assert statement["subject"][0] == {
        "name": "jane/Hello/0.1.0",
        "digest": {"sha256": build.tree_digest},
    }
    details = statement["predicate"]["runDetails"]
    assert details["metadata"]["algorium_publishedBy"] == "jane"
    assert details["metadata"]["invocationId"] == build.build_id
    material = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert material["digest"] == {"gitCommit": version.commit_sha}


def test_who_sees_which_documents(run):
    async def story(site):
        algorithm = await site.algorithm(typed(["name: str"]))
        await site.builds.build_now(algorithm)
        await site.publish(algorithm)
        stranger, owner = Principal(account=account("bob")), Principal(account=site.jane)

        def ref(version):
            return AlgorithmRef.parse(f"jane/Hello/{version}")

        found = site.documents.find(owner, ref("0.1.0"))
        assert "Request" in (await site.documents.signature(found)).input_schema
        with pytest.raises(NotAuthorized):
            site.documents.find(stranger, ref("0.1.0"))
        await site.builds.build_now(algorithm)
        await site.publish(algorithm, version_type="major", callability=Callability.PUBLIC)

        assert site.documents.find(stranger, ref("")).version.semantic_version.major == 1
        assert "in-toto" in await site.documents.document(stranger, ref("1.0.0"), Kind.PROVENANCE)
        for kind in (Kind.BILL, Kind.LOCK):
            with pytest.raises(NotAuthorized):
                await site.documents.document(stranger, ref("1.0.0"), kind)
            assert await site.documents.document(owner, ref("0.1.0"), kind) is not None
        for version in ("0.1.0", "7.0.0", "nonsense"):
            with pytest.raises(VersionNotFound):
                await site.documents.document(stranger, ref(version), Kind.PROVENANCE)
        settings = AlgorithmSettings(source_visibility=SourceVisibility.OPEN)
        site.directory.put_algorithm(replace(algorithm, settings=settings))
        assert "CycloneDX" in await site.documents.document(stranger, ref("1.0.0"), Kind.BILL)

    run(story)


def test_publishers_of_different_builds_get_different_versions(database, runner, tmp_path):
    async def story():
        site = await Site(tmp_path, database).start()
        algorithm = await site.algorithm()
        builds = [await site.builds.build_now(algorithm) for _ in range(4)]
        versions = await asyncio.gather(*(site.publish(algorithm, build=b) for b in builds))

        numbers = sorted(str(version.semantic_version) for version in versions)
        assert numbers == ["0.1.0", "0.2.0", "0.3.0", "0.4.0"]
        assert {version.build_id for version in versions} == {b.build_id for b in builds}

    runner.run(story())


def test_a_version_keeps_the_settings_it_was_published_with(run):
    async def story(site):
        shared = Scaling(isolation=Isolation.SHARED, slots_min=1)
        settings = AlgorithmSettings(is_pipeline_enabled=False, scaling=shared)
        algorithm = await site.algorithm(settings=settings)
        await site.builds.build_now(algorithm)
        version = await site.publish(algorithm, callability=Callability.PUBLIC)

        changed = replace(algorithm, settings=AlgorithmSettings(is_pipeline_enabled=True))
        await site.builds.build_now(changed)
        later = await site.publish(changed)
        return version, later

    version, later = run(story)
    assert (version.is_pipeline_enabled, later.is_pipeline_enabled) == (False, True)
    assert version.scaling == Scaling(isolation=Isolation.SHARED, slots_min=1)
    assert later.scaling == Scaling()
    assert later.callability is Callability.PUBLIC


def test_a_build_without_confinement_ends_as_failed(run):
    async def refuse(job, *, on_output):
        raise Unavailable("no sandbox here")

    async def story(site):
        algorithm = await site.algorithm()
        with pytest.raises(Unavailable):
            await site.builds.build_now(algorithm)
        return await _only_build(site)

    build = run(story, run_confined=refuse)
    assert build.status is BuildStatus.FAILED
    assert "no sandbox here" in build.log


def test_a_cancelled_build_ends_as_failed(run):
    began = asyncio.Event()

    async def hang(job, *, on_output):
        began.set()
        await asyncio.Event().wait()

    async def story(site):
        building = asyncio.create_task(site.builds.build_now(await site.algorithm()))
        await began.wait()
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        assert [path.name for path in (site.home / "builds").iterdir()] == []
        return await _only_build(site)

    assert run(story, run_confined=hang).status is BuildStatus.FAILED


def test_a_restart_clears_away_what_a_killed_server_left(run):
    async def leave(site):
        algorithm = await site.algorithm()
        good = await site.builds.build_now(algorithm)
        build = replace(
            good, build_id="killed", status=BuildStatus.IN_PROGRESS, finished_at=None, log=""
        )
        async with site.database.transaction() as connection:
            await rows.add_build(connection, build)
        for garbage in ("builds/killed", "builds/killed.work", "envs/half"):
            (site.home / garbage).mkdir()
        return good

    good = run(leave)

    async def look(site):
        assert [path.name for path in (site.home / "builds").iterdir()] == [good.build_id]
        assert not (site.home / "envs" / "half").exists()
        assert (site.home / "envs" / good.environment / "complete").exists()
        async with site.database.reading() as connection:
            return await rows.build(connection, "killed")

    killed = run(look)
    assert killed.status is BuildStatus.FAILED
    assert "the server stopped" in killed.log


def test_what_a_failed_commit_did_not_store_is_not_in_the_directory(run, monkeypatch):
    async def story(site):
        build = await site.builds.build_now(await site.algorithm())
        under_way = replace(build, build_id="killed", status=BuildStatus.IN_PROGRESS)
        async with site.database.transaction() as connection:
            await rows.add_build(connection, under_way)
        await site.directory.load()
        transaction = site.database.transaction

        @asynccontextmanager
        async def failing():
            async with transaction() as connection:
                yield connection
                raise Unavailable("the disk is full")

        monkeypatch.setattr(site.database, "transaction", failing)
        with pytest.raises(Unavailable):
            await site.builds.recover()
        return site.directory.build("killed").status

    assert run(story) is BuildStatus.IN_PROGRESS


async def _only_build(site):
    async with site.database.reading() as connection:
        (build,) = await rows.builds(connection)
        return await rows.build(connection, build.build_id)


# Demo


def write_examples(directory, catalog, **projects):
    directory.mkdir(exist_ok=True)
    (directory / "catalog.toml").write_text(catalog)
    for name, source in projects.items():
        (directory / name / "src" / "__pycache__").mkdir(parents=True)
        (directory / name / "src" / "Hello.py").write_bytes(source)
        (directory / name / "src" / "__pycache__" / "Hello.pyc").write_bytes(b"")
    return directory


ENTRY = """\
[[algorithm]]
owner = "demo"
name = "Hello"
tagline = ""
summary = "Greets"
license = "apache2"
"""
VERSION = """\
[[algorithm.version]]
version = "{version}"
source = "{source}"
release_notes = "Notes"
sample_input = '"HAL"'
sample_output = '"Hello HAL"'
"""
TWO_VERSIONS = (
    ENTRY
    + VERSION.format(version="0.1.0", source="old")
    + VERSION.format(version="0.1.1", source="new")
)


async def publish_demo(site, examples, *, late=False):
    lines = []
    failed = await site.demo.publish(examples, owner=site.jane, on_progress=lines.append, late=late)
    return failed, lines


def test_the_demo_is_published_once(run, tmp_path):
    new = HELLO["src/Hello.py"] + b"# new\n"
    examples = write_examples(
        tmp_path / "examples", TWO_VERSIONS, old=HELLO["src/Hello.py"], new=new
    )

    async def first(site):
        failed, lines = await publish_demo(site, examples)
        resolved = site.resolve("demo/Hello")

        assert failed == ()
        assert "demo/Hello/0.1.0: resolving requirements" in lines
        assert lines[-1] == "demo/Hello/0.1.1: published"
        assert resolved.version.is_public
        assert str(resolved.version.semantic_version) == "0.1.1"
        assert resolved.version.sample_input == '"HAL"'
        tree = site.builder.source_dir(resolved.build.build_id)
        assert (tree / "src/Hello.py").read_bytes() == new
        assert not (tree / "src/__pycache__").exists()
        old = site.builder.source_dir(site.resolve("demo/Hello/0.1.0").build.build_id)
        assert (old / "src/Hello.py").read_bytes() == HELLO["src/Hello.py"]
        assert site.directory.roles_of(site.jane.account_id) == {
            resolved.owner.account_id: Role.OWNER
        }

    run(first)

    async def second(site):
        assert await publish_demo(site, examples) == ((), [])
        assert site.jobs.jobs == []

    run(second)


def test_what_takes_its_time_to_build_is_published_later(run, tmp_path):
    late = ENTRY.replace('"Hello"', '"Late"', 1) + "is_late = true\n"
    catalog = TWO_VERSIONS + late + VERSION.format(version="1.0.0", source="new")
    code = HELLO["src/Hello.py"]
    examples = write_examples(tmp_path / "examples", catalog, old=code, new=code)

    async def story(site):
        assert (await publish_demo(site, examples))[0] == ()
        assert site.resolve("demo/Hello") is not None
        assert site.resolve("demo/Late") is None

        assert (await publish_demo(site, examples, late=True))[0] == ()
        assert site.resolve("demo/Late") is not None

    run(story)


def test_a_demo_that_cannot_be_built_is_told_and_tried_again(run, tmp_path):
    examples = write_examples(
        tmp_path / "examples", TWO_VERSIONS, old=b"import nowhere_at_all\n", new=b""
    )

    async def first(site):
        failed, lines = await publish_demo(site, examples)

        assert failed == ("demo/Hello/0.1.0",)
        assert "demo/Hello/0.1.0: not published" in lines
        assert any("nowhere_at_all" in line for line in lines)
        assert site.resolve("demo/Hello") is None

    run(first)
    for name in ("old", "new"):
        (examples / name / "src" / "Hello.py").write_bytes(HELLO["src/Hello.py"])

    async def second(site):
        failed, _ = await publish_demo(site, examples)
        assert failed == ()
        assert str(site.resolve("demo/Hello").version.semantic_version) == "0.1.1"

    run(second)


def test_what_nobody_expected_is_told_and_the_rest_of_the_demo_published(run, tmp_path):
    plain = PlainJobs()
    is_first = True

    async def stumble(job, *, on_output):
        nonlocal is_first
        if is_first:
            is_first = False
            raise TimeoutError
        return await plain(job, on_output=on_output)

    catalog = "".join(
        ENTRY.replace("Hello", name) + VERSION.format(version="0.1.0", source="new")
        for name in ("Hello", "Other")
    )
    examples = write_examples(tmp_path / "examples", catalog, new=HELLO["src/Hello.py"])
    (examples / "new" / "algorithmia.conf").write_text('{"algoname": "Hello"}')

    async def story(site):
        failed, lines = await publish_demo(site, examples)

        assert failed == ("demo/Hello",)
        assert "demo/Hello: not published: an internal error" in lines
        assert site.resolve("demo/Hello") is None
        assert site.resolve("demo/Other") is not None

    run(story, run_confined=stumble)


@pytest.mark.parametrize(
    ("catalog", "complaint"),
    [
        ("", "'algorithm' is missing"),
        ("algorithm = 1", "catalog.toml"),
        ("[[algorithm]]\nname = 1", "'owner' is missing"),
        ("[[", "catalog.toml"),
        (ENTRY + VERSION.format(version="1", source="x"), "not a semantic version"),
        (ENTRY + "scaling = {slots_min = -1}\n" + VERSION, "slots_min must be between"),
        (ENTRY + 'scaling = {isolation = "none"}\n' + VERSION, "Invalid enum value 'none'"),
    ],
)
def test_a_catalog_that_cannot_be_read_is_named(run, tmp_path, catalog, complaint):
    examples = write_examples(tmp_path / "examples", catalog)

    async def story(site):
        with pytest.raises(InvalidInput, match=complaint):
            await publish_demo(site, examples)

    run(story)


def test_a_demo_in_a_language_that_the_host_lacks_is_skipped(run, tmp_path, monkeypatch):
    monkeypatch.setattr(languages, "why_not", lambda language: "apt-get install ruby")
    catalog = TWO_VERSIONS.replace("owner =", 'language = "ruby"\nowner =')
    examples = write_examples(tmp_path / "examples", catalog)

    async def story(site):
        skipped = ["demo/Hello: skipped: apt-get install ruby"]
        assert await publish_demo(site, examples) == ((), skipped)
        assert site.resolve("demo/Hello") is None

    run(story)


@pytest.mark.network
@pytest.mark.slow
def test_the_examples_in_python_are_built_tested_and_published(run):
    # The others are slow, and tested with a whole server.
    async def story(site):
        failed, lines = await publish_demo(site, EXAMPLES)
        assert failed == (), "\n".join(lines)
        return {
            ref: (
                site.environments.path(resolved.build.environment),
                site.builder.source_dir(resolved.build.build_id),
            )
            for ref in (
                "demo/Hello/0.1.0",
                "demo/Hello/0.1.1",
                "util/Echo/0.2.1",
                "util/Sleep/0.1.0",
                "nlp/LDA/1.0.0",
                "dlib/FaceDetection/0.2.1",
            )
            if (resolved := site.resolve(ref))
        }

    built = run(story, inherited=dict(os.environ))

    assert len(built) == 6
    environment, source = built["nlp/LDA/1.0.0"]
    documents = ["The apples are ready for picking", "It's apple picking season"]
    answer = subprocess.run(
        [
            environment / "bin" / "python",
            "-c",
            f"import json; from src.LDA import apply; print(json.dumps(apply({documents!r})))",
        ],
        cwd=source,
        capture_output=True,
        check=True,
    ).stdout
    assert json.loads(answer) == [
        {"picking": 2},
        {"apple": 1},
        {"apples": 1, "ready": 1},
        {"season": 1},
    ]
