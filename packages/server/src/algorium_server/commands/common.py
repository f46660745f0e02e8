"""
What the commands of `algorium` share: options, output, how they end.

Exit codes: 0 done, 1 the job failed (the reason is on standard error), 2 wrong usage.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, Final

import cyclopts
from rich.console import Console
from rich.table import Column, Table

from algorium_server.domain.errors import AlgoriumError, InvalidInput
from algorium_server.options import Option
from algorium_server.settings import Settings

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
_PIPE_COLUMNS: Final = 10_000

Json = Annotated[
    bool, cyclopts.Parameter(name="--json", negative="", help="Print JSON for programs.")
]


AdminKey = Annotated[
    str,
    cyclopts.Parameter(
        name="--admin-key",
        env_var="ALGORIUM_ADMIN_KEY",
        show_default="that of the first start",
        help="Admin key to show to a running server; better in the environment, where others do"
        " not see it.",
    ),
]


def options_class(name: str, options: Iterable[Option]) -> Any:
    """Return a class of settings as the command line reads them."""
    return make_dataclass(
        name,
        [
            (
                option.name,
                Annotated[
                    option.type,
                    cyclopts.Parameter(
                        name=option.flag,
                        env_var=option.variable,
                        help=option.help,
                        show_default=option.default_text or False,
                        negative="",
                    ),
                ],
                field(default=option.default),
            )
            for option in options
        ],
        frozen=True,
        kw_only=True,
        # Without it the class claims to be of the module `types`, which the command line skips.
        namespace={"__module__": __name__},
    )


def some_options(name: str, *names: str) -> Any:
    """Return a class of the settings that are called so."""
    return options_class(name, [option for option in Settings.table() if option.name in names])


StorageOptions: Any = some_options("StorageOptions", "home", "database", "storage")
"""Those that say where things are."""


class WrongUsage(Exception):
    """
    What somebody typed can never be right: the program says so and ends with 2.

    Attributes:
        error: What is wrong, and what to do.
    """

    def __init__(self, error: AlgoriumError) -> None:
        super().__init__(error.message)
        self.error = error


def settings_of(options: Any) -> Settings:
    """
    Return the settings that somebody gave; the others have their defaults.

    Raises:
        WrongUsage: A value is never right.
    """
    try:
        return Settings(**{row.name: getattr(options, row.name) for row in fields(options)})
    except InvalidInput as error:
        raise WrongUsage(error) from error


def print_json(value: object) -> None:
    """Write a value to standard output, for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to standard output, for people."""
    # What is cut off cannot be copied: folded on a terminal, and never short in a pipe.
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    console = Console(file=sys.stdout, markup=False, highlight=False, width=width)
    table = Table(*(Column(column, overflow="fold") for column in columns))
    for row in rows:
        table.add_row(*row)
    console.print(table)


def complain(error: AlgoriumError, *, code: int) -> int:
    """Say on standard error what went wrong and what to do; return *code*."""
    lines = [f"algorium: {error.message}", error.hint]
    sys.stderr.write("".join(f"{line}\n" for line in lines if line))
    return code
