"""
How a build runs tools: confined, to a deadline, with everything they say in one log.

This package does not know how confinement is done; whoever builds the server hands in a
`RunConfined`. Nothing of an author or of a package registry ever runs in the server's own process.
"""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from algorium_server.domain.excerpts import Excerpt
from algorium_server.domain.limits import BUILD_LOG_BYTES_MAX, BUILD_MEMORY_BYTES

TIMED_OUT: Final = 124
"""Exit code of a job whose time was up; the one that timeout(1) uses."""
KILLED: Final = 137
"""Exit code of a job that a signal or a limit ended; the one that shells use for SIGKILL."""


class BuildFailed(Exception):
    """A step of a build did not succeed; the text says which, in the author's terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinedJob:
    """
    A program to run to its end.

    Attributes:
        argv: Program and arguments.
        env: The whole environment beside `HOME`, `TMPDIR` and `USER`; nothing else is inherited.
        cwd: Working directory; lies in one of the two below.
        read_only: Files and directories it can read beside the base system and the server's
            interpreter, at the same paths.
        writable: Directories it can also change.
        has_network: Whether it reaches the network; if not, it has a loopback device at most.
        serve: Answers what it asks at the address in its variable `ALGORITHMIA_API`; None for
            nothing.
        timeout_s: After this it is killed, with everything it started.
        memory_bytes: Limit for it and everything it starts.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path
    read_only: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    has_network: bool = False
    serve: "Serve | None" = None
    timeout_s: float
    memory_bytes: int = BUILD_MEMORY_BYTES


class Serving(Protocol):
    """What is being served, until it is closed."""

    def close(self) -> None:
        """Stop; idempotent."""


class Serve(Protocol):
    """Serves a job on a socket inside of its sandbox; nobody else reaches it."""

    async def __call__(self, listener: socket.socket, *, path_prefix: str) -> Serving:
        """
        Answer until the result is closed.

        Args:
            listener: Bound and listening; owned from here on.
            path_prefix: What every path must start with.
        """
        ...


class RunConfined(Protocol):
    """Runs jobs; when a call returns, nothing of its job is left running."""

    async def __call__(self, job: ConfinedJob, *, on_output: Callable[[bytes], None]) -> int:
        """
        Run *job* to its end; standard input is empty.

        Args:
            job: What to run.
            on_output: Gets standard output and error as they come, merged, in pieces of any size.

        Returns:
            Its exit code; `TIMED_OUT` when its time was up, `KILLED` when a signal or a limit
            ended it.

        Raises:
            Unavailable: This host offers no confinement.
        """


class Tools:
    """
    Runs the tools of one build: one log, one deadline.

    Args:
        run_confined: Runs them.
        on_output: Gets what they say.
        on_end: Told when one of them has ended, and says no more.
        timeout_s: For all of them together, from now on.
        said_bytes_max: Kept of what a tentative tool says.
    """

    def __init__(
        self,
        run_confined: RunConfined,
        *,
        on_output: Callable[[bytes], None],
        on_end: Callable[[], None] = lambda: None,
        timeout_s: float,
        said_bytes_max: int = BUILD_LOG_BYTES_MAX,
    ) -> None:
        self._run_confined = run_confined
        self._said_bytes_max = said_bytes_max
        self._on_output = on_output
        self._on_end = on_end
        self._timeout_s = timeout_s
        self._ends_at = time.monotonic() + timeout_s

    def aside(self) -> tuple["Tools", Callable[[], None]]:
        """
        Return tools for something that is done at the same time, and what lets them be heard.

        Until that is called, what they say is kept: lines of two tools must not mix.
        """
        kept: Excerpt | None = Excerpt(self._said_bytes_max)

        def take(data: bytes) -> None:
            (self._on_output if kept is None else kept.append)(data)

        def let_speak() -> None:
            nonlocal kept
            if kept is not None:
                said, kept = kept.content(), None
                self._on_output(said)

        tools = Tools(
            self._run_confined,
            on_output=take,
            on_end=lambda: None if kept is not None else self._on_end(),
            timeout_s=self._timeout_s,
            said_bytes_max=self._said_bytes_max,
        )
        tools._ends_at = self._ends_at  # one deadline for all
        return tools, let_speak

    def say(self, line: str) -> None:
        """Add a line of our own to the log."""
        self._on_output(f"{line}\n".encode("utf-8", "backslashreplace"))

    async def run(
        self,
        *argv: str,
        cwd: Path,
        env: Mapping[str, str],
        read_only: tuple[Path, ...] = (),
        writable: tuple[Path, ...] = (),
        has_network: bool = False,
        is_tentative: bool = False,
        serve: Serve | None = None,
        limit_s: float | None = None,
    ) -> int:
        """
        Run one tool and return its exit code.

        Args:
            argv: Program and arguments.
            cwd: See `ConfinedJob`, like the following.
            env: See there.
            read_only: See there.
            writable: See there.
            has_network: See there.
            serve: See there.
            is_tentative: There is another way; log what it says only if it succeeds.
            limit_s: For this tool alone; it then ends with `TIMED_OUT`, and the build goes on.

        Raises:
            BuildFailed: The time for the build is over.
        """
        remaining_s = self._ends_at - time.monotonic()
        if remaining_s > 0:
            job = ConfinedJob(
                argv=argv,
                env=env,
                cwd=cwd,
                read_only=read_only,
                writable=writable,
                has_network=has_network,
                serve=serve,
                timeout_s=remaining_s if limit_s is None else min(remaining_s, limit_s),
            )
            said = Excerpt(self._said_bytes_max)
            code = await self._run_confined(
                job, on_output=said.append if is_tentative else self._on_output
            )
            is_over = code == TIMED_OUT and time.monotonic() >= self._ends_at
            if code == 0 or is_over:
                self._on_output(said.content())
            self._on_end()
            if not is_over:
                return code
        raise BuildFailed(f"the build took longer than {self._timeout_s:g} s")
