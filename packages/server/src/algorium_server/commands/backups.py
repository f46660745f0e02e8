"""
The commands `algorium backup`, `algorium restore` and `algorium upgrade`.

What they do is in `backup`; here are their options and their words.
"""

import asyncio
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from algorium_server.commands.common import (
    DONE,
    FAILED,
    Json,
    StorageOptions,
    print_json,
    settings_of,
)
from algorium_server.domain.limits import BACKUP_PROGRESS_S, MIB
from algorium_server.settings import Settings


def backup(
    target: Annotated[
        Path,
        cyclopts.Parameter(
            name="TO", help="A file, TO.tar, TO.tar.gz or TO.tar.zst, or a directory; a new one."
        ),
    ],
    *,
    check: Annotated[
        bool,
        cyclopts.Parameter(
            name="--check", negative="", help="Make none: read TO, and see whether it is whole."
        ),
    ] = False,
    without_keys: Annotated[
        bool,
        cyclopts.Parameter(
            name="--without-keys",
            negative="",
            help="Leave out the keys that open secrets, and those of the first start.",
        ),
    ] = False,
    as_json: Json = False,
    options: Annotated[StorageOptions, cyclopts.Parameter(name="*")] = StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """
    Make a backup of everything, while the server runs or not.

    It has in it what was acknowledged before. Without --without-keys it is secret.
    """
    settings = settings_of(options)
    # Loaded only here: `--help` and wrong usage answer without waiting for it.
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")
    return _check(target, as_json) if check else _take(settings, target, not without_keys, as_json)


def restore(
    source: Annotated[Path, cyclopts.Parameter(name="FROM", help="A backup: file or directory.")],
    *,
    fast: Annotated[
        bool,
        cyclopts.Parameter(
            name="--fast",
            negative="",
            help="At the end, look at presence and lengths of files only; read no bytes again.",
        ),
    ] = False,
    as_json: Json = False,
    options: Annotated[StorageOptions, cyclopts.Parameter(name="*")] = StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """
    Restore a backup into an empty home directory, and check what is there.

    Ends with 1 if the backup is damaged, and then leaves nothing; also if the check finds damage
    that was there before the backup.
    """
    settings = settings_of(options)
    # As in `backup`.
    from algorium_server.backup.restoring import restore as unpack  # noqa: PLC0415
    from algorium_server.backup.upgrading import upgrade as bring_up_to_date  # noqa: PLC0415
    from algorium_server.commands.checking import as_dict, as_text  # noqa: PLC0415
    from algorium_server.commands.checking import check as check_all  # noqa: PLC0415
    from algorium_server.home import locked  # noqa: PLC0415
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")
    with locked(settings.home):
        progress = _Progress()
        done = unpack(source, settings.home, database_url=settings.database, on_progress=progress)
        progress.end()
        # The backup is the backup.
        upgraded = asyncio.run(bring_up_to_date(settings, has_backup=False))
        report = asyncio.run(check_all(settings, reads=not fast, repairs=False, tells=False))
    if as_json:
        print_json(
            {
                "home": str(settings.home),
                "made_at": done.header.made_at,
                "version": done.header.version,
                "files": done.files,
                "bytes": done.bytes,
                "left_out": list(done.header.left_out),
                "schema": {"before": upgraded.before, "after": upgraded.after},
                "unusable_environments": [
                    {"environment": name, "needs": path} for name, path in done.unusable
                ],
                "fsck": as_dict(report),
            }
        )
    else:
        _say(f"{done.files} files, {done.bytes} bytes, as of {done.header.made_at}")
        for each in done.header.left_out:
            _say(f"not in the backup: {each}")
        if upgraded.before != upgraded.after:
            _say(f"schema: from {upgraded.before} to {upgraded.after}")
        for name, path in done.unusable:
            _say(f"environment {name} cannot run on this host: it needs {path}")
        sys.stdout.write(as_text(report))
        _say(f"restored into {settings.home}")
    return DONE if report.is_clean else FAILED


def upgrade(
    *,
    no_backup: Annotated[
        bool,
        cyclopts.Parameter(
            name="--no-backup", negative="", help="Make no backup first: there is one already."
        ),
    ] = False,
    as_json: Json = False,
    options: Annotated[StorageOptions, cyclopts.Parameter(name="*")] = StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """
    Bring the database of an older release up to date, after a backup; the server is stopped.

    The backup is in backups/ in the home directory. A newer release's database is refused.
    """
    settings = settings_of(options)
    # As in `backup`.
    from algorium_server.backup.upgrading import upgrade as bring_up_to_date  # noqa: PLC0415
    from algorium_server.backup.upgrading import wanted_backup  # noqa: PLC0415
    from algorium_server.home import locked  # noqa: PLC0415
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")
    asyncio.run(wanted_backup(settings))  # or a mistyped home would be made
    with locked(settings.home):
        progress = _Progress()
        done = asyncio.run(
            bring_up_to_date(settings, has_backup=not no_backup, on_progress=progress)
        )
        progress.end()
    if as_json:
        print_json(
            {
                "before": done.before,
                "after": done.after,
                "backup": str(done.backup) if done.backup else None,
            }
        )
    elif done.before == done.after:
        _say(f"schema {done.after}: there is nothing to do")
    else:
        if done.backup:
            _say(f"backup: {done.backup}")
        _say(f"schema: from {done.before or 'none'} to {done.after}")
    return DONE


def _take(settings: Settings, target: Path, has_keys: bool, as_json: bool) -> int:
    # As in `backup`.
    from algorium_server.backup.taking import take  # noqa: PLC0415
    from algorium_server.backup.upgrading import wanted_backup  # noqa: PLC0415
    from algorium_server.home import check_whole  # noqa: PLC0415

    check_whole(settings.home)
    wanted = asyncio.run(wanted_backup(settings, has_keys=has_keys))
    progress = _Progress()
    done = take(wanted, target, now=datetime.now(UTC), on_progress=progress)
    progress.end()
    header = done.header
    if as_json:
        print_json(
            {
                "backup": str(done.target),
                "files": done.files,
                "bytes": done.bytes,
                "made_at": header.made_at,
                "version": header.version,
                "schema": header.schema,
                "left_out": list(header.left_out),
                "storage": header.storage or None,
                "missing": done.missing_count,
            }
        )
    else:
        _say(f"{done.target}: {done.files} files, {done.bytes} bytes")
        for each in header.left_out:
            _say(f"not in the backup: {each}")
        if header.storage:
            _say(
                f"not in the backup: larger files, which are in {header.storage}; let it keep"
                " deleted objects as long as you keep backups"
            )
    if done.missing_count:
        sys.stderr.write(
            f"{done.missing_count} files had lost their bytes before; `algorium fsck` names them\n"
        )
    return DONE


def _check(source: Path, as_json: bool) -> int:
    from algorium_server.backup.restoring import verify  # noqa: PLC0415 - as in `backup`

    progress = _Progress()
    found = verify(source, on_progress=progress)
    progress.end()
    told: Mapping[str, Any] = {
        "files": found.files,
        "bytes": found.bytes,
        "made_at": found.header.made_at,
        "version": found.header.version,
        "schema": found.header.schema,
        "left_out": list(found.header.left_out),
    }
    if as_json:
        print_json({"is_whole": True, **told})
    else:
        _say(f"{found.files} files, {found.bytes} bytes, as of {found.header.made_at}")
        _say("whole")
    return DONE


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


class _Progress:
    """Says on a terminal, on standard error, how far it is."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()
        self._has_said = False

    def __call__(self, files: int, size: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= BACKUP_PROGRESS_S and sys.stderr.isatty():
            self._said_at = now
            self._has_said = True
            sys.stderr.write(f"\r{files} files, {size // MIB} MiB")
            sys.stderr.flush()

    def end(self) -> None:
        """Make room for other lines."""
        if self._has_said:
            sys.stderr.write("\n")
