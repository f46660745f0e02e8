"""
Pages of directories in object stores.

Listings say folders before files and each sorted by name, also across pages, while stores give both
mixed, and folders not even in the order of their names (`a-b/` comes before `a/`). So a page of
folders reads the whole level and keeps the smallest names behind the last page; files come in
order, and a page of them begins where the one before ended. Memory is that of a page.

Source: wire specification, "Directories".
"""

import heapq
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from algorium_server.data.connector import Entry, Page
from algorium_server.data.levels import Level, ObjectService
from algorium_server.domain.errors import PathNotFound, SourceFailed
from algorium_server.domain.limits import LISTING_ENTRIES_MAX, SOURCE_LISTING_PAGES_MAX
from algorium_server.domain.markers import cursor_of, marker_of, unknown

_MARKER_CHARS_MAX: Final = 8192
"""A token of a store and a name, both encoded twice."""


class _Cursor(msgspec.Struct):
    """
    Where a listing goes on.

    Attributes:
        is_in_files: All folders were shown.
        token: The store's own, of the part that holds the next file.
        after: The last name that was shown.
    """

    is_in_files: bool = False
    token: str = ""
    after: str = ""


class Levels:
    """
    Lists levels of one store.

    Args:
        service: The store.
        entries_max: How many entries a page has at most.
    """

    def __init__(self, service: ObjectService, *, entries_max: int = LISTING_ENTRIES_MAX) -> None:
        self._service = service
        self._entries_max = entries_max

    async def page(self, bucket: str, prefix: str, *, marker: str) -> Page:
        """
        Return a page of a level.

        Args:
            bucket: Which bucket.
            prefix: Of the level: empty, or ending in a slash.
            marker: Where to go on; empty for the first page.

        Raises:
            PathNotFound: There is nothing, not even a mark.
            InvalidMarker: No listing gave this marker.
        """
        cursor = _cursor(marker)
        if cursor.is_in_files:
            return await self._page_of_files(bucket, prefix, cursor)
        return await self._page_of_all(bucket, prefix, after=cursor.after, is_resumed=bool(marker))

    async def _page_of_all(self, bucket: str, prefix: str, *, after: str, is_resumed: bool) -> Page:
        # Reads the whole level for its folders; what it meets of files on the way fills the page.
        entries_max = self._entries_max
        folders: list[str] = []
        files: list[Entry] = []
        tokens: list[str] = []
        is_there = not prefix
        async for token, level in self._parts(bucket, prefix):
            is_there = is_there or not level.is_empty
            behind = (name for name in level.folders if name > after)
            folders = heapq.nsmallest(entries_max + 1, {*folders, *behind})
            for entry in level.files:
                if len(files) > entries_max:
                    break
                files.append(entry)
                tokens.append(token)
        if not is_there and not is_resumed:
            raise PathNotFound
        if len(folders) > entries_max:
            shown = folders[:entries_max]
            return Page(folders=tuple(shown), marker=marker_of(_Cursor(after=shown[-1])))
        room = entries_max - len(folders)
        marker = ""
        if len(files) > room:
            cursor = _Cursor(is_in_files=True)
            if room:
                cursor = _Cursor(True, tokens[room - 1], files[room - 1].name)
            marker = marker_of(cursor)
        return Page(folders=tuple(folders), files=tuple(files[:room]), marker=marker)

    async def _page_of_files(self, bucket: str, prefix: str, cursor: _Cursor) -> Page:
        found: list[Entry] = []
        last = ""
        async for token, level in self._parts(bucket, prefix, token=cursor.token):
            for entry in level.files:
                if entry.name <= cursor.after:
                    continue
                if len(found) == self._entries_max:
                    marker = marker_of(_Cursor(True, last, found[-1].name))
                    return Page(files=tuple(found), marker=marker)
                found.append(entry)
                last = token
        return Page(files=tuple(found))

    async def _parts(
        self, bucket: str, prefix: str, *, token: str = ""
    ) -> AsyncIterator[tuple[str, Level]]:
        # Yields the parts of a level, each with the token by which it is found again.
        for _ in range(SOURCE_LISTING_PAGES_MAX):
            level = await self._service.level(bucket, prefix, token=token, limit=self._entries_max)
            yield token, level
            if not level.token or level.token == token:
                return
            token = level.token
        protocol = self._service.protocol
        raise SourceFailed(f"{protocol}: the directory is too large to be listed")


def _cursor(marker: str) -> _Cursor:
    if not marker:
        return _Cursor()
    if len(marker) > _MARKER_CHARS_MAX:
        raise unknown(marker, of="a listing")
    return cursor_of(marker, _Cursor, of="a listing")
