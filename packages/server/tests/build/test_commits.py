"""Changes to the newest commit, as editors make them."""

import asyncio
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from dulwich.objects import Blob
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_server.build.source.commits import FileChange, commit_changes
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.errors import ConditionFailed, InvalidInput, Unavailable

JANE = Signature(name="Jane", email="jane@example.org", at=datetime(2026, 1, 2, tzinfo=UTC))
FILES = {"a": b"1", "dir/b": b"2", "dir/deep/c": b"3"}


@pytest.fixture
def repositories(tmp_path):
    return begun(Repositories(tmp_path / "repos"), FILES)


def begun(repositories, files):
    asyncio.run(repositories.create("owner", "algorithm"))
    asyncio.run(repositories.commit("owner", "algorithm", files, author=JANE, message="Begin\n"))
    return repositories


def change(repositories, *changes, parent=""):
    return asyncio.run(
        repositories.change(
            "owner", "algorithm", changes, parent=parent, author=JANE, message="Change\n"
        )
    )


def put(path, content, **options):
    return FileChange(path=path, content=content, **options)


def tree(repositories):
    """Return what git says is there."""
    path = repositories.path("owner", "algorithm")
    told = git(path, "ls-tree", "-r", "-z", "master")
    files = {}
    for line in told.decode().split("\0")[:-1]:
        head, _, name = line.partition("\t")
        mode, _, blob = head.split()
        files[name] = (mode, git(path, "cat-file", "blob", blob))
    return files


def git(path, *arguments):
    return subprocess.run(
        ["git", "--git-dir", path, *arguments], check=True, capture_output=True
    ).stdout


def test_files_are_changed_added_and_deleted_in_one_commit(repositories):
    sha = change(
        repositories, put("a", b"new"), put("x/y", b"4", is_program=True), put("dir/b", None)
    )

    assert tree(repositories) == {
        "a": ("100644", b"new"),
        "dir/deep/c": ("100644", b"3"),
        "x/y": ("100755", b"4"),
    }
    path = repositories.path("owner", "algorithm")
    assert git(path, "rev-list", "--count", "master") == b"2\n"
    assert git(path, "rev-parse", "master").decode().strip() == sha
    git(path, "fsck", "--strict")


def test_a_program_stays_one_and_no_change_makes_no_commit(repositories):
    first = change(repositories, put("run", b"1", is_program=True))
    second = change(repositories, put("run", b"2"))

    assert tree(repositories)["run"] == ("100755", b"2")
    assert change(repositories, put("run", b"2")) == second != first


def test_a_directory_may_take_the_place_of_a_file(repositories):
    change(repositories, put("a", None), put("a/b", b"5"), put("dir/deep/c", None))

    assert set(tree(repositories)) == {"a/b", "dir/b"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([put("dir", b"")], "is a directory"),
        ([put("dir", None)], "there is no file"),
        ([put("none", None)], "there is no file"),
        ([put("a/b", b"")], "lies in what is a file"),
        ([put("../a", b"")], "cannot be the path"),
        ([put("x/.GIT/config", b"")], "cannot be the path"),
        ([put("/a", b"")], "cannot be the path"),
        ([put("a\0", b"")], "cannot be the path"),
        ([put("\udc80", b"")], "cannot be the path"),
        ([put("d/" * 64 + "f", b"")], "cannot be the path"),
        ([put("a", b"1"), put("a", b"2")], "once"),
        ([put(name, None) for name in FILES], "at least one file"),
    ],
)
def test_what_cannot_be_is_refused_as_a_whole(repositories, changes, words):
    with pytest.raises(InvalidInput, match=words):
        change(repositories, put("fine", b""), *changes) if len(changes) < 3 else change(
            repositories, *changes
        )

    assert {name: content for name, (_, content) in tree(repositories).items()} == FILES


def test_a_commit_may_insist_on_its_parent(repositories):
    first = change(repositories, put("a", b"2"))
    second = change(repositories, put("a", b"3"), parent=first)

    with pytest.raises(ConditionFailed) as refusal:
        change(repositories, put("a", b"4"), parent=first)
    assert refusal.value.fields["head"] == second
    assert tree(repositories)["a"][1] == b"3"


def test_nothing_is_lost_when_many_commit_at_once(repositories):
    path = repositories.path("owner", "algorithm")

    def write(number):  # as several gateways would: past the lock of one
        for _ in range(50):
            try:
                return commit_changes(
                    path,
                    [put(f"n{number}", b"x")],
                    parent="",
                    author=JANE,
                    message=f"{number}\n",
                )
            except Unavailable:
                continue  # "try again", which editors do
        raise AssertionError("never got its turn")

    with ThreadPoolExecutor(4) as threads:
        commits = list(threads.map(write, range(12)))

    assert len(set(commits)) == 12
    assert {f"n{number}" for number in range(12)} <= set(tree(repositories))
    assert git(path, "rev-list", "--count", "master") == b"13\n"


def test_locks_of_the_dead_do_not_keep_others_out(repositories):
    path = repositories.path("owner", "algorithm")
    blob = Blob.from_string(b"new").id.decode()
    locks = [path / "refs/heads/master.lock", path / f"objects/{blob[:2]}/{blob[2:]}.lock"]
    for lock in locks:
        lock.parent.mkdir(exist_ok=True)
        lock.touch()
        os.utime(lock, (0, 0))

    change(repositories, put("a", b"new"))

    assert tree(repositories)["a"][1] == b"new"


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a"])


@settings(max_examples=25)
@given(
    st.lists(
        st.dictionaries(NAMES, st.one_of(st.none(), st.binary(max_size=3)), min_size=1),
        max_size=4,
    )
)
def test_the_tree_is_what_the_changes_say(tmp_path_factory, steps):
    repositories = begun(Repositories(tmp_path_factory.mktemp("r")), {"keep": b""})
    expected = {"keep": b""}
    for step in steps:
        wanted = {n: c for n, c in step.items() if c is not None or n in expected}
        if not wanted:
            continue
        change(repositories, *(put(name, content) for name, content in wanted.items()))
        expected |= wanted
        expected = {name: content for name, content in expected.items() if content is not None}

    found = {name: content for name, (_, content) in tree(repositories).items()}
    assert found == expected
    assert all(stat.S_ISREG(int(mode, 8)) for mode, _ in tree(repositories).values())
