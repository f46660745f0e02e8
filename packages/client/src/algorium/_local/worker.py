"""
The algorithm of a directory, ready to be called: a process that is replaced when it has to be.

    what happens                what follows
    the process loads           calls go to it, one after the other
    loading fails               every call is answered with that, until the source changes
    a call passes its timeout   the process is killed; the next call finds a new one
    the process ends            the call fails with its exit code; the next call finds a new one
    the source changes          the call under way may end; then a new process takes over

Outcomes have the words of the platform, as old clients compare some of them.

Source: wire specification, "Errors raised by the algorithm"; runtime design, "Failures".
"""

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from algorium._local.child import Child, Ended, Print, call_head, wait_loaded
from algorium._local.source import NotHere, Source
from algorium.wire.codes import standard_error_type
from algorium_runtime import frames

TIMEOUT_MESSAGE: Final = "Failed to run algorithm - may have timed-out or hit out-of-memory error"
RESULT_BYTES_MAX: Final = 15_000_000
LOAD_S_MAX: Final = 300.0
"""What the server gives `load`, too."""
_LEAVE_S: Final = 1.0
_RESULT_TYPES: Final = frozenset({"json", "text", "binary", "void"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What a call returned: *body* is UTF-8 for `json` and `text`."""

    content_type: str
    body: bytes
    run_s: float
    total_s: float
    stdout: str

    @property
    def value(self) -> Any:
        """The result as a value of Python."""
        if self.content_type == "json":
            return json.loads(self.body)
        return self.body.decode() if self.content_type == "text" else self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call failed; *is_input_refused* if its input was not what its type said."""

    message: str
    error_type: str
    run_s: float = 0.0
    stdout: str = ""
    stacktrace: str = ""
    is_input_refused: bool = False


Outcome = Success | Failure


class Worker:
    """
    Calls the algorithm; from any thread, one call at a time.

    Args:
        source: What to run.
        python: The interpreter.
        environment: All of the process's variables.
        print_line: Takes what the code prints, line by line.
    """

    def __init__(
        self, source: Source, python: Path, environment: Mapping[str, str], print_line: Print
    ) -> None:
        self._source = source
        self._python = python
        self._environment = environment
        self._print = print_line
        self._lock = threading.Lock()  # one call, or one start, at a time
        self._child: Child | None = None
        self._load_failure: Failure | None = None
        self._is_closed = False

    def load(self) -> Failure | None:
        """Start the process if there is none; returns why it cannot be called, if it cannot."""
        with self._lock:
            return self._ready()

    def call(self, content_type: str, body: bytes, *, timeout_s: float) -> Outcome:
        """
        Call the algorithm.

        Args:
            content_type: `json`, `text` or `binary`.
            body: The input, as that.
            timeout_s: For the run; loading has its own.
        """
        with self._lock:
            arrived_at = time.monotonic()
            if (failure := self._ready()) is not None:
                return failure
            child = self._child
            assert child is not None
            return self._call(child, content_type, body, timeout_s, arrived_at)

    def replace(
        self, source: Source, python: Path, environment: Mapping[str, str], *, patience_s: float
    ) -> Failure | None:
        """
        Go on with other source, or the same read anew; see `load`.

        Args:
            source: The new source.
            python: What runs it.
            environment: All of the process's variables.
            patience_s: For the call under way, which is cut off then.
        """
        if not self._lock.acquire(timeout=patience_s):
            if (child := self._child) is not None:
                child.kill()
            self._lock.acquire()
        try:
            self._drop()
            self._source, self._python, self._environment = source, python, environment
            return self._ready()
        finally:
            self._lock.release()

    def fail(self, failure: Failure) -> None:
        """Answer all calls with this until the source changes."""
        with self._lock:
            self._drop()
            self._load_failure = failure

    def close(self) -> None:
        """End the process, and answer no call any more."""
        self._is_closed = True
        is_idle = self._lock.acquire(blocking=False)
        try:
            if (child := self._child) is not None:
                child.leave(_LEAVE_S) if is_idle else child.kill()
        finally:
            if is_idle:
                self._lock.release()

    def _drop(self) -> None:
        self._load_failure = None
        child, self._child = self._child, None
        if child is not None:
            child.leave(_LEAVE_S)

    def _ready(self) -> Failure | None:
        if self._is_closed:
            return Failure(message="algo is leaving", error_type="SystemError")
        if self._load_failure is not None:
            return self._load_failure
        if self._child is not None and self._child.is_alive:
            return None
        if self._child is not None:
            self._child.kill()
        try:
            child = Child(self._source, self._python, self._environment, self._print)
        except NotHere as error:
            self._child = None
            self._load_failure = Failure(message=str(error), error_type="LoadingError")
            return self._load_failure
        self._child = child
        try:
            frame, _ = wait_loaded(child, LOAD_S_MAX)
        except TimeoutError:
            message = f"the algorithm did not finish loading within {LOAD_S_MAX:.0f} s"
            failure = Failure(message=message, error_type="LoadingError")
        except Ended as end:
            failure = Failure(message=_exit_text(end), error_type="SystemExit")
        else:
            if frame.type == frames.READY:
                return None
            failure = _failure(frame, stdout=child.printed(), is_load=True)
        child.kill()
        self._child = None
        self._load_failure = failure
        return failure

    def _call(
        self, child: Child, content_type: str, body: bytes, timeout_s: float, arrived_at: float
    ) -> Outcome:
        began_at = time.monotonic()
        try:
            child.send(call_head(content_type, timeout_s, len(body)), body, timeout_s=timeout_s)
            frame = child.receive(timeout_s)
        except TimeoutError:
            child.kill()
            self._child = None
            return Failure(
                message=TIMEOUT_MESSAGE,
                error_type="TimeoutError",
                run_s=time.monotonic() - began_at,
                stdout=child.printed(),
            )
        except Ended as end:
            child.kill()
            self._child = None
            return Failure(
                message=_exit_text(end),
                error_type="SystemExit",
                run_s=time.monotonic() - began_at,
                stdout=child.printed(),
            )
        stdout = child.printed()
        if frame.type != frames.RESULT:
            return _failure(frame, stdout=stdout, is_load=False)
        return _success(frame, stdout=stdout, total_s=time.monotonic() - arrived_at)


def _success(frame: frames.Frame, *, stdout: str, total_s: float) -> Outcome:
    content_type, run_s = frame.header.get("content_type"), _seconds(frame.header.get("run_s"))
    if not isinstance(content_type, str) or content_type not in _RESULT_TYPES:
        return Failure(message="a result of no known type", error_type="SystemError", stdout=stdout)
    if len(frame.body) > RESULT_BYTES_MAX:
        message = "Algorithm output exceeds the 15MB limit"
        return Failure(message=message, error_type="TooLargeError", run_s=run_s, stdout=stdout)
    return Success(
        content_type=content_type, body=frame.body, run_s=run_s, total_s=total_s, stdout=stdout
    )


def _failure(frame: frames.Frame, *, stdout: str, is_load: bool) -> Failure:
    error: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        found = json.loads(frame.body)
        error = found if isinstance(found, dict) else {}
    raw_type = error.get("error_type") or ("LoadingError" if is_load else None)
    return Failure(
        message=str(error.get("message") or "the algorithm failed without a message"),
        error_type=standard_error_type(raw_type),
        run_s=_seconds(frame.header.get("run_s")),
        stdout=stdout,
        stacktrace=str(error.get("stacktrace") or ""),
        is_input_refused=not is_load and frame.header.get("kind") == "input",
    )


def _exit_text(end: Ended) -> str:
    """Old clients know -99 as "killed by a signal"."""
    return f"exited with code {-99 if end.code is None else end.code}"


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
