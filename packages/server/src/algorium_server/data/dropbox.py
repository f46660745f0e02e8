"""
Dropbox as a connector, through its own library, which waits in a few threads of ours.

Its listings come in no order: a page reads the whole directory and keeps the smallest names behind
the last page, so memory is that of a page. Writes and deletions of a file can demand its revision,
and Dropbox checks that at the moment of the change.

Source: Dropbox, "HTTP API": files.
"""

import asyncio
import hashlib
import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import requests
from dropbox import files

from algorium_server.data.connector import Entry, Page, Path, Span
from algorium_server.data.dropbox_client import (
    FAILURES,
    DropboxClient,
    reason_of,
    session_trusting,
)
from algorium_server.data.refusals import Scrubber
from algorium_server.domain.conditions import ALWAYS, Condition
from algorium_server.domain.connectors import ConnectorOptions
from algorium_server.domain.errors import (
    AlgoriumError,
    AlreadyExists,
    ConditionFailed,
    InternalError,
    InvalidInput,
    PathNotFound,
    SourceFailed,
)
from algorium_server.domain.limits import (
    BLOB_CHUNK_BYTES,
    DROPBOX_THREADS_MAX,
    LISTING_ENTRIES_MAX,
    SOURCE_LISTING_PAGES_MAX,
    SOURCE_STALL_S,
    SOURCE_TRIES_MAX,
    SOURCE_WHOLE_BYTES_MAX,
)
from algorium_server.domain.markers import cursor_of, marker_of

T = TypeVar("T")

_ENTRIES_AT_ONCE: Final = 2000
"""The most that one answer may have."""


class _Cursor(msgspec.Struct):
    """The last entry that was shown."""

    is_file: bool
    name: str


class Dropbox:
    """
    A Dropbox as a connector.

    Args:
        credentials: `access_token`, maybe with `refresh_token`, `app_key` and `app_secret`.
        options: An endpoint that speaks Dropbox's protocol, and whom to trust.
        scrub: Knows the secrets among these.
    """

    def __init__(
        self, credentials: Mapping[str, str], options: ConnectorOptions, scrub: Scrubber
    ) -> None:
        can_refresh = "refresh_token" in credentials and "app_key" in credentials
        self._client = DropboxClient(
            oauth2_access_token=credentials["access_token"],
            oauth2_refresh_token=credentials["refresh_token"] if can_refresh else None,
            app_key=credentials.get("app_key"),
            app_secret=credentials.get("app_secret"),
            max_retries_on_error=SOURCE_TRIES_MAX,
            max_retries_on_rate_limit=SOURCE_TRIES_MAX,
            timeout=SOURCE_STALL_S,
            session=session_trusting(options.ca_certificate),
        )
        self._client.endpoint = options.endpoint.rstrip("/")
        self._scrub = scrub
        self._threads = ThreadPoolExecutor(DROPBOX_THREADS_MAX, thread_name_prefix="dropbox")

    async def stat(self, path: Path) -> Entry:
        """Tell what is at *path*; see `Connector.stat`."""
        if not path:
            return Entry(name="", is_directory=True)
        return _entry(await self._run(self._client.files_get_metadata, _spelled(path)))

    async def page(self, path: Path, *, marker: str = "") -> Page:
        """List a directory; see `Connector.page`."""
        cursor = cursor_of(marker, _Cursor, of="a listing") if marker else _Cursor(False, "")
        entries = await self._run(self._smallest, _spelled(path), cursor)
        shown = entries[:LISTING_ENTRIES_MAX]
        is_cut = len(entries) > len(shown)
        return Page(
            folders=tuple(entry.name for entry in shown if entry.is_directory),
            files=tuple(entry for entry in shown if not entry.is_directory),
            marker=marker_of(_Cursor(*_order(shown[-1]))) if is_cut else "",
        )

    async def open(self, path: Path, *, span: Span | None = None) -> "OpenDropboxFile":
        """Open a file for reading; see `Connector.open`."""
        if not path:
            raise PathNotFound
        entry = await self.stat(path)
        if entry.is_directory:
            raise PathNotFound
        start, end = 0, entry.size_bytes
        if span is not None:
            start = span.start
            end = end if span.end is None else min(span.end, end)
        if start >= end:
            return OpenDropboxFile(entry, None, self._run, size_bytes=0)
        # This version and no other: what was asked of its size would not fit another one.
        headers = {} if span is None else {"Range": f"bytes={start}-{end - 1}"}
        _, response = await self._run(
            partial(self._client.files_download, f"rev:{entry.etag}", extra_headers=headers)
        )
        return OpenDropboxFile(entry, response, self._run, size_bytes=end - start)

    async def write(
        self,
        path: Path,
        chunks: AsyncIterator[bytes],
        *,
        condition: Condition = ALWAYS,
        size_bytes: int | None = None,  # noqa: ARG002 - parts have one size, however many they are
    ) -> Entry:
        """Store a file; see `Connector.write`."""
        if not path:
            raise InvalidInput("a file needs a name")
        mode = await self._mode(path, condition)
        # Else a condition would hold for the same bytes, and for a file that was just deleted.
        is_strict = condition != ALWAYS
        commit = files.CommitInfo(
            path=_spelled(path), mode=mode, mute=True, strict_conflict=is_strict
        )
        digest = hashlib.md5(usedforsecurity=False)
        part = bytearray()
        cursor: files.UploadSessionCursor | None = None
        async for chunk in chunks:
            digest.update(chunk)
            part += chunk
            if len(part) >= SOURCE_WHOLE_BYTES_MAX:
                cursor = await self._run(self._append, cursor, bytes(part))
                part.clear()
        # Only the last request makes the file: whatever ends this before leaves nothing behind.
        try:
            stored = await self._run(self._finish, cursor, bytes(part), commit)
        except ConditionFailed as error:
            if condition == ALWAYS:
                raise InvalidInput("a directory of this name is there, or a file above") from error
            raise
        return replace(_entry(stored), md5=digest.hexdigest())

    async def create_directory(self, path: Path) -> None:
        """Create a directory; see `Connector.create_directory`."""
        if not path:
            raise AlreadyExists("directory already exists")
        try:
            await self._run(self._client.files_create_folder_v2, _spelled(path))
        except ConditionFailed as error:
            raise AlreadyExists("directory already exists") from error

    async def delete(self, path: Path, *, is_forced: bool, condition: Condition = ALWAYS) -> int:
        """Delete a file or directory; see `Connector.delete`."""
        if not path:
            raise InvalidInput("the root cannot be deleted")
        entry = await self.stat(path)
        revision: str | None = None
        deleted = 1
        if entry.is_directory:
            deleted += await self._run(self._count, _spelled(path), is_forced)
            if deleted > 1 and not is_forced:
                raise InvalidInput("directory not empty")
        elif condition != ALWAYS:
            if condition.is_new or entry.etag not in (condition.etags or ()):
                raise ConditionFailed
            revision = entry.etag
        await self._run(partial(self._client.files_delete_v2, _spelled(path), parent_rev=revision))
        return deleted

    async def close(self) -> None:
        """Let go of all connections once they are not used any more."""
        self._threads.shutdown(wait=False)
        self._client.close()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work, *arguments)
        except AlgoriumError:
            raise
        except RuntimeError as error:  # the threads are gone: the connector was just changed
            raise SourceFailed("dropbox: the connector was closed; try again") from error
        except FAILURES as error:
            raise reason_of(error, self._scrub) from None

    async def _mode(self, path: Path, condition: Condition) -> files.WriteMode:
        if condition.is_new:
            return files.WriteMode.add
        if condition.etags is None:
            return files.WriteMode.overwrite
        try:
            current = await self.stat(path)
        except PathNotFound:
            raise ConditionFailed from None
        if current.etag not in condition.etags:
            raise ConditionFailed
        return files.WriteMode.update(current.etag)

    def _smallest(self, path: str, cursor: _Cursor) -> list[Entry]:
        after = (cursor.is_file, cursor.name)
        behind = (entry for entry in self._entries(path) if _order(entry) > after)
        return heapq.nsmallest(LISTING_ENTRIES_MAX + 1, behind, key=_order)

    def _count(self, path: str, is_recursive: bool) -> int:
        entries = self._entries(path, is_recursive=is_recursive)
        if not is_recursive:
            return 0 if next(entries, None) is None else 1
        return sum(1 for entry in entries if entry.name)

    def _entries(self, path: str, *, is_recursive: bool = False) -> Iterator[Entry]:
        found = self._client.files_list_folder(path, recursive=is_recursive, limit=_ENTRIES_AT_ONCE)
        for _ in range(SOURCE_LISTING_PAGES_MAX):
            for entry in found.entries:
                # A recursive listing begins with the directory itself.
                if (entry.path_lower or "") != path.lower() and not isinstance(
                    entry, files.DeletedMetadata
                ):
                    yield _entry(entry)
            if not found.has_more:
                return
            found = self._client.files_list_folder_continue(found.cursor)
        raise SourceFailed("dropbox: the directory is too large to be listed")

    def _append(
        self, cursor: files.UploadSessionCursor | None, part: bytes
    ) -> files.UploadSessionCursor:
        if cursor is None:
            session = self._client.files_upload_session_start(part)
            return files.UploadSessionCursor(session_id=session.session_id, offset=len(part))
        self._client.files_upload_session_append_v2(part, cursor)
        return files.UploadSessionCursor(
            session_id=cursor.session_id, offset=cursor.offset + len(part)
        )

    def _finish(
        self,
        cursor: files.UploadSessionCursor | None,
        part: bytes,
        commit: files.CommitInfo,
    ) -> files.FileMetadata:
        if cursor is not None:
            return self._client.files_upload_session_finish(part, cursor, commit)
        return self._client.files_upload(
            part,
            commit.path,
            mode=commit.mode,
            mute=commit.mute,
            strict_conflict=commit.strict_conflict,
        )


class OpenDropboxFile:
    """
    One revision of a file, open for reading; see `OpenFile`.

    Args:
        entry: The whole file.
        response: What is read from; None if no byte is wanted.
        run: Runs what blocks.
        size_bytes: How many bytes are wanted.
    """

    def __init__(
        self,
        entry: Entry,
        response: requests.Response | None,
        run: Callable[..., Any],
        *,
        size_bytes: int,
    ) -> None:
        self.entry = entry
        self.size_bytes = size_bytes
        self.modified_at = entry.modified_at
        self._response = response
        self._run = run

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read the bytes; see `OpenFile.chunks`."""
        if self._response is None:
            return
        remaining_bytes = self.size_bytes
        pieces = self._response.iter_content(BLOB_CHUNK_BYTES)
        while piece := await self._run(next, pieces, b""):
            remaining_bytes -= len(piece)
            yield piece
        if remaining_bytes:
            raise InternalError("the file ended early", detail=f"{remaining_bytes} bytes missing")

    async def close(self) -> None:
        """Let go of the file; idempotent."""
        if self._response is not None:
            self._response.close()
            self._response = None


def _spelled(path: Path) -> str:
    return "".join(f"/{name}" for name in path)


def _order(entry: Entry) -> tuple[bool, str]:
    return not entry.is_directory, entry.name


def _entry(found: Any) -> Entry:
    if not isinstance(found, files.FileMetadata):
        return Entry(name=found.name, is_directory=True)
    return Entry(
        name=found.name,
        is_directory=False,
        size_bytes=found.size,
        modified_at=found.server_modified.replace(tzinfo=UTC),
        etag=found.rev,
    )
