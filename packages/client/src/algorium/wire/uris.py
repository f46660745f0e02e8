"""
Data URIs: `data://owner/collection/file`, `s3+label://bucket/key` and their relatives.

Source: wire specification, "Data URI grammar".
"""

import re
from dataclasses import dataclass
from typing import Final

PROTOCOLS: Final = frozenset({"data", "s3", "gs", "azureblob", "dropbox"})

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9]*)(?:\+([A-Za-z0-9_-]+))?:/{1,2}")


class UriSyntaxError(ValueError):
    """
    The text is not a data URI.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DataUri:
    """
    A place in a data source.

    Attributes:
        protocol: One of `PROTOCOLS`, lower case.
        label: Which connector of that protocol; empty for the default one and for `data`.
        segments: Path without empty segments; no segment contains a slash.
    """

    protocol: str = "data"
    label: str = ""
    segments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for segment in self.segments:
            if segment in {"", ".", ".."} or "/" in segment or "\0" in segment:
                raise UriSyntaxError("/".join(self.segments), 0, f"{segment!r} cannot be a name")

    def __str__(self) -> str:
        return f"{self.connector}://{'/'.join(self.segments)}"

    @property
    def connector(self) -> str:
        """The part before `://`: `data`, `s3`, `s3+label`."""
        return f"{self.protocol}+{self.label}" if self.label else self.protocol

    @property
    def name(self) -> str:
        """The last segment, empty at the root."""
        return self.segments[-1] if self.segments else ""

    @property
    def parent(self) -> "DataUri":
        """The directory that holds this place; the root is its own parent."""
        return self.at(self.segments[:-1])

    def at(self, segments: tuple[str, ...]) -> "DataUri":
        """Return another place of the same connector."""
        return DataUri(protocol=self.protocol, label=self.label, segments=segments)

    def child(self, name: str) -> "DataUri":
        """
        Return the place called *name* below this one.

        Raises:
            UriSyntaxError: *name* is empty, `.`, `..` or contains a slash.
        """
        return self.at((*self.segments, name))

    @classmethod
    def parse(cls, text: str) -> "DataUri":
        """
        Read a data URI as any client writes it; without a scheme it is hosted data.

        Empty segments and a trailing slash are dropped; a merged slash (`s3:/`) is forgiven.

        Raises:
            UriSyntaxError: Unknown protocol, a label on `data`, or a segment that cannot be a name.
        """
        match = _SCHEME.match(text)
        if match is None:
            return cls(segments=_split(text))
        protocol = match[1].lower()
        if protocol not in PROTOCOLS:
            raise UriSyntaxError(text, 0, f"expected one of {', '.join(sorted(PROTOCOLS))}")
        if protocol == "data" and match[2]:
            raise UriSyntaxError(text, match.start(2), "hosted data has no labels")
        return cls(protocol=protocol, label=match[2] or "", segments=_split(text[match.end() :]))


def _split(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)
