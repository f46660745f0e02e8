"""
Times in bodies of the management API: as clients send them.

Source: wire specification, "Common response rules"; what has no zone is UTC.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator


def _in_utc(moment: datetime) -> datetime:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        raise ValueError("there is no such time in UTC") from None


UtcTime = Annotated[datetime, AfterValidator(_in_utc)]
"""A point in time: ISO 8601, or a number of seconds or milliseconds since 1970."""
