"""
The command `algorium`: serve, check what is stored, verify versions, examine the host.

Exit codes: 0 done, 1 the job failed (the reason is on standard error), 2 wrong usage.
"""

import asyncio
import gc
import getpass
import importlib.metadata
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from rich.console import Console
from rich.table import Table

from algorium_server.commands.common import (
    DONE,
    FAILED,
    WRONG_USAGE,
    Json,
    StorageOptions,
    WrongUsage,
    complain,
    options_class,
    print_json,
    settings_of,
    some_options,
)
from algorium_server.domain.errors import AlgoriumError, InvalidInput
from algorium_server.settings import Settings


def _version() -> str:
    return importlib.metadata.version("algorium-server")


app = cyclopts.App(
    name="algorium",
    help="Run and look after an Algorium server.",
    version=_version,
    result_action="return_value",
    default_parameter=cyclopts.Parameter(show_env_var=True),
)


_Options: Any = options_class("_Options", Settings.table())
"""The table of settings as the command line reads it."""
_VerifyOptions: Any = some_options(
    "_VerifyOptions", "home", "database", "sandbox", "unsafe_no_sandbox", "network_allow"
)
"""Those that say where things are, and how to confine what is run."""


@app.command
def serve(*, options: Annotated[_Options, cyclopts.Parameter(name="*")] = _Options()) -> int:  # noqa: B008 - frozen
    """
    Start the server; it runs until it is told to stop.

    Every option can also be given as an environment variable.
    """
    settings = settings_of(options)
    # Loaded only here: `--help`, `version` and wrong usage answer without waiting for it.
    if settings.workers > 1:
        from algorium_server.fleet import serve as serve_together  # noqa: PLC0415

        return serve_together(settings)
    # What is loaded stays: looking for garbage in it, again and again while it grows, is a sixth
    # of the time.
    gc.disable()
    try:
        from algorium_server.app import serve as serve_alone  # noqa: PLC0415
    finally:
        gc.enable()
    return serve_alone(settings)


@app.command
def version(*, as_json: Json = False) -> int:
    """Print the version."""
    if as_json:
        print_json({"version": _version()})
    else:
        sys.stdout.write(f"algorium {_version()}\n")
    return DONE


@app.command
def doctor(*, as_json: Json = False) -> int:
    """
    Examine this host: what it offers to algorithms, what is missing, and how to get it.

    Ends with 1 if this host offers no sandbox to run algorithms in.
    """
    report = asyncio.run(_examine())
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    return DONE if report["level"] else FAILED


@app.command
def fsck(
    *,
    fast: Annotated[
        bool,
        cyclopts.Parameter(
            name="--fast", negative="", help="Look at presence and lengths only; read no bytes."
        ),
    ] = False,
    repair: Annotated[
        bool,
        cyclopts.Parameter(
            name="--repair",
            negative="",
            help="Remove garbage and correct counts; the server must be stopped.",
        ),
    ] = False,
    as_json: Json = False,
    options: Annotated[StorageOptions, cyclopts.Parameter(name="*")] = StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """
    Check what is stored: rows against bytes, bytes against rows, checksums, counts.

    Ends with 1 if a file is damaged or counts are wrong.
    """
    settings = settings_of(options)
    from algorium_server.commands.checking import as_dict, as_text, check  # noqa: PLC0415 - as in `serve`
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")
    report = asyncio.run(check(settings, reads=not fast, repairs=repair, tells=not as_json))
    if as_json:
        print_json(as_dict(report))
    else:
        sys.stdout.write(as_text(report))
    return DONE if report.is_clean else FAILED


@app.command
def verify(
    name: Annotated[str, cyclopts.Parameter(help="OWNER/NAME/VERSION; a commit is a version too.")],
    *,
    as_json: Json = False,
    options: Annotated[_VerifyOptions, cyclopts.Parameter(name="*")] = _VerifyOptions(),  # noqa: B008 - frozen
) -> int:
    """
    Build a version again from its commit and its lock, and compare it with what is stored.

    Ends with 1 if something differs, or cannot be compared.
    """
    settings = settings_of(options)
    from algorium_server.commands import verifying  # noqa: PLC0415 - as in `serve`
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")
    verdict = asyncio.run(verifying.verify(settings, name))
    if as_json:
        print_json(verifying.as_dict(verdict))
    else:
        sys.stdout.write(verifying.as_text(verdict))
    return DONE if verdict.is_same else FAILED


@app.command
def password(
    username: Annotated[str, cyclopts.Parameter(help="Name of the user.")],
    *,
    options: Annotated[StorageOptions, cyclopts.Parameter(name="*")] = StorageOptions(),  # noqa: B008 - frozen
) -> int:
    """
    Set the password of a user, for signing in and for git; asked for, or read from standard input.

    All sessions of the user end. Works while the server runs, and while it does not.
    """
    settings = settings_of(options)
    from algorium_server.commands.checking import set_password  # noqa: PLC0415 - as in `serve`
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")
    name = asyncio.run(set_password(settings, username, _read_password))
    sys.stdout.write(f"the password of {name} is set\n")
    return DONE


@app.command
def permissions(*, as_json: Json = False) -> int:
    """Print who may do what: with calls and data, algorithms, accounts."""
    from algorium_server.domain.rights import rights_tables  # noqa: PLC0415 - as in `serve`

    tables = tuple(rights_tables())
    if as_json:
        print_json(
            {
                table.title: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
                for table in tables
            }
        )
        return DONE
    console = Console(file=sys.stdout, markup=False, highlight=False)
    for table in tables:
        shown = Table(*table.columns, title=table.title)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    return DONE


# By their paths: loaded only when they are asked for, for the reason given in `serve`.
for _path, _help in {
    "accounts:user": "Look after users, beside the server or without it.",
    "accounts:org": "Look after organizations and their members, beside the server or without it.",
    "keys:key": "Look after API keys of users and organizations, beside the server or without it.",
    "quotas:quota": "Look after what accounts may use, beside the server or without it.",
    "audit:audit": "Read the audit log, and see whether it is whole.",
    "sealing_keys:sealing_key": "Look after the keys that secrets are sealed with.",
    "backups:backup": "Make a backup of everything, while the server runs or not.",
    "backups:restore": "Restore a backup into an empty home directory, and check what is there.",
    "backups:upgrade": "Bring the database of an older release up to date, after a backup.",
}.items():
    _name = _path.partition(":")[2].replace("_", "-")
    app.command(f"algorium_server.commands.{_path}", name=_name, help=_help)


def _read_password() -> str:
    """Read a password: never from arguments, which others can see."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("New password: ")
    if getpass.getpass("Again: ") != first:
        raise InvalidInput("the two passwords differ; nothing was changed")
    return first


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        arguments: What follows the program's name; those of the process if not given.

    Returns:
        The exit code.
    """
    try:
        status: int | None = app(arguments, exit_on_error=False)
        return status or DONE
    except cyclopts.CycloptsError:
        return WRONG_USAGE  # the message has been printed
    except WrongUsage as wrong:
        return complain(wrong.error, code=WRONG_USAGE)
    except AlgoriumError as error:
        return complain(error, code=FAILED)


async def _examine() -> Mapping[str, Any]:
    # Loaded only here, for the reason given in `serve`.
    from algorium_server.engine.doctor import try_zygote  # noqa: PLC0415
    from algorium_server.engine.host import SandboxHost  # noqa: PLC0415
    from algorium_server.services.examination import examine  # noqa: PLC0415
    from algorium_server.telemetry import configure  # noqa: PLC0415

    configure("warning", "auto")  # standard output is for the report alone
    with tempfile.TemporaryDirectory(prefix="algorium-doctor-") as state_dir:
        host = await SandboxHost.start("auto", Path(state_dir), allowed=())
        try:
            await try_zygote(host)
            return await examine(host)
        finally:
            await host.close()


def _print_report(report: Mapping[str, Any]) -> None:
    console = Console(file=sys.stdout, markup=False, highlight=False)
    console.print(f"Sandbox level: {report['level'] or 'none possible'}")
    table = Table("What", "State", "Found", "Remedy")
    for row in report["findings"]:
        table.add_row(*(row[column] for column in ("what", "state", "found", "remedy")))
    console.print(table)
    for sentence in report["unprotected"]:
        console.print(f"Not protected: {sentence}")
    if not any(row["remedy"] for row in report["findings"]):
        console.print("Nothing is missing.")
