import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxes import ALL, processes_with, wait_until

from algorium_server.engine.sandbox import Mechanism

GATEWAY = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from sandboxes import python, read_line
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.sandbox import Mechanism
from algorium_server.telemetry import configure

configure('warning', 'logfmt')
PROGRAM = '''
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    os.fork()
print('ready')
time.sleep(600)
'''

async def main():
    mechanism, state_dir = Mechanism(sys.argv[1]), Path(sys.argv[2])
    host = await SandboxHost.start('auto', state_dir, mechanisms=[mechanism])
    for _ in range(3):
        process = await host.spawn(python(f"'{sys.argv[4]}'" + PROGRAM, has_slot_socket=True))
        await read_line(process.stdout_fd)
    print('serving', flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextlib.contextmanager
def running_gateway(
    mechanism: Mechanism, state_dir: Path, marker: str
) -> Iterator[subprocess.Popen[str]]:
    tests = Path(__file__).parents[1]
    argv = [sys.executable, "-c", GATEWAY, mechanism.value, str(state_dir), str(tests), marker]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as gateway:
        try:
            assert gateway.stdout is not None
            assert gateway.stdout.readline() == "serving\n"
            yield gateway
        finally:
            gateway.kill()


def sandboxed(marker: str, gateway: int) -> list[int]:
    return [pid for pid in processes_with(marker) if pid != gateway]


def groups(pid: int) -> list[Path]:
    return [*Path("/sys/fs/cgroup").rglob(f"algorium-{pid}-*")]


@pytest.mark.parametrize("mechanism", ALL)
def test_when_the_gateway_is_killed_nothing_stays(stages, mechanism, tmp_path):
    assert stages[mechanism]
    state_dir = tmp_path / "state"
    marker = f"marker-{os.urandom(8).hex()}"
    with running_gateway(mechanism, state_dir, marker) as gateway:
        supervisor = min(set(processes_with(str(state_dir))) - {gateway.pid})
        assert len(sandboxed(marker, gateway.pid)) >= 6

    wait_until(lambda: not processes_with(marker), timeout_s=30)
    wait_until(lambda: not processes_with(str(state_dir)), timeout_s=30)
    assert not list(state_dir.glob("slots-*"))
    assert not groups(supervisor)


@pytest.mark.parametrize("mechanism", ALL)
def test_when_everything_of_ours_is_killed_the_next_start_sweeps(stages, mechanism, tmp_path):
    assert stages[mechanism]
    state_dir = tmp_path / "state"
    marker = f"marker-{os.urandom(8).hex()}"
    with running_gateway(mechanism, state_dir, marker) as gateway:
        supervisor = min(set(processes_with(str(state_dir))) - {gateway.pid})
        # the gateway, the supervisor and its forks: all of them mention the directory
        for pid in processes_with(str(state_dir)):
            with contextlib.suppress(ProcessLookupError):  # it has died of the death of another
                os.kill(pid, signal.SIGKILL)

    with running_gateway(mechanism, state_dir, f"marker-{os.urandom(8).hex()}"):
        wait_until(lambda: not processes_with(marker), timeout_s=30)
        assert not groups(supervisor)
        assert len(list(state_dir.glob("slots-*"))) == 1
    wait_until(lambda: not processes_with(str(state_dir)), timeout_s=30)


def test_the_supervisor_knows_nothing_it_does_not_need():
    code = textwrap.dedent("""
        import sys
        import algorium_server.engine.supervisor
        loaded = {name.split('.')[0] for name in sys.modules}
        print(sorted(loaded & {'asyncio', 'msgspec', 'sqlalchemy', 'ssl', 'http', 'pyseccomp'}))
        print(sorted(name for name in sys.modules if name.startswith('algorium')))
    """)
    output = subprocess.check_output([sys.executable, "-I", "-c", code], text=True).splitlines()

    assert output[0] == "[]"
    assert "store" not in output[1]
    assert "domain" not in output[1]
