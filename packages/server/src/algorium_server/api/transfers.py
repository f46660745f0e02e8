"""
Copying and moving on the server, as a PUT without a body: where from is in a header.

    PUT /v1/data/.my/archive/a.png
    X-Copy-From: data://.my/photos/a.png        or X-Move-From; percent-encoded

Source: ours; the old service had nothing like it.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from algorium.wire.uris import DataUri, UriSyntaxError
from algorium_server.api.conditions import joined
from algorium_server.api.http import Scope
from algorium_server.domain.errors import InvalidInput, InvalidRequest

_HEADERS: Final = frozenset({b"x-copy-from", b"x-move-from"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Where a file is to come from, and whether it is to stay there."""

    source: DataUri
    is_move: bool


def parse_transfer(scope: Scope, *, has_body: bool) -> Transfer | None:
    """
    Read which file is to be copied or moved; None for an ordinary upload.

    Args:
        scope: The request.
        has_body: It brings bytes.

    Raises:
        InvalidRequest: It brings bytes as well, or names two files.
        InvalidInput: What it names is no data URI.
    """
    if not any(name in _HEADERS for name, _ in scope["headers"]):
        return None
    copied, moved = joined(scope, b"x-copy-from"), joined(scope, b"x-move-from")
    if copied is not None and moved is not None:
        raise InvalidRequest("X-Copy-From and X-Move-From exclude each other")
    if has_body:
        raise InvalidRequest("a file that is copied or moved here comes without a body")
    text = copied if copied is not None else moved or ""
    return Transfer(source=_uri(text), is_move=moved is not None)


def _uri(text: str) -> DataUri:
    try:
        # Names beyond ASCII may come plain as well; a header's text is its bytes in Latin-1.
        return DataUri.parse(unquote_to_bytes(text.strip().encode("latin-1")).decode())
    except UnicodeDecodeError as error:
        raise InvalidInput("a data URI must be UTF-8 once it is percent-decoded") from error
    except UriSyntaxError as error:
        raise InvalidInput(f"{text.strip()[:200]!r} is no data URI: {error.reason}") from error
