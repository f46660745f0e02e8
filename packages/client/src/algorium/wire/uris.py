"""
Data URIs: `data://owner/collection/file`, `s3+label://bucket/key` and their relatives.

Source: wire specification, "Data URI grammar".
"""

import re
from dataclasses import dataclass
from typing import Final

PROTOCOLS: Final = frozenset({"data", "s3", "gs", "azureblob", "dropbox"})

# Wider than what is valid: `s3+my.label://x` is a wrong URI, not a hosted file with odd names.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*):/{1,2}")
_LABEL = re.compile(r"[A-Za-z0-9_-]+")
_SEGMENT = re.compile(r"[^/]+")


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

    def __reduce__(self) -> tuple[type["UriSyntaxError"], tuple[str, int, str]]:
        """Go from process to process: by default only the message would."""
        return type(self), (self.text, self.column, self.reason)


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
        if self.protocol not in PROTOCOLS:
            raise UriSyntaxError(str(self), 0, f"expected one of {', '.join(sorted(PROTOCOLS))}")
        if self.label and (self.protocol == "data" or not _LABEL.fullmatch(self.label)):
            raise UriSyntaxError(str(self), len(self.protocol) + 1, _why_no_label(self.protocol))
        for segment in self.segments:
            if not can_be_name(segment):
                raise UriSyntaxError(str(self), 0, _why_no_name(segment))

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
            return cls(segments=_split(text, 0))
        return _root(match[1], text).at(_split(text, match.end()))

    @classmethod
    def root_of(cls, connector: str) -> "DataUri":
        """
        Return the root of a data source, named as before `://`: `data`, `s3`, `s3+label`.

        Raises:
            UriSyntaxError: Unknown protocol, or a label that there cannot be.
        """
        return _root(connector, connector)


def _root(connector: str, text: str) -> DataUri:
    protocol, plus, label = connector.partition("+")
    protocol = protocol.lower()
    if protocol not in PROTOCOLS:
        raise UriSyntaxError(text, 0, f"expected one of {', '.join(sorted(PROTOCOLS))}")
    if plus and (protocol == "data" or not _LABEL.fullmatch(label)):
        raise UriSyntaxError(text, len(protocol) + 1, _why_no_label(protocol))
    return DataUri(protocol=protocol, label=label)


def _split(text: str, start: int) -> tuple[str, ...]:
    found = list(_SEGMENT.finditer(text, start))
    for match in found:
        if not can_be_name(match[0]):
            raise UriSyntaxError(text, match.start(), _why_no_name(match[0]))
    return tuple(match[0] for match in found)


def can_be_name(segment: str) -> bool:
    """Tell whether a file or directory can be called so: no path, and text that UTF-8 has."""
    return (
        segment not in {"", ".", ".."}
        and "/" not in segment
        and "\0" not in segment
        and _is_utf8(segment)
    )


def _is_utf8(segment: str) -> bool:
    # Local names that are no text, and JSON of hostile servers, have halves of characters.
    try:
        segment.encode()
    except UnicodeEncodeError:
        return False
    return True


def _why_no_name(segment: str) -> str:
    return f"{segment!r} cannot be a name" + ("" if _is_utf8(segment) else ": it is not UTF-8")


def _why_no_label(protocol: str) -> str:
    if protocol == "data":
        return "hosted data has no labels"
    return "labels are letters, digits, _ and -"
