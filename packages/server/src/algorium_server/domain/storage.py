"""
What accounts store, and how much they may.

What makes use smaller, or leaves it as it is, is never refused: who is over a limit that was
lowered can delete and replace.
"""

from collections.abc import Callable
from dataclasses import dataclass

from algorium_server.domain.errors import QuotaExceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """
    What an account may store.

    Attributes:
        bytes_max: In all its files together; None for no limit.
        files_max: How many files; None for no limit.
    """

    bytes_max: int | None = None
    files_max: int | None = None


NO_QUOTA = Quota()
QuotaOf = Callable[[str], Quota]
"""Returns what an account, by its id, may store."""


def no_quota(_account_id: str) -> Quota:
    """Return that an account may store whatever it likes."""
    return NO_QUOTA


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageUse:
    """What an account stores: files of its collections, special ones included."""

    bytes: int = 0
    files: int = 0

    def __add__(self, other: "StorageUse") -> "StorageUse":
        return StorageUse(bytes=self.bytes + other.bytes, files=self.files + other.files)

    def __bool__(self) -> bool:
        return bool(self.bytes or self.files)


def check_quota(quota: Quota, used: StorageUse, more: StorageUse) -> None:
    """
    Refuse what would go beyond a quota.

    Args:
        quota: Of the account.
        used: What it stores so far.
        more: What a change would add.

    Raises:
        QuotaExceeded: Tells the limit and the use.
    """
    wanted = used + more
    if quota.bytes_max is not None and more.bytes > 0 and wanted.bytes > quota.bytes_max:
        _refuse("bytes", quota.bytes_max, used.bytes, more.bytes)
    if quota.files_max is not None and more.files > 0 and wanted.files > quota.files_max:
        _refuse("files", quota.files_max, used.files, more.files)


def _refuse(unit: str, limit: int, used: int, more: int) -> None:
    raise QuotaExceeded(
        f"the account may store {limit} {unit} and stores {used}; this would add {more}",
        hint="Delete files, or ask the operator for more.",
        fields={"limit": limit, "used": used, "unit": unit},
    )
