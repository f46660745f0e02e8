"""
The commands `algorium audit list`, `algorium audit export` and `algorium audit verify`.

They read the home itself, beside a server or without one, and change nothing: whoever can run them
can read everything anyway.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import cyclopts

from algorium_server.commands.common import (
    DONE,
    FAILED,
    WRONG_USAGE,
    Json,
    complain,
    print_json,
    print_table,
    settings_of,
    some_options,
)
from algorium_server.domain.audit import AuditFilter
from algorium_server.domain.audit_chain import ChainedEntry, as_object
from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.domain.limits import AUDIT_LISTED_MAX_DEFAULT
from algorium_server.settings import Settings
from algorium_server.store.database import Database

audit = cyclopts.App(name="audit", help="Read the audit log, and see whether it is whole.")

_SHA256_BYTES: Final = 32
_COLUMNS: Final = ("Number", "Time", "Actor", "Action", "Target", "Outcome", "Address", "Detail")


@dataclass(frozen=True, kw_only=True)
class _Filters:
    actor: Annotated[str, cyclopts.Parameter(help="Name or id of who did it.")] = ""
    action: Annotated[
        str, cyclopts.Parameter(help="How the action begins, such as `key.` or `key.created`.")
    ] = ""
    target: Annotated[str, cyclopts.Parameter(help="Exactly this target, such as `user:jane`.")] = (
        ""
    )
    outcome: Annotated[str, cyclopts.Parameter(help="`done`, `denied` or `failed`.")] = ""
    since: Annotated[
        str, cyclopts.Parameter(help="From this time on, such as 2026-01-31T12:00Z.")
    ] = ""
    until: Annotated[str, cyclopts.Parameter(help="Before this time.")] = ""


_Wanted = Annotated[_Filters, cyclopts.Parameter(name="*")]
_StorageOptions: Any = some_options("_StorageOptions", "home", "database")
_Options = Annotated[_StorageOptions, cyclopts.Parameter(name="*")]


@audit.command(name="list")
def list_entries(
    *,
    filters: _Wanted = _Filters(),
    limit: Annotated[
        int, cyclopts.Parameter(help="How many entries at most; the newest ones.")
    ] = AUDIT_LISTED_MAX_DEFAULT,
    as_json: Json = False,
    options: _Options = _StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """Print the newest entries of the audit log, newest first."""

    async def read(_settings: Settings, database: Database, wanted: AuditFilter) -> int:
        from algorium_server.store import audit as rows  # noqa: PLC0415 - as in `serve`

        async with database.reading() as connection:
            found = await rows.page(
                connection,
                wanted,
                before=None,
                limit=min(limit, sys.maxsize),  # databases know no larger numbers
            )
        if as_json:
            print_json([as_object(each, has_digest=True) for each in found])
        else:
            print_table(_COLUMNS, map(_row, found))
        return DONE

    if limit < 1:
        return complain(InvalidInput("--limit must be 1 at least"), code=WRONG_USAGE)
    return _run(options, asdict(filters), read)


@audit.command
def export(
    *,
    filters: _Wanted = _Filters(),
    options: _Options = _StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """Write the audit log to standard output, oldest entry first, as JSON in each line."""

    async def read(_settings: Settings, database: Database, wanted: AuditFilter) -> int:
        from algorium_server.services.people.audit_log import batches  # noqa: PLC0415 - as in `serve`

        async for batch in batches(database, wanted):
            for each in batch:
                sys.stdout.write(json.dumps(as_object(each, has_digest=True)) + "\n")
        return DONE

    return _run(options, asdict(filters), read)


@audit.command
def verify(
    *,
    checkpoint: Annotated[
        list[str] | None,
        cyclopts.Parameter(
            help="NUMBER:DIGEST that the log must have, from a line of the server's own log or an"
            " export that is kept elsewhere; can be given several times.",
            negative="",
        ),
    ] = None,
    as_json: Json = False,
    options: _Options = _StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """
    See whether the audit log is as it was written.

    Ends with 1 if an entry was changed, removed, inserted or moved, or if the end was cut off; and
    says which entry is the first that does not hold.
    """

    async def examine_it(settings: Settings, database: Database, _wanted: AuditFilter) -> int:
        from algorium_server.sealing import Seal  # noqa: PLC0415 - as in `serve`
        from algorium_server.services import audit_checkpoints as files  # noqa: PLC0415
        from algorium_server.services.people.audit_log import examine  # noqa: PLC0415 - as in `serve`

        keys = Seal.open(settings.home).chain_keys
        known = {**files.read_checkpoints(settings.home, keys), **given}
        verdict = await examine(database, keys, known)
        broken = verdict.broken
        report = {
            "is_whole": broken is None,
            "entries": verdict.entries,
            "checkpoints": verdict.checkpoints,
            "head": {"number": verdict.head.number, "digest": verdict.head.digest.hex()},
            "broken": None
            if broken is None
            else {"number": broken.number, "reason": broken.reason},
        }
        if as_json:
            print_json(report)
        elif broken is None:
            head = verdict.head
            sys.stdout.write(
                f"the audit log is whole: {verdict.entries} entries, "
                f"{verdict.checkpoints} checkpoints\nit ends with {head.number}:"
                f"{head.digest.hex()}\n"
            )
        else:
            sys.stdout.write(
                f"the audit log does not hold from entry {broken.number} on: {broken.reason}\n"
                f"{verdict.entries} entries before it hold\n"
            )
        return DONE if broken is None else FAILED

    try:
        given = dict(map(_checkpoint, checkpoint or ()))
    except InvalidInput as error:
        return complain(error, code=WRONG_USAGE)
    return _run(options, {}, examine_it)


def _run(
    options: Any,
    query: Mapping[str, str],
    work: Callable[[Settings, Database, AuditFilter], Coroutine[Any, Any, int]],
) -> int:
    # Loaded only here: `--help` and wrong usage answer without waiting for it.
    from algorium_server.api.audit import audit_filter  # noqa: PLC0415 - as in `serve`
    from algorium_server.home import open_database  # noqa: PLC0415 - as in `serve`
    from algorium_server.telemetry import configure  # noqa: PLC0415 - as in `serve`

    try:
        settings, wanted = settings_of(options), audit_filter(query)
    except InvalidInput as error:
        return complain(error, code=WRONG_USAGE)
    configure("warning", "auto")
    if not settings.database and not (settings.home / "algorium.db").is_file():
        raise Unavailable(f"there is no database in {settings.home}: is --home right?")

    async def run() -> int:
        async with await open_database(settings) as database:
            return await work(settings, database, wanted)

    return asyncio.run(run())


def _checkpoint(text: str) -> tuple[int, bytes]:
    number, _, digest = text.partition(":")
    try:
        known = int(number), bytes.fromhex(digest)
    except ValueError:
        known = 0, b""
    if known[0] < 1 or len(known[1]) != _SHA256_BYTES:
        raise InvalidInput(f"--checkpoint must be NUMBER:DIGEST, not {text[:100]!r}")
    return known


def _row(chained: ChainedEntry) -> Sequence[str]:
    entry = chained.entry
    actor = entry.actor or "-"
    return (
        str(chained.number),
        entry.at.isoformat(timespec="seconds"),
        f"{actor} as {entry.behalf}" if entry.behalf else actor,
        entry.action,
        entry.target,
        entry.outcome.value,
        entry.address or "-",
        ", ".join(f"{name}: {value}" for name, value in entry.detail.items()),
    )
