"""The program `algo`, before it has commands: what they all share."""

import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final

try:
    from cyclopts import App, CycloptsError, Parameter
except ImportError:  # an optional extra
    raise SystemExit("error: algo needs more packages\nhint: pip install 'algorium[cli]'") from None

if TYPE_CHECKING:
    from algorium import Algorium

CommandError = CycloptsError
"""For `cli`, which has it from here, behind the check above."""

Switch: Final = Parameter(negative="")
Operand: Final = Parameter(allow_leading_hyphen=True)  # "-" is standard input or output
AsJson: Final = Parameter(name="--json", negative="")
Recursive: Final = Parameter(name=["--recursive", "-r"], negative="")

app = App(
    name="algo",
    help="Call algorithms and look after files on an Algorium server.",
    version=lambda: version("algorium"),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # `main` says what an interrupt means
)


class UsageError(Exception):
    """The command line asks for something that makes no sense."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Server:
    """
    Which server, and as whom.

    Attributes:
        profile: Section of ~/.algorithmia/config; left out, the environment (ALGORITHMIA_API,
            ALGORITHMIA_API_KEY) and then the section "default" count.
        api_address: Address of the API, such as http://127.0.0.1:8080.
    """

    profile: Annotated[str | None, Parameter(help="Section of ~/.algorithmia/config.")] = None
    api_address: Annotated[str | None, Parameter(help="Address of the API.")] = None

    def connect(self) -> "Algorium":
        """Return a client."""
        # Inside: the HTTP library takes longer to load than `algo --help` to run.
        from algorium import Algorium  # noqa: PLC0415

        return Algorium(api_address=self.api_address, profile=self.profile)


def connect(server: Server | None) -> "Algorium":
    """Return a client of the server that was asked for, or of the usual one."""
    return (server or Server()).connect()


def write_line(line: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{line}\n")


def write_json(value: Any) -> None:
    """Write a line of JSON to standard output."""
    write_line(json.dumps(value, ensure_ascii=False))


def note(text: str) -> None:
    """Write a line to standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
