"""Bare git repositories: commits go in, plain files come out, forged trees do not."""

import asyncio
import stat
import subprocess
from datetime import UTC, datetime

import pytest
from dulwich.objects import Blob, Commit, Tree
from dulwich.repo import Repo

from algorium_server.build.confined import BuildFailed
from algorium_server.build.source.repositories import FileChange, Repositories, Signature
from algorium_server.domain import limits
from algorium_server.domain.errors import InvalidInput, NotFound

JANE = Signature(name="Jane <b>\n", email="jane@example.org", at=datetime(2026, 1, 2, tzinfo=UTC))
FILES = {"algorithmia.conf": b"{}", "src/Hello.py": b"def apply(input): ...\n", "src/a/b/c": b""}


@pytest.fixture
def repositories(tmp_path):
    repositories = Repositories(tmp_path / "repos")
    asyncio.run(repositories.create("owner", "algorithm"))
    return repositories


@pytest.fixture
def commit(repositories):
    def commit(files, message="Change"):
        return asyncio.run(
            repositories.commit("owner", "algorithm", files, author=JANE, message=message)
        )

    return commit


@pytest.fixture
def check_out(repositories, tmp_path):
    def check_out(sha):
        target = tmp_path / "builds" / sha
        return target, asyncio.run(repositories.check_out("owner", "algorithm", sha, target))

    return check_out


@pytest.fixture
def forge(repositories):
    """Put a commit into the repository that git itself would refuse to make."""

    def forge(entries, message=b"Forged"):
        with Repo(str(repositories.path("owner", "algorithm"))) as repository:
            tree = _forged_tree(repository, entries)
            commit = Commit()
            commit.tree = tree.id
            commit.author = commit.committer = b"Mallory <>"
            commit.author_time = commit.commit_time = 0
            commit.author_timezone = commit.commit_timezone = 0
            commit.message = message
            repository.object_store.add_object(commit)
            return commit.id.decode()

    return forge


def test_objects_that_unpack_to_much_are_not_read(forge, check_out, repositories):
    sha = forge([(b"a", 0o100644, b"")], message=b"x" * limits.SOURCE_OBJECT_BYTES_MAX)
    with Repo(str(repositories.path("owner", "algorithm"))) as repository:
        repository.refs[b"refs/heads/master"] = sha.encode()
    change = FileChange(path="a", content=b"1")

    with pytest.raises(BuildFailed, match="a commit is larger than 8 MiB"):
        check_out(sha)
    with pytest.raises(InvalidInput, match="a commit is larger than 8 MiB"):
        asyncio.run(
            repositories.change("owner", "algorithm", [change], author=JANE, message="Change")
        )


def _forged_tree(repository, entries, known=None):
    """Serialise by hand: the library refuses names and orders that we want to see refused."""
    known = {} if known is None else known  # a list that occurs twice is one tree
    if id(entries) not in known:
        lines = b""
        for name, mode, content in entries:
            target = content
            if isinstance(content, list):
                target = _forged_tree(repository, content, known)
            elif isinstance(content, bytes):
                target = Blob.from_string(content)
                repository.object_store.add_object(target)
            lines += b"%o %s\0" % (mode, name) + bytes.fromhex(target.id.decode())
        known[id(entries)] = Tree.from_string(lines)
        repository.object_store.add_object(known[id(entries)])
    return known[id(entries)]


def test_a_commit_comes_out_as_it_went_in(commit, check_out):
    target, checkout = check_out(commit(FILES))

    written = {p.relative_to(target).as_posix(): p for p in target.rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in written.items()} == FILES
    assert checkout.files == tuple(sorted(FILES))
    assert checkout.size_bytes == sum(map(len, FILES.values()))


def test_a_commit_replaces_the_whole_tree_and_keeps_history(commit, check_out, repositories):
    first = commit(FILES)
    second = commit({"other": b"1"})

    assert asyncio.run(repositories.head("owner", "algorithm")) == second
    assert check_out(second)[1].files == ("other",)
    assert check_out(first)[1].files == tuple(sorted(FILES))


def test_the_same_tree_again_is_the_same_commit(commit):
    first = commit(FILES)

    assert commit(dict(reversed(FILES.items())), "Nothing new") == first
    assert commit({**FILES, "new": b""}) != first


def test_git_itself_reads_the_repository(commit, repositories, tmp_path):
    commit(FILES, "First line\n\nMore.")
    path = repositories.path("owner", "algorithm")
    log = subprocess.run(
        ["git", "-C", path, "log", "--format=%an|%ae|%at|%s", "master"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert log == "Jane b|jane@example.org|1767312000|First line\n"
    subprocess.run(["git", "-C", path, "fsck", "--strict"], check=True, capture_output=True)


def test_many_writers_at_once_lose_nothing(repositories):
    async def write_all():
        await asyncio.gather(
            *(
                repositories.commit(
                    "owner", "algorithm", {f"file{i}": b""}, author=JANE, message=str(i)
                )
                for i in range(3)
            )
        )

    asyncio.run(write_all())
    with Repo(str(repositories.path("owner", "algorithm"))) as repository:
        messages = {entry.commit.message for entry in repository.get_walker()}

    assert messages == {b"0", b"1", b"2"}


def test_creating_again_changes_nothing(commit, repositories):
    sha = commit(FILES)
    asyncio.run(repositories.create("owner", "algorithm"))

    assert asyncio.run(repositories.head("owner", "algorithm")) == sha


def test_a_new_repository_has_no_head_and_a_missing_one_is_not_found(repositories):
    assert asyncio.run(repositories.head("owner", "algorithm")) is None
    with pytest.raises(NotFound):
        asyncio.run(repositories.head("owner", "none"))


@pytest.mark.parametrize("sha", ["0" * 40, "HEAD", "", "../../x"])
def test_an_unknown_commit_is_not_found(commit, check_out, sha):
    commit(FILES)

    with pytest.raises(NotFound):
        check_out(sha)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", ".", "a/../b", ".git/hooks/x", "a/.GIT", "a\0b", "\ud800"]
)
def test_paths_that_lead_elsewhere_are_not_committed(commit, path):
    with pytest.raises(InvalidInput):
        commit({path: b""})


def test_a_file_cannot_lie_in_a_file(commit):
    with pytest.raises(InvalidInput, match="a file itself"):
        commit({"a": b"", "a/b/c": b""})


def test_a_commit_needs_files(commit):
    with pytest.raises(InvalidInput, match="at least one"):
        commit({})


def test_programs_stay_programs(forge, check_out):
    target, _ = check_out(forge([(b"a", 0o100644, b""), (b"b", 0o100755, b"")]))

    assert not (target / "a").stat().st_mode & stat.S_IXUSR
    assert (target / "b").stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([(b"link", 0o120000, b"/etc/passwd")], "symbolic link"),
        ([(b"link", 0o120000, b"inside"), (b"inside", 0o100644, b"")], "symbolic link"),
        ([(b"sub", 0o160000, b"")], "submodule"),
        ([(b"..", 0o040000, [(b"x", 0o100644, b"")])], "cannot be the name"),
        ([(b".", 0o100644, b"")], "cannot be the name"),
        ([(b"a/b", 0o100644, b"")], "cannot be the name"),
        ([(b".git", 0o040000, [(b"config", 0o100644, b"")])], "cannot be the name"),
        ([(b".GiT", 0o100644, b"")], "cannot be the name"),
        ([(b"a", 0o040000, b"not a tree")], "not a directory"),
        ([(b"a", 0o100644, [(b"b", 0o100644, b"")])], "not a file"),
    ],
)
def test_forged_trees_are_refused_and_nothing_is_left(
    forge, check_out, tmp_path, entries, complaint
):
    sha = forge(entries)

    with pytest.raises(BuildFailed, match=complaint):
        check_out(sha)
    assert not (tmp_path / "builds" / sha).exists()


def test_a_doubled_name_is_one_file(forge, check_out):
    entries = [(b"a", 0o120000, b"/etc"), (b"a", 0o040000, [(b"passwd", 0o100644, b"root")])]
    target, checkout = check_out(forge(entries))

    assert checkout.files == ("a/passwd",)
    assert not (target / "a").is_symlink()


def test_a_missing_object_is_told(forge, check_out):
    absent = Blob.from_string(b"never stored")

    with pytest.raises(BuildFailed, match="missing"):
        check_out(forge([(b"a", 0o100644, absent)]))


def test_a_tree_that_names_itself_a_million_times_is_refused(forge, check_out, monkeypatch):
    monkeypatch.setattr("algorium_server.build.source.checkout.SOURCE_FILES_MAX", 200)
    entries = [(b"file", 0o100644, b"")]
    for _ in range(20):
        entries = [(b"x", 0o040000, entries), (b"y", 0o040000, entries)]

    with pytest.raises(BuildFailed, match=r"more than|too many"):
        check_out(forge(entries))


def test_deep_trees_are_refused(forge, check_out):
    entries = [(b"file", 0o100644, b"")]
    for _ in range(limits.SOURCE_DIRECTORIES_DEEP_MAX + 1):
        entries = [(b"d", 0o040000, entries)]

    with pytest.raises(BuildFailed, match="too many directories"):
        check_out(forge(entries))


def test_a_source_over_the_limit_is_refused(commit, check_out, monkeypatch):
    sha = commit({"a": b"x" * 100, "b": b"x" * 100})
    monkeypatch.setattr("algorium_server.build.source.checkout.SOURCE_BYTES_MAX", 150)
    monkeypatch.setattr("algorium_server.build.source.commits.SOURCE_BYTES_MAX", 150)

    with pytest.raises(BuildFailed, match="larger than 150 bytes"):
        check_out(sha)
    with pytest.raises(InvalidInput, match="150 bytes"):
        commit({"c": b"x" * 151})
