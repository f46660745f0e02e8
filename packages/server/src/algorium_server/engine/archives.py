"""Source trees as archives, packed once and kept as long as there is room. For the supervisor."""

import os
from collections import OrderedDict

from algorium_runtime import archive

_KEPT_MAX = 64


class Archives:
    """
    Archives by the directory they were made of, which never changes.

    Args:
        bytes_max: For one archive; as much is kept of all together, the newest at least.
        entries_max: Files and directories in one.
    """

    def __init__(self, bytes_max: int, entries_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries_max = entries_max
        self._kept: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def of(self, directory: str) -> int:
        """
        Return a descriptor of the archive of *directory*; it stays ours, until the next call.

        Raises:
            ValueError: It is too large for an archive.
            OSError: It cannot be read.
        """
        if directory not in self._kept:
            packed = archive.pack(
                directory, bytes_max=self._bytes_max, entries_max=self._entries_max
            )
            self._kept[directory] = packed, os.fstat(packed).st_size
        self._kept.move_to_end(directory)
        while len(self._kept) > 1 and (
            len(self._kept) > _KEPT_MAX
            or sum(size for _, size in self._kept.values()) > self._bytes_max
        ):
            _, (old, _) = self._kept.popitem(last=False)
            os.close(old)
        return self._kept[directory][0]

    def close(self) -> None:
        """Give all of them up."""
        for packed, _ in self._kept.values():
            os.close(packed)
        self._kept.clear()
