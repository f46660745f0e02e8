"""Builds under way, shown on standard error as they go."""

import sys
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from algorium._cli.program import printable

if TYPE_CHECKING:
    from algorium import AlgorithmInfo, BuildInfo, ManagedAlgorithm

HOST_S: Final = 30.0
"""For how long a host of source elsewhere may take to tell the server of a push."""
_POLL_S: Final = 0.5
_NEWEST: Final = 20
"""Builds among which the one of a commit is looked for."""


class LogWriter:
    """Writes a log that comes in pieces line by line, without what would command the terminal."""

    def __init__(self, *, is_result: bool = False) -> None:
        self._stream = sys.stdout if is_result else sys.stderr
        self._rest = ""

    def write(self, text: str) -> None:
        """Write whole lines, and keep what is left."""
        *lines, self._rest = (self._rest + text).split("\n")
        self._stream.write("".join(f"{_line(line)}\n" for line in lines))
        self._stream.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._rest:
            self._stream.write(f"{_line(self._rest)}\n")
        self._rest = ""
        self._stream.flush()


def _line(text: str) -> str:
    return printable(text.rpartition("\r")[2] if not text.endswith("\r") else text[:-1])


def find_build(
    handle: "ManagedAlgorithm", sha: str, *, patience_s: float = 0.0
) -> "BuildInfo | None":
    """
    Return the newest build of a commit, if it is among the last ones.

    Args:
        handle: Of the algorithm.
        sha: The commit.
        patience_s: Wait so long for there to be one.
    """
    ends_at = time.monotonic() + patience_s
    while True:
        found = (build for build in islice(handle.builds(), _NEWEST) if build.commit == sha)
        build = next(found, None)
        if build is not None or time.monotonic() >= ends_at:
            return build
        time.sleep(_POLL_S)


def follow_to_the_end(handle: "ManagedAlgorithm", build: "BuildInfo") -> "BuildInfo":
    """Show what a build says, and return it as it has ended."""
    writer = LogWriter()
    for text in handle.follow_build(build.build_id):
        writer.write(text)
    writer.close()
    return handle.build(build.build_id)


class Compilation:
    """
    A build that was asked for, in a thread of its own: the server answers at its end only.

    Args:
        handle: Of the algorithm.
        commit: What to build, empty for the newest one.
    """

    def __init__(self, handle: "ManagedAlgorithm", commit: str) -> None:
        self._handle = handle
        self._commit = commit
        self._known = {build.build_id for build in islice(handle.builds(), _NEWEST)}
        self._result: AlgorithmInfo | Exception | None = None
        self._over = threading.Event()
        # An interrupt must not wait for it: the build goes on without us.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._handle.compile(commit=self._commit)
        except Exception as error:  # told by whoever waits
            self._result = error
        finally:
            self._over.set()

    def begun(self, *, poll_s: float = 0.2) -> "BuildInfo | None":
        """Wait until the build is known, and return it; None if there will be none."""
        while True:
            is_over = self._over.wait(poll_s)
            for build in islice(self._handle.builds(), _NEWEST):
                if build.build_id not in self._known or not build.is_finished:
                    return build
            if is_over:
                return None

    def finish(self) -> "AlgorithmInfo":
        """Wait for its end, and return what `compile` did; raises what that raised."""
        self._over.wait()
        if isinstance(self._result, Exception):
            raise self._result
        assert self._result is not None, "it is over"
        return self._result
