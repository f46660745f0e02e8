"""
The command `algo`: make and call algorithms, look after files.

Exit codes: 0 done, 1 the job failed, 2 wrong usage. Results go to standard output, everything said
about them to standard error. The commands are in `_cli/`; how results look is in `_rendering.py`.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from algorium._cli.program import CommandError, Failed, UsageError, app, note
from algorium._errors import AlgorithmError, AlgoriumError
from algorium.wire.refs import RefSyntaxError
from algorium.wire.uris import UriSyntaxError

for _subject in (
    "auth",
    "calls",
    "authoring",
    "builds",
    "dev",
    "secrets",
    "catalogs",
    "files",
    "transfers",
    "exporting",
    "importing",
    "freeze",
    "usage",
    "keys",
    "connectors",
    "orgs",
    "whoami",
    "shells",
):
    import_module(f"algorium._cli.{_subject}")  # adds its commands to `app`

app.register_install_completion_command(help="Make your shell complete commands and options.")

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names need not fit the terminal's character set
            stream.reconfigure(errors="backslashreplace")
    try:
        app(words, exit_on_error=False, print_error=False, result_action="return_none")
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has enough. Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        # The stack of an algorithm that has failed is its own; `run` has shown it.
        if "--debug" in words and not isinstance(error, AlgorithmError):
            note("".join(traceback.format_exception(error)).rstrip())
        return _explain(error, words)
    return 0


def _explain(error: BaseException, words: Sequence[str]) -> int:
    """Say what went wrong and what to do next; returns the exit code."""
    match error:
        case CommandError() | UsageError() | RefSyntaxError() | UriSyntaxError():
            command = f"algo {words[0]}" if words and words[0] in app else "algo"
            return _fail(str(error), hint=f"`{command} --help` shows how to use it.", exit_code=2)
        case Failed():
            hint = error.hint or "`algo --help` shows what else can be done."
            return _fail(str(error), hint=hint)
        case AlgorithmError():
            told = f"{error.error_type}: {error.message}"
            hint = error.hint or "Run it again with --debug to see what it printed."
            return _fail(told, hint=hint, request=error.request_id)
        case AlgoriumError():
            hint = error.hint or "`algo --help` shows what else can be done."
            return _fail(error.message, hint=hint, request=error.request_id)
        case KeyboardInterrupt():
            return _fail("interrupted", hint=_hint_after_interrupt(words))
        case OSError():
            return _fail(str(error), hint="Check the path and its permissions.")
        case _:
            told = f"algo itself has failed: {type(error).__name__}: {error}"
            return _fail(told, hint="Please report it, with what --debug shows.")


def _hint_after_interrupt(words: Sequence[str]) -> str:
    if words and words[0] in {"push", "build", "logs"}:
        return "A build goes on by itself; `algo logs --follow` shows it again."
    if words and words[0] in {"export", "import"}:
        return f"The same `algo {words[0]}` goes on where it was."
    return "The same `cp`, `mv` or `sync` goes on where it was."


def _fail(message: str, *, hint: str, request: str = "", exit_code: int = 1) -> int:
    note(f"error: {message}", colour="red")
    if request:
        note(f"request: {request}")
    note(f"hint: {hint}", colour="cyan")
    return exit_code
