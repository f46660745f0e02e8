"""
Spots: what a data URI leads to, once it is clear that the caller may go there.

Source: wire specification, "Data API, URIs, connectors".
"""

from dataclasses import dataclass

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.data.connector import Connector, Entry, Path
from algorium_server.domain.conditions import (
    ALWAYS,
    ANY,
    UNCONDITIONAL,
    Condition,
    Outcome,
    Preconditions,
)
from algorium_server.domain.errors import ConditionFailed, PathNotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """
    A place in a source, for a caller who may do there what was asked for.

    Attributes:
        connector: The source.
        path: Where in it.
        uri: How answers name the place.
        acl: Of the collection at or above it; None where there is none.
        owner_id: The account whose storage it fills; empty outside hosted data.
    """

    connector: Connector
    path: Path
    uri: DataUri
    acl: ReadAcl | None = None
    owner_id: str = ""


async def entry_at(spot: Spot) -> Entry | None:
    """Return what is at a place, None for nothing."""
    try:
        return await spot.connector.stat(spot.path)
    except PathNotFound:
        return None


async def condition_at(spot: Spot, preconditions: Preconditions) -> Condition:
    """
    Judge now what a change demands, and return what must still hold at the moment of the change.

    Raises:
        ConditionFailed: It does not hold now.
    """
    if preconditions == UNCONDITIONAL:
        return ALWAYS
    found = await entry_at(spot)
    exists = found is not None and not found.is_directory
    etag = found.etag if found is not None else ""
    outcome = preconditions.outcome(
        etag=etag,
        modified_at=found.modified_at if found is not None else None,
        exists=exists,
        is_reading=False,
    )
    if outcome is not Outcome.GO_ON:
        raise ConditionFailed(_what_is_wrong(preconditions, exists=exists))
    if not exists:
        return Condition(is_new=True)
    if isinstance(preconditions.match, frozenset):
        return Condition(etags=preconditions.match)
    return Condition(etags=frozenset({etag})) if etag else ALWAYS


def _what_is_wrong(preconditions: Preconditions, *, exists: bool) -> str:
    if not exists:
        return "there is no file of this name"
    if preconditions.none_match == ANY:
        return "there is a file of this name already"
    return "the file has changed"
