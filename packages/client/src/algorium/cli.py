"""
The command `algo`: make and call algorithms, look after files.

Exit codes: 0 done, 1 the job failed, 2 wrong usage. Results go to standard output, everything said
about them to standard error. The commands are in `_cli/`; how results look is in `_rendering.py`.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from algorium._cli.program import CommandError, Failed, UsageError, app, note
from algorium._errors import AlgorithmError, AlgoriumError
from algorium.wire.refs import RefSyntaxError
from algorium.wire.uris import UriSyntaxError

for _subject in (
    "calls",
    "authoring",
    "builds",
    "secrets",
    "catalogs",
    "files",
    "transfers",
    "freeze",
    "usage",
):
    import_module(f"algorium._cli.{_subject}")  # adds its commands to `app`

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
    except (CommandError, UsageError, RefSyntaxError, UriSyntaxError) as error:
        command = f"algo {words[0]}" if words and words[0] in app else "algo"
        return _fail(str(error), hint=f"`{command} --help` shows how to use it.", exit_code=2)
    except Failed as error:
        return _fail(str(error), hint=error.hint or "`algo --help` shows what else can be done.")
    except AlgorithmError as error:
        hint = error.hint or "Run it again with --debug to see what it printed."
        return _fail(f"{error.error_type}: {error.message}", hint=hint, request=error.request_id)
    except AlgoriumError as error:
        hint = error.hint or "`algo --help` shows what else can be done."
        return _fail(error.message, hint=hint, request=error.request_id)
    except KeyboardInterrupt:
        return _fail("interrupted", hint=_hint_after_interrupt(words))
    except BrokenPipeError:
        # Whoever read our output has enough. Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(str(error), hint="Check the path and its permissions.")
    return 0


def _hint_after_interrupt(words: Sequence[str]) -> str:
    if words and words[0] in {"push", "build", "logs"}:
        return "A build goes on by itself; `algo logs --follow` shows it again."
    return "The same `cp`, `mv` or `sync` goes on where it was."


def _fail(message: str, *, hint: str, request: str = "", exit_code: int = 1) -> int:
    note(f"error: {message}")
    if request:
        note(f"request: {request}")
    note(f"hint: {hint}")
    return exit_code
