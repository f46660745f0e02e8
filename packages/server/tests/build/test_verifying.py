"""Verifying versions: what was changed is found, and what cannot be known is not claimed."""

import asyncio
import os
import shutil
from dataclasses import replace

import pytest
from build_site import NOW, Site
from rows import account

from algorium_server.domain.algorithms import Algorithm, BuildStatus, Resolved, Signature
from algorium_server.domain.languages import Language
from algorium_server.services.authoring.verifying import State, Verifying
from algorium_server.store import accounts as account_rows
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database, sqlite_url

SOURCE = b"""\
import lower

def apply(input: str) -> int:
    return lower.VALUE
"""


class Place:
    """One successful build of a project that needs one package."""

    def __init__(self, home, jobs, sqlite_file, index):
        self.home = home
        self.url = sqlite_url(sqlite_file)
        self.jobs = jobs
        self.site = Site(home, jobs)
        requirements = f"{index.lines}lower\n".encode()
        files = {"src/Hello.py": SOURCE, "requirements.txt": requirements}
        self.build = self.site.build(files)
        assert self.build.status is BuildStatus.SUCCEEDED, self.build.log
        self.tree = home / "builds" / self.build.build_id
        self.environment = home / "envs" / self.build.environment
        (self.packages,) = self.environment.glob("lib/python*/site-packages")

    def verify(self, **changed):
        """Verify the build, with some of what was noted changed; return state and details."""
        return asyncio.run(self._verify(replace(self.build, finished_at=NOW, **changed)))

    async def _verify(self, build):
        owner = account("owner")
        algorithm = Algorithm(
            algorithm_id=build.algorithm_id, owner_id="owner", name="Hello", created_at=NOW
        )
        owner = replace(owner, account_id="owner")
        async with await Database.open(self.url) as database:
            async with database.transaction() as connection:
                if build.build_id not in {each.build_id for each in await rows.builds(connection)}:
                    await account_rows.add_account(connection, owner)
                    await rows.add_algorithm(connection, algorithm)
                    await rows.add_build(connection, build)
                await rows.update_build(connection, build)
            verifying = Verifying(database=database, home=self.home, run_confined=self.jobs)
            verdict = await verifying.verify(
                Resolved(algorithm=algorithm, owner=owner, version=None, build=build)
            )
        assert verdict.name == f"owner/Hello/{build.commit_sha}"
        self.verdict = verdict
        return {check.name: (check.state, check.details) for check in verdict.checks}


@pytest.fixture
def place(tmp_path, jobs, sqlite_file, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    return Place(tmp_path / "home", jobs, sqlite_file, index)


def test_an_untouched_build_is_the_same(place):
    found = place.verify()

    assert {name: state for name, (state, _) in found.items()} == dict.fromkeys(
        ("source", "tree", "environment", "bytecode", "signature"), State.SAME
    ), found
    assert place.verdict.is_same


def test_what_was_changed_is_named(place):
    module = place.packages / "lower.py"
    module.chmod(0o644)
    module.write_text("VALUE = 42\n")  # in the cache as well: both are the same file
    (place.tree / "src" / "Hello.py").unlink()
    found = place.verify(
        tree_digest="00" * 32, signature=Signature(input_schema="{}", output_schema="")
    )

    name = module.relative_to(place.environment).as_posix()
    assert found["environment"] == (State.DIFFERENT, (f"{name} was changed",))
    assert found["bytecode"][0] is State.DIFFERENT
    assert found["tree"] == (State.DIFFERENT, ("src/Hello.py is missing",))
    assert found["source"][0] is State.DIFFERENT
    assert found["signature"] == (
        State.DIFFERENT,
        (
            "the schema of the input is another one now",
            "the schema of the result is another one now",
        ),
    )


def test_without_packages_it_is_unknown_unless_a_record_tells(place, index):
    for wheel in index.directory.iterdir():
        wheel.unlink()
    found = place.verify()

    state, (why, so_far) = found["environment"]
    assert state is State.UNKNOWN
    assert "cannot be downloaded anew" in why
    assert "records" in so_far
    assert found["signature"][0] is State.UNKNOWN
    assert not place.verdict.is_same


def test_what_is_gone_is_told(place):
    os.chmod(place.environment, 0o755)
    for folder, _, _ in os.walk(place.environment):
        os.chmod(folder, 0o755)
    shutil.rmtree(place.environment)
    shutil.rmtree(place.tree)
    found = place.verify()
    assert found["tree"] == (State.DIFFERENT, ("the tree of the build is missing",))
    assert found["environment"][0] is State.DIFFERENT
    assert "bytecode" not in found


def test_a_commit_that_is_gone_is_told(place):
    found = place.verify(commit_sha="ef" * 20)

    assert list(found) == ["commit"]
    assert found["commit"][0] is State.DIFFERENT


def test_an_interpreter_that_is_gone_is_told(place):
    found = place.verify(environment="0" * 32)

    assert found["environment"][0] is not State.SAME
    assert "interpreter" in found["signature"][1][0]


def test_other_languages_are_built_again(place):
    # Without their tools here, it cannot be known whether they give the same.
    found = place.verify(language=Language.RUST)

    assert found["source"][0] is State.SAME
    assert found["tree"][0] in {State.SAME, State.UNKNOWN}


def test_nothing_is_left_behind(place, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    place.verify()

    assert list((tmp_path / "scratch").iterdir()) == []
