"""
Pages of directories in object stores.

Listings say folders before files and each sorted by name, also across pages, while stores give both
mixed, in the order of their keys. For folders that is not the order of their names: `a-b/` comes
before `a/`.

So the first page goes through the level until it has more folders than it can show. What may be
missing among them then is few: a folder that comes later in the store and earlier by its name has a
name that others begin with, as `a` does for `a-b`; for these it asks. The next page begins at the
part of the level that has the first folder behind this page. If there are fewer folders than a page
has room for, the level was read to its end, and files follow. Files come in order, and a page of
them begins where the one before ended.

All pages together read a level once for its folders, and once for its files, whatever their number.
Memory is that of a page.

Source: wire specification, "Directories".
"""

import heapq
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec

from algorium_server.data.connector import Entry, Page
from algorium_server.data.levels import Level, ObjectService
from algorium_server.domain.errors import PathNotFound, SourceFailed
from algorium_server.domain.limits import LISTING_ENTRIES_MAX, SOURCE_LISTING_PAGES_MAX
from algorium_server.domain.markers import cursor_of, marker_of, unknown

_MARKER_CHARS_MAX: Final = 8192
"""A token of a store and a name, both encoded twice."""

_QUESTIONS_MAX: Final = 16
"""About folders that may be missing; if there are more of them the level is read on."""


class _Cursor(msgspec.Struct):
    """
    Where a listing goes on.

    Attributes:
        is_in_files: All folders were shown.
        token: The store's own, of the part that holds the next entry.
        after: The last name that was shown.
    """

    is_in_files: bool = False
    token: str = ""
    after: str = ""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """
    What a page has seen of a level.

    Attributes:
        after: Folders up to this name were shown before.
        entries_max: One more than this is kept of folders, and of files.
        folders: The first ones, in order.
        files: The first ones, in order.
        tokens: Of the parts with these files.
        parts: The parts with folders to show: the name of the last one, and the token.
        is_there: There was something.
    """

    after: str
    entries_max: int
    folders: list[str] = field(default_factory=list)
    files: list[Entry] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    parts: list[tuple[str, str]] = field(default_factory=list)
    is_there: bool = False

    def add(self, token: str, level: Level) -> None:
        """Take a part of a level into account."""
        self.is_there = self.is_there or not level.is_empty
        names = [name for name in level.folders if name > self.after]
        if names:
            self.add_folders(names)
            self.parts.append((max(names), token))
        room = max(0, self.entries_max + 1 - len(self.files))
        self.files += level.files[:room]
        self.tokens += [token] * len(level.files[:room])

    def add_folders(self, names: Iterable[str]) -> None:
        """Take folders into account."""
        self.folders = heapq.nsmallest(self.entries_max + 1, {*self.folders, *names})

    def doubtful(self) -> Iterator[str]:
        """Yield names that come before the last folder, whose keys may come behind it."""
        last = self.folders[-1]
        for length in range(1, len(last)):
            name = last[:length]
            if last[length] < "/" and name > self.after and name not in self.folders:
                yield name

    def cursor_after(self, name: str) -> _Cursor:
        """Return where the next page goes on if *name* was the last folder of this one."""
        token = next((token for last, token in self.parts if last > name), self.parts[-1][1])
        return _Cursor(token=token, after=name)


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
            return await self._page_of_files(bucket, prefix, cursor, room=self._entries_max)
        return await self._page_of_all(bucket, prefix, cursor, is_first=not marker)

    async def _page_of_all(
        self, bucket: str, prefix: str, cursor: _Cursor, *, is_first: bool
    ) -> Page:
        seen = await self._seen(bucket, prefix, cursor)
        if not seen.is_there and prefix and is_first:
            raise PathNotFound
        entries_max = self._entries_max
        if len(seen.folders) > entries_max:
            shown = tuple(seen.folders[:entries_max])
            return Page(folders=shown, marker=marker_of(seen.cursor_after(shown[-1])))
        folders = tuple(seen.folders)
        room = entries_max - len(folders)
        if cursor.token:  # the beginning of the level was not read
            rest = await self._page_of_files(bucket, prefix, _Cursor(is_in_files=True), room=room)
            return Page(folders=folders, files=rest.files, marker=rest.marker)
        marker = ""
        if len(seen.files) > room:
            behind = _Cursor(is_in_files=True)
            if room:
                behind = _Cursor(True, seen.tokens[room - 1], seen.files[room - 1].name)
            marker = marker_of(behind)
        return Page(folders=folders, files=tuple(seen.files[:room]), marker=marker)

    async def _seen(self, bucket: str, prefix: str, cursor: _Cursor) -> "_Seen":
        # Goes through a level until there are more folders than a page has, or to its end.
        seen = _Seen(after=cursor.after, entries_max=self._entries_max)
        async for token, level in self._parts(bucket, prefix, token=cursor.token):
            seen.add(token, level)
            if len(seen.folders) <= self._entries_max or not level.token:
                continue
            doubtful = list(islice(seen.doubtful(), _QUESTIONS_MAX + 1))
            if len(doubtful) > _QUESTIONS_MAX:
                continue
            for name in doubtful:
                inside = await self._service.level(bucket, f"{prefix}{name}/", limit=1)
                if not inside.is_empty:
                    seen.add_folders([name])
            break
        return seen

    async def _page_of_files(self, bucket: str, prefix: str, cursor: _Cursor, *, room: int) -> Page:
        found: list[Entry] = []
        last = ""
        async for token, level in self._parts(bucket, prefix, token=cursor.token):
            for entry in level.files:
                if entry.name <= cursor.after:
                    continue
                if len(found) == room:
                    behind = _Cursor(True, last, found[-1].name) if found else _Cursor(True)
                    return Page(files=tuple(found), marker=marker_of(behind))
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
