"""
Patterns of algorithms, as keys have them: which ones they may call.

    algo://*               every algorithm
    algo://owner/*         all of one account
    algo://owner/name[/*]  one

Source: wire specification, "API keys".
"""

import re
from functools import lru_cache
from typing import NamedTuple

_ENTRY = re.compile(r"algo://(?:\*|([^/*]+)/(?:\*|([^/*]+)(?:/\*)?))")


class AlgoPattern(NamedTuple):
    """
    A pattern of algorithms.

    Attributes:
        owner: In lower case; empty for any.
        name: The same.
    """

    owner: str
    name: str

    def matches(self, owner: str, name: str) -> bool:
        """Whether it means the algorithm whose owner and name, in lower case, are these."""
        return self.owner in {"", owner} and self.name in {"", name}

    def covers(self, other: "AlgoPattern") -> bool:
        """Whether it means every algorithm that *other* means."""
        return self.matches(other.owner, other.name)


@lru_cache(maxsize=4096)
def pattern_of(entry: str) -> AlgoPattern | None:
    """Return the pattern that *entry* spells, in whatever case; None if it is none."""
    match = _ENTRY.fullmatch(entry)
    return AlgoPattern((match[1] or "").lower(), (match[2] or "").lower()) if match else None
