"""
What a data source must be able to do, and the values that pass through it.

A connector is one source as one caller may use it: a collection of hosted data, a bucket, a
folder of a cloud drive. Paths are relative to its root; the empty path is the root itself.
Whoever hands out a connector has checked what the caller may do with it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

Path = tuple[str, ...]
"""Segments of a place within a source; none is empty or contains a slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    A file or directory.

    Attributes:
        size_bytes: Of a file; 0 for directories.
        modified_at: Of a file; None where the source does not know.
    """

    name: str
    is_directory: bool
    size_bytes: int = 0
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    A part of a directory: folders come before files, each sorted by name, also across pages.

    Attributes:
        marker: Opaque; continues after this page. Empty on the last one.
    """

    folders: tuple[str, ...] = ()
    files: tuple[Entry, ...] = ()
    marker: str = ""


class OpenFile(Protocol):
    """One version of a file, whole until it is closed, whatever happens to its name meanwhile."""

    @property
    def size_bytes(self) -> int:
        """How many bytes `chunks` yields."""
        ...

    @property
    def modified_at(self) -> datetime | None:
        """When this version was stored, None where the source does not know."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """
        Read the bytes once, in pieces of bounded size.

        Raises:
            InternalError: The source ended early.
        """
        ...

    async def close(self) -> None:
        """Let go of the file; may be called at any time, and again."""
        ...


class Connector(Protocol):
    """
    A data source. Every method may raise `Unavailable` or `InternalError` when the source fails.

    Writes are atomic: readers see the old bytes or the new, and a write that fails or is
    cancelled leaves the old ones. What has returned survives a crash.
    """

    async def stat(self, path: Path) -> Entry:
        """
        Tell what is at *path*.

        Raises:
            PathNotFound: Nothing.
        """
        ...

    async def page(self, path: Path, *, marker: str = "") -> Page:
        """
        List a directory from *marker* on, at most `LISTING_ENTRIES_MAX` entries.

        Raises:
            PathNotFound: There is no such directory.
            InvalidMarker: No page of a listing ended with this marker.
        """
        ...

    async def open(self, path: Path) -> OpenFile:
        """
        Open a file for reading; whoever gets it closes it.

        Raises:
            PathNotFound: There is no such file.
        """
        ...

    async def write(self, path: Path, chunks: AsyncIterator[bytes]) -> None:
        """
        Store a file, or replace it. An error out of *chunks* leaves everything as it was.

        Raises:
            PathNotFound: There is no directory for it.
            InvalidInput: A file cannot be called so.
        """
        ...

    async def delete(self, path: Path, *, is_forced: bool) -> int:
        """
        Delete a file or directory and return how many files and directories are gone.

        Args:
            path: What goes.
            is_forced: Delete a directory with what is in it.

        Raises:
            PathNotFound: Nothing is there.
            InvalidInput: The directory is not empty, and *is_forced* is false.
            PartlyDeleted: Some entries are gone, others could not be deleted.
        """
        ...
