"""
Symbolic links in a home directory, and what a backup makes of them.

In trees that others made, builds and environments, links are content: they are copied as links, and
never followed, since they may lead anywhere. Everywhere else only whoever runs the server makes
links: to put a repository, or half of the blobs, on another disk, or a key where it is mounted. A
backup has what they lead to; a link alone would be worth nothing on another host.
"""

from pathlib import Path


def followed(path: Path, above: frozenset[Path] = frozenset()) -> tuple[Path, frozenset[Path]]:
    """
    Return where something really is, and which places links have led to so far.

    A link that leads nowhere, or in a circle, stays what it is.

    Args:
        path: Maybe a link, made by whoever runs the server.
        above: Which places links have led to on the way there.
    """
    if not path.is_symlink():
        return path, above
    try:
        target = path.resolve(strict=True)
        is_circle = target in above or path.parent.resolve().is_relative_to(target)
    except (OSError, RuntimeError):
        return path, above
    return (path, above) if is_circle else (target, above | {target})
