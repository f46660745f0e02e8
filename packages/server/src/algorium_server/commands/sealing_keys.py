"""
The command `algorium sealing-key`.

It replaces the keys that secrets are sealed with, while no server runs on the home. What it does is
in `services/resealing.py`; here is who must not work at the same time.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import cyclopts

from algorium_server.commands.accounts import Yes, agreed
from algorium_server.commands.common import (
    DONE,
    FAILED,
    WRONG_USAGE,
    Json,
    print_json,
    print_table,
    settings_of,
    some_options,
)
from algorium_server.domain.errors import Unavailable
from algorium_server.settings import Settings

if TYPE_CHECKING:
    from algorium_server.services.resealing import Resealed, Resealing, SealingKey

T = TypeVar("T")

sealing_key = cyclopts.App(
    name="sealing-key", help="Look after the keys that secrets are sealed with."
)

_StorageOptions: Any = some_options("_StorageOptions", "home", "database")
_Options = Annotated[_StorageOptions, cyclopts.Parameter(name="*")]
_DEFAULTS: Any = _StorageOptions()


@sealing_key.command(name="list")
def list_keys(*, as_json: Json = False, options: _Options = _DEFAULTS) -> int:
    """Show the ids of the keys, the oldest first, and how much is sealed with each."""

    async def read(resealing: "Resealing") -> "list[SealingKey]":
        return await resealing.keys()

    settings = _settings(options)
    found = asyncio.run(_with_resealing(settings, read))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        print_table(
            ("Key", "Use", "Sealed with it"),
            ((each.key_id, _use(each), str(each.seals)) for each in found),
        )
    return DONE


@sealing_key.command
def rotate(
    *,
    lost: Annotated[
        bool,
        cyclopts.Parameter(
            name="--lost",
            negative="",
            help="The newest key is lost on all servers: go on without it, and without what is"
            " sealed with it; the audit log will not hold from here on.",
        ),
    ] = False,
    as_json: Json = False,
    options: _Options = _DEFAULTS,
) -> int:
    """
    Make a new key, and seal everything anew with it; the server is stopped.

    Killed at any moment, it is simply done again. Older keys stay, for backups of before, until
    they are forgotten. Ends with 1 if something could not be opened; that is left as it is.
    """
    settings = _settings(options)
    # Loaded only here: `--help` and wrong usage answer without waiting for it.
    from algorium_server.sealing import add_key  # noqa: PLC0415

    async def reseal(resealing: "Resealing") -> "Resealed":
        return await resealing.reseal()

    async def work() -> "Resealed":
        await _check_usable(settings, checks_keys=not lost)
        await asyncio.to_thread(add_key, settings.home)
        return await _with_resealing(settings, reseal, checks_keys=not lost)

    with _alone(settings.home):
        done = asyncio.run(work())
    if as_json:
        print_json(
            {
                "key_id": done.key_id,
                "resealed": done.total,
                "tables": dict(done.counts),
                "unreadable": done.unreadable,
                "shown": list(done.shown),
            }
        )
    else:
        _say(f"{done.total} secrets are sealed with the new key {done.key_id}")
        for each in done.shown:
            _say(f"cannot be opened, and was left: {each}")
        if done.unreadable > len(done.shown):
            _say(f"cannot be opened, and were left: {done.unreadable - len(done.shown)} more")
        _say("older keys stay, for backups of before, until `algorium sealing-key forget`")
    return FAILED if done.unreadable else DONE


@sealing_key.command
def forget(*, yes: Yes = False, as_json: Json = False, options: _Options = _DEFAULTS) -> int:
    """
    Forget all keys but the current one, if nothing is sealed with them; the server is stopped.

    Backups that were made without keys can then be opened only with a copy of the file of that
    time. The audit log is verified as before.
    """
    settings = _settings(options)
    # As in `rotate`.
    from algorium_server.holding import held  # noqa: PLC0415

    if not yes and not agreed("Forget all sealing keys but the current one?"):
        return WRONG_USAGE

    async def forget_older(resealing: "Resealing") -> tuple[str, ...]:
        return await resealing.forget(settings.home)

    async def work() -> tuple[str, ...]:
        await _check_usable(settings)
        return await _with_resealing(settings, forget_older)

    # A backup may have copied rows of before the rotation, and the keys not yet.
    with _alone(settings.home), held(settings.home):
        gone = asyncio.run(work())
    if as_json:
        print_json({"forgotten": list(gone)})
    else:
        _say(f"forgotten: {', '.join(gone)}" if gone else "there is only the current key")
    return DONE


def _settings(options: Any) -> Settings:
    settings = settings_of(options)
    # As in `rotate`.
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")
    has_keys = (settings.home / "secrets" / "sealing.json").is_file()
    has_database = bool(settings.database) or (settings.home / "algorium.db").is_file()
    if not has_keys:
        raise Unavailable(
            f"there is no file secrets/sealing.json in {settings.home}: is --home right?"
        )
    if not has_database:
        raise Unavailable(
            f"there is no database in {settings.home}: is --home right?",
            hint="If it is in PostgreSQL, name it with --database.",
        )
    return settings


def _alone(home: Path) -> ExitStack:
    """Return what keeps servers and other commands off a home."""
    from algorium_server.home import locked, using_keys  # noqa: PLC0415 - as in `rotate`

    with ExitStack() as stack:
        stack.enter_context(locked(home))
        stack.enter_context(using_keys(home, alone=True))
        return stack.pop_all()


async def _check_usable(settings: Settings, *, checks_keys: bool = True) -> None:
    """Refuse a database that cannot be used, or that servers of other homes use, before all."""
    from algorium_server.home import database_url, open_database  # noqa: PLC0415 - as in `rotate`
    from algorium_server.store.seals import other_programs  # noqa: PLC0415 - as in `rotate`

    others = await other_programs(database_url(settings))
    if others:
        raise Unavailable(
            f"{others} connections of other servers or commands are open to the database",
            hint="Stop them: they would go on with keys that are not the current ones.",
        )
    async with await open_database(settings, checks_keys=checks_keys):
        """It has this release's schema, and our keys."""


async def _with_resealing(
    settings: Settings,
    work: "Callable[[Resealing], Awaitable[T]]",
    *,
    checks_keys: bool = True,
) -> T:
    from algorium_server.home import open_database  # noqa: PLC0415 - as in `rotate`
    from algorium_server.sealing import Seal  # noqa: PLC0415 - as in `rotate`
    from algorium_server.services.resealing import Resealing  # noqa: PLC0415 - as in `rotate`

    seal = await asyncio.to_thread(Seal.open, settings.home)
    async with await open_database(settings, checks_keys=checks_keys) as database:
        return await work(Resealing(database, seal))


def _use(key: "SealingKey") -> str:
    if key.is_forgotten:
        return "verifies the audit log"
    return "seals and opens" if key.is_current else "opens"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
