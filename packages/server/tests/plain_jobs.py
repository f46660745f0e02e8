"""Run the jobs of builds as plain subprocesses: everything of `RunConfined` but the walls."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from algorium_server.build.confined import KILLED, TIMED_OUT, ConfinedJob


@dataclass
class PlainJobs:
    """Satisfies `RunConfined`; remembers which jobs were run."""

    jobs: list[ConfinedJob] = field(default_factory=list)

    async def __call__(self, job: ConfinedJob, *, on_output: Callable[[bytes], None]) -> int:
        self.jobs.append(job)
        process = await asyncio.create_subprocess_exec(
            *job.argv,
            cwd=job.cwd,
            env={"TMPDIR": tempfile.gettempdir(), **job.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(job.timeout_s):
                while data := await process.stdout.read(65536):
                    on_output(data)
                code = await process.wait()
        except TimeoutError:
            return TIMED_OUT
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return KILLED if code < 0 else code

    def programs(self) -> list[str]:
        """What was run, in short: `uv venv`, `python`."""
        return [_short(job.argv) for job in self.jobs]


def _short(argv: tuple[str, ...]) -> str:
    name = os.path.basename(argv[0])
    return f"{name} {' '.join(a for a in argv[1:3] if not a.startswith('-'))}".strip()
