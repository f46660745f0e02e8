"""The program `algo`, before it has commands: what they all share."""

import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

try:
    from cyclopts import App, CycloptsError, Parameter
except ImportError:  # an optional extra
    raise SystemExit("error: algo needs more packages\nhint: pip install 'algorium[cli]'") from None

from algorium._config import Connection, connection
from algorium._rendering_authoring import as_json as value_json

if TYPE_CHECKING:
    from algorium import Algorium

CommandError = CycloptsError
"""For `cli`, which has it from here, behind the check above."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

COLOURS: Final = {"red": "1;31", "yellow": "33", "cyan": "36"}
"""What terminals show words in; see `note`."""

Switch: Final = Parameter(negative="")
Operand: Final = Parameter(allow_leading_hyphen=True)  # "-" is standard input or output
AsJson: Final = Parameter(name="--json", negative="")
Recursive: Final = Parameter(name=["--recursive", "-r"], negative="")


def _shown_default(value: Any) -> str | None:
    """Leave out of `--help` what goes without saying."""
    return None if value is None or value is False or value in ("", ()) else str(value)


app = App(
    name="algo",
    help="Make and call algorithms and look after files on an Algorium server.",
    version=lambda: version("algorium"),
    default_parameter=Parameter(show_default=_shown_default),
    help_format="markdown",  # joins the lines of our docstrings to those of the terminal
    suppress_keyboard_interrupt=False,  # `main` says what an interrupt means
)


class UsageError(Exception):
    """The command line asks for something that makes no sense."""


class Failed(Exception):
    """
    What was to be done cannot be done.

    Attributes:
        hint: What to do next.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Server:
    """
    Which server, and as whom.

    Attributes:
        profile: Section of ~/.algorithmia/config; left out, the environment (ALGORITHMIA_API,
            ALGORITHMIA_API_KEY) and then the section "default" count.
        api_address: Address of the API, such as http://127.0.0.1:8080.
        debug: Tell more; `cli` shows stack traces then.
    """

    profile: Annotated[str | None, Parameter(help="Section of ~/.algorithmia/config.")] = None
    api_address: Annotated[str | None, Parameter(help="Address of the API.")] = None
    debug: Annotated[bool, Parameter(help="Show more of what goes wrong.", negative="")] = False

    def connect(self) -> "Algorium":
        """Return a client."""
        # Inside: the HTTP library takes longer to load than `algo --help` to run.
        from algorium import Algorium  # noqa: PLC0415

        return Algorium(api_address=self.api_address, profile=self.profile)

    def connection(self) -> Connection:
        """Return where the server is and with what it is asked, without asking it."""
        return connection(api_address=self.api_address, profile=self.profile)


def connect(server: Server | None) -> "Algorium":
    """Return a client of the server that was asked for, or of the usual one."""
    return (server or Server()).connect()


def write_line(line: str) -> None:
    """Write a line to standard output; see `printable`."""
    sys.stdout.write(f"{printable(line)}\n")


def printable(text: str) -> str:
    """
    Return a line as it is, but for control characters, which are spelt out.

    Names come from other people: they could break a line in two, or command the terminal.
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def write_list(found: Iterable[Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Write values of the client as a list in JSON, or the lines that show them to people."""
    if as_json:
        write_json([value_json(each) for each in found])
        return
    for line in lines:
        write_line(line)


def write_json(value: Any) -> None:
    """Write a line of JSON to standard output, in whatever character set that has."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=not is_unicode)
    sys.stdout.write(_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


def note(text: str, *, colour: str = "") -> None:
    """
    Write lines to standard error; see `printable`.

    Args:
        text: The lines.
        colour: Of the word before the first colon, on terminals: one of `COLOURS`.
    """
    sys.stdout.flush()
    lines = [printable(line) for line in text.split("\n")]
    if colour and is_coloured(sys.stderr):
        word, colon, rest = lines[0].partition(":")
        lines[0] = f"\x1b[{COLOURS[colour]}m{word}{colon}\x1b[0m{rest}"
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def is_coloured(stream: TextIO) -> bool:
    """Whether colours are for the reader of a stream: a terminal, unless NO_COLOR forbids it."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    is_able = os.name != "nt" or bool(os.environ.get("WT_SESSION") or os.environ.get("ANSICON"))
    return is_able and stream.isatty()
