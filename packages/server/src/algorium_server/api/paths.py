"""
From the target of a request on the Data API to a data URI, as every old client writes it.

    GET /v1/data/.my/pictures/cat.png               most clients
    GET /v1/data/.my%2Fpictures%2Fcat.png           form-encoded: Java, Scala
    GET /v1/data/s3+photos://bucket/cat.png         another source, its URI verbatim
    GET /v1/data/s3+photos:/bucket/cat.png          the same after a proxy that merges slashes
    GET /v1/connector/s3+photos/bucket/cat.png      Rust, Swift, PHP

Source: wire specification, "Path decoding", quirk 15.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from algorium.wire.uris import DataUri, UriSyntaxError
from algorium_server.domain.errors import InvalidInput

_TARGET: Final = re.compile(rb"/*v1/+(data|connector)(?:/(.*))?", re.DOTALL)
_EMBEDDED: Final = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*):/{1,2}")

_FORM_CLIENTS: Final = (b"algorithmia-java/", b"algorithmia-scala/")
_FORM_ENCODED: Final = re.compile(rb"[A-Za-z0-9.*_+%-]*")
"""The alphabet of form encoding: whatever else a path holds, a form encoder did not make it."""
_ENCODED_SLASH: Final = re.compile(rb"%2f", re.IGNORECASE)


def parse_data_path(raw_path: bytes, *, user_agent: bytes = b"") -> DataUri | None:
    """
    Read the target of a request on `/v1/data` or `/v1/connector`; None for any other target.

    Args:
        raw_path: As sent, still percent-encoded, without the query.
        user_agent: As sent. Some clients are known to form-encode, whatever the path looks like.

    Raises:
        InvalidInput: No data source is called so, or a segment of the path cannot be a name.
    """
    target = _TARGET.fullmatch(raw_path)
    if target is None:
        return None
    text = _decoded(target[2] or b"", user_agent)
    embedded = _EMBEDDED.match(text)
    if embedded is not None:
        connector, path = embedded[1], text[embedded.end() :]
    elif target[1] == b"connector":
        connector, _, path = text.lstrip("/").partition("/")
    else:
        connector, path = "data", text
    return _uri(connector, path)


def _decoded(remainder: bytes, user_agent: bytes) -> str:
    if b"+" in remainder and _is_form_encoded(remainder, user_agent):
        remainder = remainder.replace(b"+", b" ")
    try:
        return unquote_to_bytes(remainder).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("the path must be UTF-8 once it is percent-decoded") from error


def _is_form_encoded(remainder: bytes, user_agent: bytes) -> bool:
    # The User-Agent alone would miss applications that set their own; `%2F` alone would take the
    # `+` out of `s3+photos:%2F%2Fbucket`, which no form encoder writes.
    if user_agent.lower().startswith(_FORM_CLIENTS):
        return True
    return (
        _ENCODED_SLASH.search(remainder) is not None
        and _FORM_ENCODED.fullmatch(remainder) is not None
    )


def _uri(connector: str, path: str) -> DataUri:
    segments = tuple(segment for segment in path.split("/") if segment)
    # Swift's listings name children by their whole target, and it puts its prefix before that.
    repeated = ("v1", "connector", connector.lower())
    while tuple(segment.lower() for segment in segments[:3]) == repeated:
        segments = segments[3:]
    try:
        root = DataUri.root_of(connector)
    except UriSyntaxError as error:
        raise InvalidInput(f"{connector!r} is not a data source: {error.reason}") from error
    try:
        return root.at(segments)
    except UriSyntaxError as error:
        raise InvalidInput(f"invalid path: {error.reason}") from error
