"""
Build jobs in the engine's sandboxes: where `build` and `engine` meet.

Source: runtime design, "Environments": builds run in the same sandbox, with a deadline.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from algorium_server.build.confined import KILLED, TIMED_OUT, ConfinedJob, Serving
from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import (
    BUILD_DISK_BYTES_MAX,
    BUILD_DISK_FILES_MAX,
    CALL_KILL_GRACE_S,
    SLOT_OPEN_FILES_MAX,
    SLOT_PROCESSES_MAX,
    SLOT_TMP_BYTES,
)
from algorium_server.engine.capture import Pipe
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.program import interpreter_mounts
from algorium_server.engine.sandbox import (
    ExitStatus,
    Mount,
    Network,
    SandboxLimits,
    SandboxSpec,
)
from algorium_server.engine.spawned import SandboxProcess
from algorium_server.services.authoring.disk_use import DiskUse
from algorium_server.telemetry import logger

_TMP_BYTES: Final = 4 * SLOT_TMP_BYTES
"""Compilers and the unpacking of archives need more than an algorithm."""
_LOOK_S: Final = 0.5
"""Between two looks at the disk: a fast one takes a gigabyte meanwhile."""
_REACHES_PUBLIC_ONLY: Final = (
    b"\nnote: this step reaches public addresses only; the operator of the server can let it reach "
    b"a private package index with --network-allow\n"
)
_SHARES_NETWORK: Final = (
    b"note: this server cannot connect sandboxes to the network one by one, so this step shares "
    b"the server's own; `algorium doctor` tells what is missing\n"
)

_log = logger(__name__)


class _DiskFull(Exception):
    """A job wrote more than it may."""


class SandboxedJobs:
    """Runs the tools of a build in sandboxes; satisfies `build.confined.RunConfined`."""

    def __init__(self, host: SandboxHost) -> None:
        self._host = host

    async def __call__(self, job: ConfinedJob, *, on_output: Callable[[bytes], None]) -> int:
        """
        Run *job* to its end.

        Returns:
            Its exit code; `TIMED_OUT` when its time was up, `KILLED` when a signal or a limit
            ended it. Which limit it met is told to *on_output*.

        Raises:
            Unavailable: This host offers no sandbox.
        """
        network = self._network_of(job)
        if network == "host":
            on_output(_SHARES_NETWORK)
        process = await self._spawn(_spec(job, network))
        use = DiskUse(job.writable, bytes_max=BUILD_DISK_BYTES_MAX, files_max=BUILD_DISK_FILES_MAX)
        is_silent = asyncio.Semaphore(0)
        pipes = [
            Pipe(fd, on_output, on_end=is_silent.release)
            for fd in (process.stdout_fd, process.stderr_fd)
        ]
        serving = None
        try:
            serving = await _served(job, process)
            async with asyncio.timeout(job.timeout_s):
                status = await _ended(process, use)
                for _ in pipes:
                    await is_silent.acquire()
        except TimeoutError:
            await process.kill(CALL_KILL_GRACE_S)
            on_output(b"\nstopped: not done after %d s\n" % job.timeout_s)
            return TIMED_OUT
        except _DiskFull:
            await process.kill(0)
            await asyncio.to_thread(use.remove_excess)
            on_output(b"\nstopped: over its limit of %d bytes on disk\n" % BUILD_DISK_BYTES_MAX)
            return KILLED
        except BaseException:  # cancelled, or what it asks for cannot be answered
            await process.kill(0)
            raise
        finally:
            for pipe in pipes:
                pipe.close()
            if serving is not None:
                serving.close()
        code = _exit_code(status, job, on_output)
        if code and network == "full":
            on_output(_REACHES_PUBLIC_ONLY)
        return code

    async def _spawn(self, spec: SandboxSpec) -> SandboxProcess:
        """Start a sandbox; one that did not even start is tried again, once, as for calls."""
        try:
            return await self._host.spawn(spec)
        except Unavailable as error:
            if self._host.level is None:
                raise
            reason = error.detail or error.message
            _log.warning("the sandbox of a build did not start; trying again", reason=reason)
            return await self._host.spawn(spec)

    def _network_of(self, job: ConfinedJob) -> Network:
        """Return what a job gets: packages that are built from source bring code of strangers."""
        if not job.has_network:
            return "isolated"
        return "full" if self._host.report.without_network is None else "host"


async def _served(job: ConfinedJob, process: SandboxProcess) -> Serving | None:
    if job.serve is None or process.listener is None:
        return None
    return await job.serve(process.listener, path_prefix=process.api_path_prefix)


async def _ended(process: SandboxProcess, use: DiskUse) -> ExitStatus:
    while True:
        done, _ = await asyncio.wait({process.exited}, timeout=_LOOK_S)
        if use.may_be_over() and await asyncio.to_thread(use.is_over):
            raise _DiskFull
        if done:
            return process.exited.result()


def _spec(job: ConfinedJob, network: Network) -> SandboxSpec:
    own = tuple(interpreter_mounts())
    shown = dict.fromkeys(p for p in map(str, job.read_only) if p not in {m.target for m in own})
    read_only = [Mount(kind="ro", source=path, target=path) for path in shown]
    writable = [Mount(kind="rw", source=str(p), target=str(p)) for p in job.writable]
    return SandboxSpec(
        argv=tuple(job.argv),
        env=dict(job.env),
        cwd=str(job.cwd),
        mounts=(*own, *read_only, *writable),
        network=network,
        has_listener=job.serve is not None,
        limits=SandboxLimits(
            memory_bytes=job.memory_bytes,
            processes=SLOT_PROCESSES_MAX,
            open_files=SLOT_OPEN_FILES_MAX,
            tmp_bytes=_TMP_BYTES,
        ),
    )


def _exit_code(status: ExitStatus, job: ConfinedJob, on_output: Callable[[bytes], None]) -> int:
    if status.was_oom:
        on_output(b"\nstopped: over its memory limit of %d bytes\n" % job.memory_bytes)
        return KILLED
    if status.was_disk_limit:
        on_output(b"\nstopped: over its limit of %d bytes of temporary files\n" % _TMP_BYTES)
        return KILLED
    if status.was_process_limit:
        on_output(b"\nreached its limit of %d processes\n" % SLOT_PROCESSES_MAX)
    return status.code if status.code is not None else KILLED
