"""
Commands that open a home beside a server or without one: `algorium fsck` and `algorium password`.

`fsck` checks what is stored; without `--repair` it changes nothing and may run beside a server.
"""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final

from algorium_server.domain.errors import Unavailable
from algorium_server.home import locked, open_blobs, open_database, using_keys
from algorium_server.services.directory import Directory
from algorium_server.services.files.checking import Check, CheckReport
from algorium_server.services.people.passwords import Passwords
from algorium_server.settings import Settings

_PROGRESS_EVERY_S: Final = 1.0


async def check(settings: Settings, *, reads: bool, repairs: bool, tells: bool) -> CheckReport:
    """
    Check what is stored.

    Args:
        settings: Where.
        reads: Read all bytes; else only presence and lengths count.
        repairs: Remove garbage and correct counts; no server may be running.
        tells: Show the progress on standard error.

    Raises:
        Unavailable: There is nothing, it cannot be used, or a server runs on it and it is to be
            repaired.
    """
    _check_home(settings)
    async with AsyncExitStack() as stack:
        if repairs:
            stack.enter_context(locked(settings.home))
        # It writes nothing that is chained or sealed, and is wanted most when something is wrong.
        database = await stack.enter_async_context(await open_database(settings, checks_keys=False))
        blobs = await open_blobs(settings)
        stack.callback(blobs.close)
        progress = _Progress() if tells else None
        checking = Check(
            database, blobs, reads=reads, on_progress=progress or (lambda _done, _total: None)
        )
        return await checking.run(datetime.now(UTC), repairs=repairs)


async def set_password(settings: Settings, username: str, read: Callable[[], str]) -> str:
    """
    Set the password of a user, beside a server or without one.

    Args:
        settings: Where.
        username: Whose, in any case.
        read: Asks for the password; called once it is clear that there is such a user.

    Returns:
        The user's name as it is written.

    Raises:
        Unavailable: There is nothing, or it cannot be used.
        NotFound: There is no such user.
        InvalidInput: The password is too short or too long.
    """
    _check_home(settings)
    # Whoever is to type the password takes time, in which keys might be replaced.
    with using_keys(settings.home):
        return await _set_password(settings, username, read)


async def _set_password(settings: Settings, username: str, read: Callable[[], str]) -> str:
    async with await open_database(settings) as database:
        directory = Directory(database)
        await directory.load()
        passwords = Passwords(database, directory)
        passwords.user(username)
        account = await passwords.set(username, read())
        return account.username


def _check_home(settings: Settings) -> None:
    if not settings.database and not (settings.home / "algorium.db").is_file():
        raise Unavailable(f"there is no database in {settings.home}: is --home right?")


def as_dict(report: CheckReport) -> Mapping[str, Any]:
    """Return a report as JSON has it."""
    return {
        "is_clean": report.is_clean,
        "files": report.files,
        "bytes": report.bytes,
        "damaged": report.damaged,
        "shown": [
            {"file": each.file, "blob": each.blob, "problem": each.problem} for each in report.shown
        ],
        "garbage_files": report.garbage_files,
        "garbage_bytes": report.garbage_bytes,
        "wrong_use": [
            {
                "account_id": each.account_id,
                "noted": {"bytes": each.noted.bytes, "files": each.noted.files},
                "counted": {"bytes": each.counted.bytes, "files": each.counted.files},
            }
            for each in report.wrong_use
        ],
        "repaired": report.repaired,
    }


def as_text(report: CheckReport) -> str:
    """Return a report for people."""
    lines = [f"{report.files} files, {report.bytes} bytes"]
    lines += [f"damaged: {each.file}: {each.problem} ({each.blob})" for each in report.shown]
    if report.damaged > len(report.shown):
        lines.append(f"damaged: {report.damaged - len(report.shown)} more")
    done = "removed" if report.repaired else "a running server removes it"
    if report.garbage_files:
        lines.append(f"garbage: {report.garbage_files} files, {report.garbage_bytes} bytes; {done}")
    done = "corrected" if report.repaired else "--repair corrects it"
    for each in report.wrong_use:
        lines.append(
            f"account {each.account_id} has {each.counted.files} files, {each.counted.bytes} bytes;"
            f" noted were {each.noted.files} files, {each.noted.bytes} bytes; {done}"
        )
    lines.append("clean" if report.is_clean else "not clean")
    return "".join(f"{line}\n" for line in lines)


class _Progress:
    """Says on standard error how far it is, now and then."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= _PROGRESS_EVERY_S:
            self._said_at = now
            sys.stderr.write(f"{done} of {total} files\n")
