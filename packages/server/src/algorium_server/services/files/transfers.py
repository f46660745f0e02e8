"""
Copying and moving files on the server.

Within hosted data a copy is a second key for the same bytes, and a move one transaction. Between
other sources the bytes stream through this process; a moved file leaves its old place last, and
only if it is still the one that was copied. Whatever fails before, the file is where it was.
"""

from unicodedata import normalize

from algorium_server.data.connector import Entry
from algorium_server.data.hosted import HostedCollection
from algorium_server.domain.conditions import Condition
from algorium_server.domain.errors import AlgoriumError, ConditionFailed, InvalidInput
from algorium_server.services.files.spots import Spot


async def copy(origin: Spot, goal: Spot, *, condition: Condition) -> Entry:
    """
    Copy a file.

    Args:
        origin: The file, where the caller may read.
        goal: Its new place, where the caller may write.
        condition: What must hold at the new place.

    Raises:
        PathNotFound: There is no such file, or no directory for it.
        ConditionFailed: *condition* does not hold.
    """
    if _are_hosted(origin, goal):
        return await _copied_within(origin, goal, condition)
    entry, _ = await _streamed(origin, goal, condition)
    return entry


async def move(origin: Spot, goal: Spot, *, condition: Condition) -> Entry:
    """
    Move a file; arguments and errors as for `copy`, and both places must be writable.

    Raises:
        InvalidInput: Both places may be the same file under different names of its source, and
            then moving would lose it.
        ConditionFailed: Also: the file changed while it was copied. Both files are there then.
    """
    if isinstance(origin.connector, HostedCollection) and isinstance(
        goal.connector, HostedCollection
    ):
        return await origin.connector.move_to(
            origin.path, goal.connector, goal.path[0], condition=condition
        )
    if origin.uri == goal.uri:
        raise InvalidInput(f"{goal.uri} is where the file is already")
    if _may_be_one_file(origin, goal):
        raise InvalidInput(
            f"{origin.uri} and {goal.uri} may be one file",
            hint="Copy it; look whether both are there; then delete the one.",
        )
    entry, seen = await _streamed(origin, goal, condition)
    try:
        unchanged = Condition(etags=frozenset({seen.etag})) if seen.etag else Condition()
        await origin.connector.delete(origin.path, is_forced=False, condition=unchanged)
    except ConditionFailed as error:
        raise ConditionFailed(
            f"{origin.uri} changed while it was copied: its old version is at {goal.uri}"
        ) from error
    except AlgoriumError as error:
        error.message = f"copied to {goal.uri}, but not deleted: {error.message}"
        raise
    return entry


async def _copied_within(origin: Spot, goal: Spot, condition: Condition) -> Entry:
    assert isinstance(origin.connector, HostedCollection), "looked at before"
    assert isinstance(goal.connector, HostedCollection), "looked at before"
    blob = await origin.connector.copy_of(origin.path)
    return await goal.connector.place(goal.path[0], blob, condition=condition)


async def _streamed(origin: Spot, goal: Spot, condition: Condition) -> tuple[Entry, Entry]:
    # Returns the new file and the one it was copied from.
    file = await origin.connector.open(origin.path)
    try:
        entry = await goal.connector.write(
            goal.path, file.chunks(), condition=condition, size_bytes=file.size_bytes
        )
        return entry, file.entry
    finally:
        await file.close()


def _are_hosted(origin: Spot, goal: Spot) -> bool:
    return isinstance(origin.connector, HostedCollection) and isinstance(
        goal.connector, HostedCollection
    )


def _may_be_one_file(origin: Spot, goal: Spot) -> bool:
    # Two labels may lead into one bucket, one of them to a folder of it.
    if origin.uri.protocol != goal.uri.protocol:
        return False
    ways = sorted((origin.uri.segments, goal.uri.segments), key=len)
    short, long = ([_folded(segment) for segment in way] for way in ways)
    if origin.uri.label == goal.uri.label:
        # Dropbox has one file for all spellings, and the same bytes again are no new version of it.
        return origin.uri.protocol == "dropbox" and long == short
    return long[len(long) - len(short) :] == short


def _folded(segment: str) -> str:
    return normalize("NFC", normalize("NFC", segment).casefold())
