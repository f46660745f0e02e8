"""Build jobs in real sandboxes, and the ends that only some hosts can bring about."""

import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from algorium_server.build.confined import KILLED, TIMED_OUT, ConfinedJob
from algorium_server.domain.errors import Unavailable
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.sandbox import ExitStatus
from algorium_server.services.authoring.confining import SandboxedJobs

PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(scope="module")
def run():
    """Run a job in a real sandbox; return its exit code and what it said."""
    # not below pytest's own directory, which is closed to the users of slots
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        home = Path(directory)
        home.chmod(0o755)
        host = runner.run(SandboxHost.start("auto", home / "sandboxes"))
        if host.level is None:
            pytest.skip(f"no sandbox here. {host.report.remedy}")
        work = home / "work"
        work.mkdir()

        def run(code, *, timeout_s=20):
            said = bytearray()
            job = ConfinedJob(
                argv=(PYTHON, "-I", "-c", code), cwd=work, writable=(work,), timeout_s=timeout_s
            )
            return runner.run(SandboxedJobs(host)(job, on_output=said.extend)), said.decode()

        yield run
        runner.run(host.close())


def test_everything_a_job_says_arrives_with_its_exit_code(run):
    code, said = run("import os; os.write(1, b'x' * 300_000); os.write(2, b'!'); os._exit(3)")

    assert code == 3
    assert said.count("x") == 300_000
    assert said.count("!") == 1


def test_a_job_past_its_deadline_is_stopped_and_says_so(run):
    code, said = run("import time; print('began', flush=True); time.sleep(600)", timeout_s=1)

    assert code == TIMED_OUT
    assert said == "began\n\nstopped: not done after 1 s\n"


@dataclass
class Ended:
    """A host whose programs end at once, with a status that cannot be had everywhere."""

    status: ExitStatus

    async def spawn(self, spec):
        fds = [os.pipe() for _ in range(2)]
        for reader, writer in fds:
            os.set_blocking(reader, False)
            os.close(writer)
        self.stdout_fd, self.stderr_fd = (reader for reader, _ in fds)
        self.exited = asyncio.get_running_loop().create_future()
        self.exited.set_result(self.status)
        return self


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (ExitStatus(code=None, signal=9, was_oom=True), KILLED, "memory"),
        (ExitStatus(code=None, signal=9, was_disk_limit=True), KILLED, "temporary files"),
        (ExitStatus(code=None, signal=9, was_process_limit=True), KILLED, "processes"),
        (ExitStatus(code=1, signal=None, was_process_limit=True), 1, "processes"),
        (ExitStatus(code=None, signal=11), KILLED, ""),
        (ExitStatus(code=0, signal=None), 0, ""),
    ],
)
def test_the_limit_that_a_job_met_is_in_the_log(tmp_path, runner, status, code, word):
    said = bytearray()
    job = ConfinedJob(argv=("true",), cwd=tmp_path, timeout_s=20)

    assert runner.run(SandboxedJobs(Ended(status))(job, on_output=said.extend)) == code
    assert word in said.decode()
    assert bool(said) == bool(word)


@dataclass
class Stumbling(Ended):
    """A host whose first sandboxes do not start."""

    failures: int = 1
    level: str = "full"

    async def spawn(self, spec):
        if self.failures:
            self.failures -= 1
            raise Unavailable("the sandbox could not be started", detail="no way to the network")
        return await super().spawn(spec)


def test_what_does_not_start_is_tried_once_more(tmp_path, runner):
    def end(failures):
        host = Stumbling(ExitStatus(code=0, signal=None), failures=failures)
        job = ConfinedJob(argv=("true",), cwd=tmp_path, timeout_s=20)
        return runner.run(SandboxedJobs(host)(job, on_output=lambda _: None))

    assert end(1) == 0
    with pytest.raises(Unavailable):
        end(2)
