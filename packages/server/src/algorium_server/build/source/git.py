"""
git as a program: in what environment it runs, what it may take, and short questions to it.

It gets nothing of the server's environment but the path to programs, no configuration but ours,
and works on repositories that others have filled: none of what those contain is run.
"""

import asyncio
import os
import re
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import (
    GIT_END_S,
    GIT_PROCESS_MEMORY_BYTES,
    GIT_PROCESS_S_MAX,
    GIT_QUESTION_S_MAX,
    MIB,
)

GIT_MIN: Final = (2, 31)
"""Before that, git takes no configuration from its environment."""
_ANSWER_BYTES_MAX: Final = 16 * MIB
"""Of one short question."""
_CHUNK_BYTES: Final = 64 * 1024

CONFIG: Final[Mapping[str, str]] = {
    # Repositories are the server's own, also where an operator has changed who owns their files.
    "safe.directory": "*",
    # Nothing that a repository holds decides what is run.
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "protocol.allow": "never",
    # What is acknowledged survives a power cut.
    "core.fsync": "committed,reference",
    # Memory: larger files are streamed, and packs mapped in windows.
    "core.bigFileThreshold": "16m",
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "256m",
    "pack.windowMemory": "64m",
    "pack.threads": "2",
    # Commits that builds and versions come from are kept, whatever becomes of their branch.
    "gc.pruneExpire": "never",
    "gc.autoDetach": "false",
}
"""What holds for every repository, over what its own configuration says."""


def git_environment(
    *, config: Mapping[str, str] | None = None, home: Path | None = None
) -> dict[str, str]:
    """
    Return the environment that git runs in.

    Args:
        config: Settings beside `CONFIG`, or over it.
        home: An empty directory; git must not look into the server's own.
    """
    settings = {**CONFIG, **(config or {})}
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home) if home is not None else os.devnull,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (name, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


@asynccontextmanager
async def git_process(
    *arguments: str,
    environment: Mapping[str, str],
    cwd: Path,
    takes_input: bool = False,
    descriptors: Sequence[int] = (),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """
    Run git for as long as a block lasts, with limits; what still runs at its end is ended.

    Args:
        arguments: Of git.
        environment: See `git_environment`.
        cwd: Where.
        takes_input: Whether its standard input is a pipe.
        descriptors: What it inherits beside.

    Raises:
        Unavailable: There is no git on this host.
    """
    process = await _start(
        limited(("git", *arguments)), environment, cwd, takes_input, tuple(descriptors)
    )
    try:
        yield process
    finally:
        await asyncio.shield(_end(process))


async def ask_git(
    repository: Path,
    *arguments: str,
    input_: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """
    Ask git something about a repository.

    Args:
        repository: A bare one.
        arguments: Of git.
        input_: Given on standard input; small.
        environment: Variables beside the usual ones.

    Returns:
        The exit status, and standard output.

    Raises:
        Unavailable: It takes too long, or says too much: the repository is damaged or forged.
    """
    variables = {**git_environment(), **(environment or {})}
    answer = bytearray()
    try:
        async with (
            asyncio.timeout(GIT_QUESTION_S_MAX),
            git_process(
                "--git-dir",
                ".",
                *arguments,
                environment=variables,
                cwd=repository,
                takes_input=True,
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            await feed(process.stdin, input_)
            process.stdin.close()
            while chunk := await process.stdout.read(_CHUNK_BYTES):
                answer += chunk
                if len(answer) > _ANSWER_BYTES_MAX:
                    raise Unavailable("the repository holds more than can be listed")
            return await process.wait(), bytes(answer)
    except TimeoutError:
        raise Unavailable("the repository takes too long to read") from None


async def feed(stdin: asyncio.StreamWriter, data: bytes) -> bool:
    """Write to a program; return whether it still reads."""
    if not data:
        return True
    try:
        stdin.write(data)
        await stdin.drain()
    except (ConnectionError, RuntimeError):  # the latter is what uvloop says of a closed pipe
        return False
    return True


def git_version() -> tuple[int, int] | None:
    """Return which git there is on this host, None if there is none; blocks."""
    try:
        told = subprocess.run(
            ["git", "--version"], capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)", told)
    return None if found is None else (int(found[1]), int(found[2]))


def limited(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command that runs another one within the limits of a git process."""
    # The shell sets limits before git starts; afterwards it would be too late for some.
    limits = f"ulimit -c 0; ulimit -v {GIT_PROCESS_MEMORY_BYTES // 1024} 2>&-"
    limits += f"; ulimit -t {int(GIT_PROCESS_S_MAX)}"
    return ("/bin/sh", "-c", f"{limits}; exec {shlex.join(command)}")


async def _start(
    command: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    takes_input: bool,
    descriptors: tuple[int, ...],
) -> asyncio.subprocess.Process:
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=dict(environment),
        stdin=pipe if takes_input else nothing,
        stdout=pipe,
        stderr=nothing,
        pass_fds=descriptors,
        start_new_session=True,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process with all that it has started; git cleans up on SIGTERM."""
    if process.stdin is not None:
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            async with asyncio.timeout(GIT_END_S):
                await _ended(process)
        except TimeoutError:
            continue
        return


async def _ended(process: asyncio.subprocess.Process) -> None:
    # What it still says must be read: an end that nobody reads to does not count as one.
    assert process.stdout is not None
    with suppress(ConnectionError):
        while await process.stdout.read(_CHUNK_BYTES):
            pass
    await process.wait()
