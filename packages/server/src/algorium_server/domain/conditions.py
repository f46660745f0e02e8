"""
Conditional requests: what a request demands of the file that it is about.

Pure rules: which headers there are is known to `api/conditions.py`, what is at a place to the
services.

Source: RFC 9110, sections 8.8.3 and 13.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Literal

Etags = frozenset[str] | Literal["*"]
"""Opaque tags, without quotes and marks of weakness; `*` stands for any file at all."""

ANY: Final = "*"


class Outcome(Enum):
    """What becomes of a request."""

    GO_ON = "go on"
    NOT_MODIFIED = "the caller has it already"
    FAILED = "its demand does not hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preconditions:
    """
    What must hold for a request to be carried out; by default nothing.

    Attributes:
        match: The file must be one of these.
        unmodified_since: It must not be newer; counts only without *match*.
        none_match: It must be none of these; for reading, the caller has these already.
        modified_since: The caller has one of this time; counts only without *none_match*.
    """

    match: Etags | None = None
    unmodified_since: datetime | None = None
    none_match: Etags | None = None
    modified_since: datetime | None = None

    def outcome(
        self, *, etag: str, modified_at: datetime | None, exists: bool, is_reading: bool
    ) -> Outcome:
        """
        Judge by what is at the place.

        Args:
            etag: Of the file there, empty where its source knows none.
            modified_at: Of the file there, None where its source does not know.
            exists: There is a file.
            is_reading: The request changes nothing.
        """
        moment = None if modified_at is None else modified_at.replace(microsecond=0)
        if self.match is not None:
            if not _is_among(self.match, etag, exists=exists):
                return Outcome.FAILED
        elif _is_later(moment, self.unmodified_since):
            return Outcome.FAILED
        if self.none_match is not None:
            if _is_among(self.none_match, etag, exists=exists):
                return Outcome.NOT_MODIFIED if is_reading else Outcome.FAILED
        elif is_reading and moment is not None and self.modified_since is not None:
            is_old = not _is_later(moment, self.modified_since)
            return Outcome.NOT_MODIFIED if is_old else Outcome.GO_ON
        return Outcome.GO_ON


UNCONDITIONAL: Final = Preconditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """
    What must hold at a place for it to be changed, checked at the moment of the change.

    Attributes:
        etags: The file there must be one of these; None if it does not matter.
        is_new: There must be nothing.
    """

    etags: frozenset[str] | None = None
    is_new: bool = False


ALWAYS: Final = Condition()


def _is_among(etags: Etags, etag: str, *, exists: bool) -> bool:
    if etags == ANY or not exists:
        return exists
    return bool(etag) and etag in etags


def _is_later(moment: datetime | None, limit: datetime | None) -> bool:
    return moment is not None and limit is not None and moment > limit
