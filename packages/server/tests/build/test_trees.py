"""The digest of a tree."""

import pytest

from algorium_server.build.trees import tree_digest


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("A = 1\n")
    (tmp_path / "b.txt").write_text("b")
    return tmp_path


def test_the_digest_is_the_same_for_the_same_tree(tree):
    first = tree_digest(tree)
    (tree / "b.txt").touch()
    (tree / "empty").mkdir()

    assert tree_digest(tree) == first
    assert len(first) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "b.txt").write_text("c"),
        lambda tree: (tree / "b.txt").rename(tree / "c.txt"),
        lambda tree: (tree / "b.txt").chmod(0o755),
        lambda tree: (tree / "b.txt").unlink(),
        lambda tree: (tree / "link").symlink_to("b.txt"),
        lambda tree: (tree / "link").symlink_to("src"),
        lambda tree: (tree / "src" / "b.txt").write_text(""),
    ],
)
def test_the_digest_changes_with_everything_that_matters(tree, change):
    before = tree_digest(tree)
    change(tree)

    assert tree_digest(tree) != before
