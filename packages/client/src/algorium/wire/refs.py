"""
References to algorithms: `owner/name`, `owner/name/version`, and the same by UUID.

Source: wire specification, "Path normalisation".
"""

import re
from dataclasses import dataclass

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_PREFIX = re.compile(r"/*algo:/{0,2}", re.IGNORECASE)
_SEGMENT = re.compile(r"[^/]+")


def is_name(text: str) -> bool:
    """Whether accounts, algorithms and collections can be called so: their one grammar."""
    return _NAME.fullmatch(text) is not None


class RefSyntaxError(ValueError):
    """
    The text is not a reference to an algorithm.

    Attributes:
        text: What was read.
        column: Where it went wrong, from 0.
        reason: What was expected there.
    """

    def __init__(self, text: str, column: int, reason: str) -> None:
        super().__init__(f"{text!r}, column {column}: {reason}")
        self.text = text
        self.column = column
        self.reason = reason

    def __reduce__(self) -> tuple[type["RefSyntaxError"], tuple[str, int, str]]:
        """Go from process to process: by default only the message would."""
        return type(self), (self.text, self.column, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmRef:
    """
    Which algorithm, and which version of it.

    Attributes:
        owner: Account name as written; empty when *algorithm_id* is given.
        name: Algorithm name as written; empty when *algorithm_id* is given.
        version: Version segment as written, empty for "latest".
        algorithm_id: Lower-case UUID of the algorithm, or empty.
    """

    owner: str = ""
    name: str = ""
    version: str = ""
    algorithm_id: str = ""

    def __post_init__(self) -> None:
        if self.algorithm_id:
            is_valid = bool(_UUID.fullmatch(self.algorithm_id)) and not (self.owner or self.name)
        else:
            is_valid = is_name(self.owner) and is_name(self.name)
        if not is_valid or "/" in self.version:
            raise RefSyntaxError(str(self), 0, "expected OWNER/NAME or an id, and maybe a version")

    def __str__(self) -> str:
        """Return the normal form without the scheme: `owner/name[/version]`."""
        head = self.algorithm_id or f"{self.owner}/{self.name}"
        return f"{head}/{self.version}" if self.version else head

    @property
    def uri(self) -> str:
        """The normal form with its scheme: `algo://owner/name[/version]`."""
        return f"algo://{self}"

    @classmethod
    def parse(cls, text: str) -> "AlgorithmRef":
        """
        Read a reference as any client writes it.

        An `algo://` prefix (also with a merged slash), leading, trailing and doubled slashes are
        dropped. A first segment that is a UUID names the algorithm by its id.

        Raises:
            RefSyntaxError: Segments are missing, too many, or not names.
        """
        prefix = _PREFIX.match(text)
        found = list(_SEGMENT.finditer(text, prefix.end() if prefix else 0))
        segments = [match[0] for match in found]
        if segments and _UUID.fullmatch(segments[0]):
            if len(segments) > 2:
                raise RefSyntaxError(text, found[2].start(), "expected ID or ID/VERSION")
            return cls(algorithm_id=segments[0].lower(), version="".join(segments[1:]))
        if len(segments) not in {2, 3}:
            column = found[3].start() if len(found) > 3 else len(text)
            raise RefSyntaxError(text, column, "expected OWNER/NAME or OWNER/NAME/VERSION")
        for match in found[:2]:
            if not is_name(match[0]):
                raise RefSyntaxError(
                    text, match.start(), "names are a letter, then letters, digits and _"
                )
        return cls(owner=segments[0], name=segments[1], version="".join(segments[2:]))
