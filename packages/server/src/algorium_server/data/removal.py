"""Deleting a directory of an object store with all that is in it, a part at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from algorium_server.data.levels import Level, ObjectService
from algorium_server.domain.errors import AlgoriumError, PartlyDeleted, SourceFailed
from algorium_server.domain.limits import SOURCE_KEY_BYTES_MAX

_DELETIONS_AT_ONCE: Final = 8


@dataclass(slots=True, kw_only=True)
class _Directory:
    """
    A directory on the way down.

    Attributes:
        folders: Seen, not looked into yet.
        token: Of the next part of it; None once all of it was seen.
    """

    prefix: str
    folders: list[str] = field(default_factory=list)
    token: str | None = ""


class Removal:
    """
    Deletes everything below a prefix, and the marks of the directories there.

    Memory is that of one part of a listing for each directory on the way down.

    Args:
        service: Lists, and deletes marks.
        bucket: Where.
        delete: Deletes the object with a key; one that is not there does not matter.
    """

    def __init__(
        self, service: ObjectService, bucket: str, delete: Callable[[str], Awaitable[None]]
    ) -> None:
        self._service = service
        self._bucket = bucket
        self._delete = delete
        self._deleted = 0

    async def run(self, prefix: str) -> int:
        """
        Delete, and return how many files and directories are gone.

        Raises:
            PartlyDeleted: Some are gone, others could not be deleted.
        """
        try:
            await self._run(prefix)
        except AlgoriumError as error:
            if not self._deleted:
                raise
            raise PartlyDeleted(
                "the directory could not be deleted completely",
                fields={"deleted": self._deleted},
                detail=error.message,
            ) from error
        return self._deleted

    async def _run(self, prefix: str) -> None:
        way = [_Directory(prefix=prefix)]
        while way:
            directory = way[-1]
            if directory.folders:
                way.append(_Directory(prefix=f"{directory.prefix}{directory.folders.pop()}/"))
            elif directory.token is not None:
                if len(directory.prefix) > SOURCE_KEY_BYTES_MAX:  # no store has such keys
                    raise SourceFailed(f"{self._service.protocol}: directories without end")
                level = await self._service.level(
                    self._bucket, directory.prefix, token=directory.token
                )
                await self._delete_files(directory.prefix, level)
                directory.folders = list(level.folders)
                # The same one again would lead to the same part again, for ever.
                directory.token = None if level.token == directory.token else level.token or None
            else:
                await self._service.delete_mark(self._bucket, directory.prefix)
                self._deleted += 1
                way.pop()

    async def _delete_files(self, prefix: str, level: Level) -> None:
        turns = asyncio.Semaphore(_DELETIONS_AT_ONCE)

        async def delete(name: str) -> None:
            async with turns:
                await self._delete(f"{prefix}{name}")
                self._deleted += 1

        # All of them end before it is said how many are gone.
        ended = await asyncio.gather(
            *(delete(entry.name) for entry in level.files), return_exceptions=True
        )
        for each in ended:
            if isinstance(each, BaseException):
                raise each
