"""
JSON texts read at the speed of the scanner.

`JSONDecoder.decode` spends more time on possible white space around a value than on a short value
itself. What the platform sends has none.
"""

from __future__ import annotations

import json
from typing import Any, Callable


def fast_reader(decoder: json.JSONDecoder) -> Callable[[str], Any]:
    """Return a function that reads texts exactly as `decoder.decode` does, usually faster."""
    scan: Callable[[str, int], Any] = decoder.scan_once  # type: ignore[attr-defined]  # as `json`
    decode = decoder.decode

    def read(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:  # white space before it, or no value at all
            return decode(text)
        return value if end == len(text) else decode(text)

    return read
