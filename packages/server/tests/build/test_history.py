"""The history of repositories that git has made, merges included."""

import asyncio
import subprocess
from datetime import UTC, datetime

import pytest

from algorium_server.build.source.abandoned import sweep_repositories
from algorium_server.build.source.history import has_commit, history
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.errors import NotFound


class Author:
    """Somebody with a clone who pushes."""

    def __init__(self, place, repository):
        self.clone = place / "clone"
        self.seconds = 1_700_000_000
        self.git("clone", "--quiet", str(repository), str(self.clone), cwd=place)

    def git(self, *arguments, cwd=None):
        self.seconds += 1
        date = f"{self.seconds} +0000"
        command = ["git", "-c", "user.name=Jane", "-c", "user.email=j@example.org", *arguments]
        env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nowhere"}
        done = subprocess.run(
            command,
            cwd=cwd or self.clone,
            env=env | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, name):
        (self.clone / name).write_text(name)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", f"{name}\n\nMore")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    repositories = Repositories(tmp_path / "repos")
    asyncio.run(repositories.create("owner", "algorithm"))
    return repositories.path("owner", "algorithm")


def shas(repository, **ends):
    return [each.commit_sha for each in asyncio.run(history(repository, **ends))]


def test_ranges_are_those_of_git_also_around_merges(tmp_path, repository):
    author = Author(tmp_path, repository)
    first, second = author.commit("first"), author.commit("second")
    author.git("checkout", "--quiet", "-b", "side", first)
    side = author.commit("side")
    author.git("checkout", "--quiet", "master")
    author.git("merge", "--quiet", "--no-edit", "side")
    merged = author.git("rev-parse", "HEAD")
    last = author.commit("last")
    author.git("push", "--quiet", "origin", "master")

    assert shas(repository, until=last) == [last, merged, side, second, first]
    assert shas(repository, until=last, since=second) == [last, merged, side, second]
    assert shas(repository, until=second) == [second, first]
    assert shas(repository, until=first, since=first) == [first]
    assert shas(repository, until=first, since=last) == []
    assert shas(repository, until=last, entries_max=2) == [last, merged]
    newest = asyncio.run(history(repository, until=last))[0]
    assert (newest.subject, newest.message) == ("last", "last\n\nMore\n")
    assert newest.author == "Jane <j@example.org>"


def test_what_is_no_commit_is_not_found(tmp_path, repository):
    author = Author(tmp_path, repository)
    commit = author.commit("first")
    tree = author.git("rev-parse", "HEAD^{tree}")
    author.git("push", "--quiet", "origin", "master")

    assert asyncio.run(has_commit(repository, commit))
    for name in (tree, "f" * 40, "master", "", commit[:10], commit.upper(), "\0", "é" * 40):
        assert not asyncio.run(has_commit(repository, name))
        with pytest.raises(NotFound):
            shas(repository, until=name)
        if name:
            with pytest.raises(NotFound):
                shas(repository, until=commit, since=name)
    with pytest.raises(NotFound):
        shas(tmp_path / "nowhere", until=commit)


def test_a_sweep_takes_what_is_old_and_unknown(tmp_path, repository):
    kept = repository.stat().st_mtime

    async def sweep(known, before):
        async def ids():
            return known

        await sweep_repositories(tmp_path / "repos", ids, before=before)

    moment = datetime.fromtimestamp(kept, UTC)
    asyncio.run(sweep({"algorithm"}, moment.replace(year=moment.year + 1)))
    asyncio.run(sweep(set(), moment.replace(year=moment.year - 1)))
    assert repository.is_dir()
    asyncio.run(sweep(set(), moment.replace(year=moment.year + 1)))
    assert not repository.exists()
    asyncio.run(sweep(set(), moment))
