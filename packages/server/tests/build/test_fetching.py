"""Commits from elsewhere, over real SSH: kept, limited, and only from the server that we know."""

import asyncio
import os
import shutil
import subprocess

import pytest
from build_site import JANE
from scm_providers.github_place import GitHubPlace
from scm_providers.place import GIT_ENV, running

from algorium_server.build.providers.provider import GitLogin
from algorium_server.build.source.fetching import Fetching, new_deploy_key
from algorium_server.build.source.remotes import FetchFailed, Remote, RemoteGit
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.limits import GIT_PROCESS_MEMORY_BYTES, MIB

OURS = "refs/heads/master"


class Site:
    """A repository at a provider, and an empty one here."""

    def __init__(self, place, directory):
        self.place = place
        self.directory = directory
        self.repo = place.create("octojane", "hello")
        self.private_key, self.public_key = new_deploy_key()
        place.add_key(self.repo, "deploy", self.public_key)
        self.repositories = Repositories(directory / "repos")
        asyncio.run(self.repositories.create("owner", "algorithm"))
        self.path = self.repositories.path("owner", "algorithm")
        self.fetching = Fetching(directory / "hosts", inherited={})

    @property
    def remote(self):
        return Remote(
            url=f"{self.place.ssh}/{self.repo.full_name}.git",
            known_hosts="github",
            private_key=self.private_key,
        )

    def commit(self, files, *, branch="main", parent="HEAD"):
        """Make a commit at the provider, on top of *parent* or of nothing."""
        index = {**GIT_ENV, "GIT_INDEX_FILE": str(self.directory / "index")}
        (self.directory / "index").unlink(missing_ok=True)
        author = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")

        def git(*words, content=None):
            done = subprocess.run(
                ["git", "-C", str(self.repo.path), *author, *words],
                env=index,
                input=content,
                capture_output=True,
                check=True,
            )
            return done.stdout.decode().strip()

        for name, content in files.items():
            blob = git("hash-object", "-w", "--stdin", content=content)
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
        parents = ("-p", parent) if parent and self.repo.heads() else ()
        sha = git("commit-tree", git("write-tree"), *parents, "-m", "Change")
        git("update-ref", f"refs/heads/{branch}", sha)
        return sha

    def fetch(self, **options):
        return asyncio.run(self.fetching.fetch(self.path, self.remote, branch="main", **options))

    def refs(self):
        lines = subprocess.run(
            ["git", "-C", str(self.path), "for-each-ref", "--format=%(refname) %(objectname)"],
            env=GIT_ENV,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        return dict(line.split() for line in lines)


@pytest.fixture
def site(tmp_path):
    with running(GitHubPlace(tmp_path / "github")) as place:
        yield Site(place, tmp_path)
        assert list((tmp_path / "hosts").glob("git-*")) == []  # no key lies around


def test_the_newest_commit_is_fetched_and_history_that_is_rewritten_is_kept(site):
    assert asyncio.run(site.fetching.head(site.remote)) is None
    first = site.commit({"a": b"1"})
    head = asyncio.run(site.fetching.head(site.remote))

    assert (head.branch, head.sha) == ("main", first)
    assert site.fetch() == first
    second = site.commit({"a": b"2"})
    assert site.fetch(newest=second) == second
    assert site.fetch(newest=second) == second
    assert set(site.refs()) == {OURS, "refs/incoming/head"}
    rewritten = site.commit({"b": b"3"}, parent="")
    assert site.fetch() == rewritten
    assert site.refs()[OURS] == rewritten
    assert site.refs()[f"refs/rewritten/{second}"] == second
    asyncio.run(site.repositories.check_out("owner", "algorithm", first, site.directory / "out"))
    assert (site.directory / "out" / "a").read_bytes() == b"1"


def test_a_key_that_is_not_known_any_more_is_refused_in_the_hosts_words(site):
    site.commit({"a": b"1"})
    site.repo.keys.clear()

    with pytest.raises(FetchFailed) as refused:
        site.fetch()
    assert refused.value.is_refused
    assert "denied" in refused.value.reason.lower()


def test_a_server_that_has_become_another_one_is_not_trusted(site, tmp_path):
    site.commit({"a": b"1"})
    site.fetch()
    known = tmp_path / "hosts" / "github.known_hosts"
    other = known.read_text().split()
    _, public = new_deploy_key()
    known.write_text(f"{other[0]} {public}\n")

    with pytest.raises(FetchFailed) as refused:
        site.fetch()
    assert not refused.value.is_refused
    assert "host key" in refused.value.reason.lower()


def test_a_repository_that_brings_too_much_is_given_up(site, tmp_path):
    import random  # noqa: PLC0415 - bytes that do not get smaller

    site.commit({"large": random.Random(1).randbytes(3_000_000)})
    site.fetching = Fetching(tmp_path / "hosts", inherited={}, fetch_bytes_max=1024 * 1024)

    with pytest.raises(FetchFailed, match="more than 1 MiB"):
        site.fetch()
    assert OURS not in site.refs()
    assert list((site.path / "objects" / "pack").glob("tmp_*")) == []


def test_git_takes_no_more_memory_than_it_may(tmp_path):
    git = RemoteGit(tmp_path, inherited={}, bytes_max=16 * MIB, check=None)
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, GIT_PROCESS_MEMORY_BYTES + MIB)  # of holes: nothing is written

    # The setting has git map the whole file, as it would any object but a large one.
    whole = ("-c", "core.bigFileThreshold=1000g", "hash-object", "--no-filters", "--")
    with pytest.raises(FetchFailed, match="takes more than 4096 MiB of memory"):
        asyncio.run(git.here(tmp_path, *whole, str(large)))
    small = tmp_path / "small"
    small.write_bytes(b"1")
    assert len(asyncio.run(git.here(tmp_path, *whole, str(small))).strip()) == 40


def test_many_large_files_count_together(site, tmp_path):
    site.commit({f"{n}": os.urandom(400_000) for n in range(5)})
    site.fetching = Fetching(tmp_path / "hosts", inherited={}, fetch_bytes_max=1_000_000)

    with pytest.raises(FetchFailed, match="more than"):
        site.fetch()
    assert site.refs() == {}


def test_a_repository_that_is_removed_here_meanwhile_is_an_error_in_words(site):
    site.commit({"a": b"1"})
    shutil.rmtree(site.path)

    with pytest.raises(FetchFailed, match="No such file") as caught:
        site.fetch()
    assert not caught.value.is_refused


def test_hosts_that_are_not_there_and_branches_that_are_gone(site):
    with pytest.raises(FetchFailed, match="main"):
        site.fetch()
    nowhere = Remote(
        url="ssh://git@127.0.0.1:1/x/y.git", known_hosts="x", private_key=site.private_key
    )
    with pytest.raises(FetchFailed, match="refused"):
        asyncio.run(site.fetching.head(nowhere))
    for url in ("file:///etc", "ext::sh -c true", str(site.repo.path)):
        forbidden = Remote(url=url, known_hosts="x", private_key=site.private_key)
        with pytest.raises(FetchFailed, match=r"not allowed|disabled"):
            asyncio.run(site.fetching.head(forbidden))


def test_a_push_and_a_fetch_over_http_show_the_token_and_follow_no_redirection(site, monkeypatch):
    files = {".gitattributes": b"*.bin filter=lfs\n", "a": b"1"}
    sha = asyncio.run(
        site.repositories.commit("owner", "algorithm", files, author=JANE, message="Begin")
    )
    remote = Remote(
        url=f"{site.place.web}/{site.repo.full_name}.git",
        known_hosts="github",
        login=GitLogin(username="x-access-token", password=site.place.token),
    )
    asyncio.run(site.fetching.push(site.path, remote, branch="main"))

    assert site.repo.heads() == {"refs/heads/main": sha}
    assert asyncio.run(site.fetching.has_pointers(site.path, sha))
    wrong = Remote(
        url=remote.url, known_hosts="x", login=GitLogin(username="x", password="wrong-secret")
    )
    with pytest.raises(FetchFailed) as refused:
        asyncio.run(site.fetching.head(wrong))
    assert refused.value.is_refused
    assert "wrong-secret" not in refused.value.reason

    def moved(_call, _match):
        return 301, b"", {"Location": "http://127.0.0.1:9/elsewhere.git/info/refs"}

    monkeypatch.setattr(site.place, "git_over_http", moved)
    with pytest.raises(FetchFailed):
        asyncio.run(site.fetching.head(remote))
