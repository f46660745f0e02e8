"""
What development kits and the platform tell each other: a line of JSON in, one into a FIFO out.

Source: wire specification, "Runner side"; runtime specification, "ADK semantics".
"""

import json
import sys
import traceback
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from algorium._values import to_json

FIFO: Final = Path("/tmp/algoout")  # noqa: S108 - the platform's
"""Where there is one, this is the platform; elsewhere it is a laptop."""


def requests() -> Iterator[Any]:
    """Go through the inputs that the platform sends."""
    for line in sys.stdin:
        request = json.loads(line)
        kind, value = request["content_type"], request.get("data")
        if kind == "binary":
            yield b64decode(value)
        elif kind in {"text", "json"}:
            yield value
        else:
            raise ValueError(f"Invalid content_type: {kind}")


def result_text(result: Any) -> str:
    """Return a result as the platform takes it."""
    kind = "json"
    if isinstance(result, bytes | bytearray):
        kind, result = "binary", b64encode(result).decode()
    elif isinstance(result, str):
        kind = "text"
    return to_json({"result": result, "metadata": {"content_type": kind}})


def failure_text(error: Exception, *, while_loading: bool = False) -> str:
    """Return a failure as the platform takes it; the author's `error_type` stays."""
    otherwise = "LoadingError" if while_loading else "AlgorithmError"
    return to_json(
        {
            "error": {
                "message": str(error),
                "stacktrace": "".join(traceback.format_exception(error)),
                "error_type": getattr(error, "error_type", None) or otherwise,
            }
        }
    )


def write(text: str) -> None:
    """Hand an answer to the platform."""
    with FIFO.open("w", encoding="utf-8") as fifo:
        fifo.write(f"{text}\n")
    sys.stdout.flush()
