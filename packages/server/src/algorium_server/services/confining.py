"""
Build jobs in the engine's sandboxes: where `build` and `engine` meet.

Source: runtime design, "Environments": builds run in the same sandbox, with a deadline.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from algorium_server.build.confined import ConfinedJob
from algorium_server.domain.limits import (
    CALL_KILL_GRACE_S,
    SLOT_OPEN_FILES_MAX,
    SLOT_PROCESSES_MAX,
    SLOT_TMP_BYTES,
)
from algorium_server.engine.host import ExitStatus, SandboxHost
from algorium_server.engine.program import interpreter_mounts
from algorium_server.engine.sandbox import Mount, SandboxLimits, SandboxSpec

TIMED_OUT: Final = 124
KILLED: Final = 137
_READ_BYTES: Final = 65_536


class SandboxedJobs:
    """Runs the tools of a build in sandboxes; satisfies `build.confined.RunConfined`."""

    def __init__(self, host: SandboxHost) -> None:
        self._host = host

    async def __call__(self, job: ConfinedJob, *, on_output: Callable[[bytes], None]) -> int:
        """
        Run *job* to its end.

        Returns:
            Its exit code; 124 when its time was up, 137 when a signal or a limit ended it.

        Raises:
            Unavailable: This host offers no sandbox.
        """
        process = await self._host.spawn(_spec(job))
        outputs = [_Output(fd, on_output) for fd in (process.stdout_fd, process.stderr_fd)]
        try:
            async with asyncio.timeout(job.timeout_s):
                status = await asyncio.shield(process.exited)
                for output in outputs:
                    await output.ended
        except TimeoutError:
            await process.kill(CALL_KILL_GRACE_S)
            on_output(b"\nstopped: not done after %d s\n" % job.timeout_s)
            return TIMED_OUT
        except asyncio.CancelledError:
            await process.kill(0)
            raise
        finally:
            for output in outputs:
                output.close()
        return _exit_code(status, job, on_output)


class _Output:
    """Reads one pipe to its end."""

    def __init__(self, fd: int, on_output: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._on_output = on_output
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(fd, self._read)

    def close(self) -> None:
        if not self.ended.done():
            self._end()

    def _read(self) -> None:
        data = b""
        with suppress(BlockingIOError):
            data = os.read(self._fd, _READ_BYTES)
            if not data:
                self._end()
        if data:
            self._on_output(data)

    def _end(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self.ended.set_result(None)


def _spec(job: ConfinedJob) -> SandboxSpec:
    read_only = [Mount(kind="ro", source=str(p), target=str(p)) for p in job.read_only]
    writable = [Mount(kind="rw", source=str(p), target=str(p)) for p in job.writable]
    return SandboxSpec(
        argv=tuple(job.argv),
        env=dict(job.env),
        cwd=str(job.cwd),
        mounts=(*interpreter_mounts(), *read_only, *writable),
        network="host" if job.has_network else "isolated",
        limits=SandboxLimits(
            memory_bytes=job.memory_bytes,
            processes=SLOT_PROCESSES_MAX,
            open_files=SLOT_OPEN_FILES_MAX,
            tmp_bytes=4 * SLOT_TMP_BYTES,
        ),
    )


def _exit_code(status: ExitStatus, job: ConfinedJob, on_output: Callable[[bytes], None]) -> int:
    if status.was_oom:
        on_output(b"\nstopped: over its memory limit of %d bytes\n" % job.memory_bytes)
        return KILLED
    return status.code if status.code is not None else KILLED
