"""
The whole of who may do what, for people: the tables of the modules that decide.

Each of those begins with its table. Tests hold the tables and the decisions against each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from algorium_server.domain import access, administration, authorship

_MODULES = (access, authorship, administration)
_TITLES = ("Calls and data", "Algorithms", "Accounts and the installation")


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsTable:
    """
    Who may do what with one kind of thing.

    Attributes:
        columns: The action, then those who might do it.
        rows: As many cells each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def rights_tables() -> Iterator[RightsTable]:
    """Yield all tables."""
    for title, module in zip(_TITLES, _MODULES, strict=True):
        columns, _, *rows = _cells(module.__doc__ or "")
        yield RightsTable(title=title, columns=columns, rows=tuple(rows))


def _cells(text: str) -> Iterator[tuple[str, ...]]:
    for line in text.splitlines():
        if line.startswith("|"):
            yield tuple(cell.strip() for cell in line.strip("|").split("|"))
