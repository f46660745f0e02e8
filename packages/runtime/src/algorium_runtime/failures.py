"""
What goes wrong in an author's code, put into words for the caller.

The message and the type are for everybody, the stack trace for those who may see the source. A
trace shows the author's frames and those of the libraries below, not the ones of this package that
lie above: they would be the same in every trace and lead nobody to the fault.

Source: runtime specification, "Response value", "Errors and visibility".
"""

from __future__ import annotations

import importlib
import json
import os
import traceback
from types import TracebackType
from typing import NamedTuple

TEXT_BYTES_MAX = 256 * 1024
"""Of each text of a failure: enough for any trace a person reads, far below a frame's limit."""
_FRAMES_MAX = 2000
"""Of a trace: twice the usual recursion limit; an author may have raised that to millions."""

_HERE = os.path.dirname(os.path.abspath(__file__))
_ADK_MODULES = (os.path.join("adk", "ADK.py"), os.path.join("Algorithmia", "handler.py"))


class Failure(NamedTuple):
    """
    Why a call or a start failed.

    Attributes:
        message: Never empty.
        error_type: As the author gave it, unchecked; None if there was none.
        stacktrace: Empty if there is none.
    """

    message: str
    error_type: str | None = None
    stacktrace: str = ""

    def encode(self) -> bytes:
        """Return the body of an ERROR or LOAD_ERROR frame."""
        return json.dumps(
            {
                "message": _cut(self.message),
                "error_type": None if self.error_type is None else _cut(self.error_type),
                "stacktrace": _cut(self.stacktrace),
            }
        ).encode("ascii")


def describe(error: BaseException) -> Failure:
    """
    Put an author's exception into words; never fails, whatever the exception's methods do.

    An attribute `error_type` that is a string passes unchanged; which types exist is the
    platform's business.
    """
    return Failure(_message(error), _error_type(error), _stacktrace(error))


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # an author's `__str__` may raise anything
        text = ""
    return text if text.strip() else type(error).__name__


def _error_type(error: BaseException) -> str | None:
    try:
        error_type = getattr(error, "error_type", None)
    except Exception:  # it may be an author's property
        error_type = None
    if isinstance(error_type, str):
        return error_type
    return "OutOfMemoryError" if isinstance(error, MemoryError) else None


def _stacktrace(error: BaseException) -> str:
    try:
        trace = _authors_part(error.__traceback__)
        return "".join(traceback.format_exception(type(error), error, trace, limit=-_FRAMES_MAX))
    except Exception:  # formatting runs the author's code and may lack memory
        return ""


def _authors_part(trace: TracebackType | None) -> TracebackType | None:
    """Drop the frames above the author's: this package, the import system, the old ADK."""
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_ours(file_name: str) -> bool:
    return (
        os.path.dirname(file_name) == _HERE
        or file_name.startswith("<frozen importlib")
        or file_name == importlib.__file__
        or file_name.endswith(_ADK_MODULES)
    )


def _cut(text: str) -> str:
    """Shorten to the limit by leaving out the middle: a trace says most at its two ends."""
    data = text.encode("utf-8", "replace")
    if len(data) <= TEXT_BYTES_MAX:
        return data.decode("utf-8")
    half = TEXT_BYTES_MAX // 2 - 50
    gap = f"\n... {len(data) - 2 * half} bytes left out ...\n"
    return data[:half].decode("utf-8", "ignore") + gap + data[-half:].decode("utf-8", "ignore")
