"""Keys of calls that may be sent again, because the server runs each of them once."""

from dataclasses import replace
from typing import Final
from uuid import uuid4

from algorium._flow import CallOptions

KEY_CHARS_MAX: Final = 255


def check_key(key: str) -> str:
    """
    Return *key*.

    Raises:
        ValueError: The server would refuse it.
    """
    is_visible = all("!" <= character <= "~" for character in key)
    if not is_visible or not 1 <= len(key) <= KEY_CHARS_MAX:
        raise ValueError(f"a key is 1 to {KEY_CHARS_MAX} visible ASCII characters, not {key!r}")
    return key


def with_key(options: CallOptions) -> CallOptions:
    """Return options for one call: with a fresh key if they ask for keys and name none."""
    if not options.is_idempotent or options.idempotency_key:
        return options
    return replace(options, idempotency_key=str(uuid4()))
