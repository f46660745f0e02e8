"""
Options: fields of a dataclass, as rows of a table that commands and documents are made from.

A field says its help in its metadata, and there, if it must, how its default is shown.
"""

from collections.abc import Iterator
from dataclasses import field, fields
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

ENVIRONMENT_PREFIX: Final = "ALGORIUM_"


class Option(NamedTuple):
    """
    One row of the table.

    Attributes:
        name: Field of `Settings`.
        flag: Spelling on the command line.
        variable: Environment variable.
        type: Python type of the value.
        default: Value when nothing is given.
        default_text: The default as a reader would write it; empty if it is empty.
        help: A sentence or two.
    """

    name: str
    flag: str
    variable: str
    type: Any
    default: Any
    default_text: str
    help: str

    @property
    def kind(self) -> str:
        """The type in words, for people: `full | reduced`, `number`, `yes or no`, ..."""
        if get_origin(self.type) is Literal:
            return " | ".join(get_args(self.type))
        words = {bool: "yes or no", int: "integer", float: "number", Path: "path", str: "text"}
        return words[self.type]


def option(default: Any, text: str) -> Any:
    """Return a field of a dataclass that is an option; *text* is its help."""
    return field(default=default, metadata={"help": text})


def options_of(cls: type) -> tuple[Option, ...]:
    """Return the options that a dataclass has for fields, in their order."""
    return tuple(_rows(cls))


def _rows(cls: type) -> Iterator[Option]:
    types = get_type_hints(cls)
    for row in fields(cls):
        shown = str(row.default)
        if isinstance(row.default, bool):
            shown = "yes" if row.default else "no"
        yield Option(
            name=row.name,
            flag="--" + row.name.replace("_", "-"),
            variable=ENVIRONMENT_PREFIX + row.name.upper(),
            type=types[row.name],
            default=row.default,
            default_text=row.metadata.get("shown", shown),
            help=row.metadata["help"],
        )
