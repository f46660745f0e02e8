"""
What a data source must be able to do, and the values that pass through it.

A connector is one source as one caller may use it: a collection of hosted data, a bucket, a
folder of a cloud drive. Paths are relative to its root; the empty path is the root itself.
Whoever hands out a connector has checked what the caller may do with it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from algorium_server.domain.conditions import ALWAYS, Condition

Path = tuple[str, ...]
"""Segments of a place within a source; none is empty or contains a slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    A file or directory.

    Attributes:
        size_bytes: Of a file; 0 for directories.
        modified_at: Of a file; None where the source does not know.
        etag: Tells versions of a file apart, opaque, without quotes; empty for directories.
        md5: Hexadecimal digest of a file's bytes, empty where the source does not know it.
    """

    name: str
    is_directory: bool
    size_bytes: int = 0
    modified_at: datetime | None = None
    etag: str = ""
    md5: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    A part of a file.

    Attributes:
        start: First byte, from 0.
        end: Behind the last byte; None for the end of the file.
    """

    start: int
    end: int | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """
    Where the bytes of an open file lie on a disk of this machine.

    Attributes:
        descriptor: Open for reading as long as the file is.
        start: Of the first byte.
    """

    descriptor: int
    start: int


@runtime_checkable
class OnDisk(Protocol):
    """What some open files tell as well."""

    @property
    def region(self) -> Region | None:
        """Where the bytes lie, None if they are not simply on a disk here."""
        ...


class OpenFile(Protocol):
    """One version of a file, whole until it is closed, whatever happens to its name meanwhile."""

    @property
    def size_bytes(self) -> int:
        """How many bytes `chunks` yields."""
        ...

    @property
    def entry(self) -> Entry:
        """The whole file, of which this may be a part."""
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

    async def open(self, path: Path, *, span: Span | None = None) -> OpenFile:
        """
        Open a file for reading; whoever gets it closes it.

        Args:
            path: Which.
            span: The part to read; what of it lies behind the end of the file is left out.

        Raises:
            PathNotFound: There is no such file.
        """
        ...

    async def write(
        self,
        path: Path,
        chunks: AsyncIterator[bytes],
        *,
        condition: Condition = ALWAYS,
        size_bytes: int | None = None,
    ) -> Entry:
        """
        Store a file, or replace it. An error out of *chunks* leaves everything as it was.

        Args:
            path: Where.
            chunks: Its bytes.
            condition: What must hold there.
            size_bytes: How many bytes, if that is known.

        Raises:
            PathNotFound: There is no directory for it.
            InvalidInput: A file cannot be called so.
            ConditionFailed: *condition* does not hold.
        """
        ...

    async def create_directory(self, path: Path) -> None:
        """
        Create a directory.

        Raises:
            PathNotFound: There is no directory for it.
            InvalidInput: There can be none here, or it cannot be called so.
            AlreadyExists: It is there.
        """
        ...

    async def delete(self, path: Path, *, is_forced: bool, condition: Condition = ALWAYS) -> int:
        """
        Delete a file or directory and return how many files and directories are gone.

        Args:
            path: What goes.
            is_forced: Delete a directory with what is in it.
            condition: What must hold there; for files.

        Raises:
            PathNotFound: Nothing is there.
            InvalidInput: The directory is not empty, and *is_forced* is false.
            PartlyDeleted: Some entries are gone, others could not be deleted.
            ConditionFailed: *condition* does not hold.
        """
        ...
