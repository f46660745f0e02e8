"""Each thing that must not be in a process whose forks serve different callers, one at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from algorium_runtime import guard

LOOK = """
import json, sys
from algorium_runtime import guard
before = guard.handlers()
{code}
found = guard.faults()
if guard.handlers() != before:
    found.append(guard.SIGNALS)
print(json.dumps(found))
"""


def look(python: str, code: str, **options) -> list[str]:
    """Run *code* in a fresh process, let it look at itself, and return what it found."""
    source = str(Path(guard.__file__).parents[1])
    done = subprocess.run(
        [python, "-c", LOOK.format(code=code)],
        env={**os.environ, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        **options,
    )
    found: list[str] = __import__("json").loads(done.stdout)
    return found


def test_a_process_that_did_nothing_is_fit(python):
    assert look(python, "") == []


def test_a_thread_is_found(python):
    code = "import threading, time\n"
    code += "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"

    assert look(python, code) == [guard.THREADS]


def test_a_child_is_found(python):
    code = "import subprocess; child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)"
    code += "\nimport atexit; atexit.register(child.kill)"

    assert look(python, code) == [guard.PROCESSES]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import socket; s = socket.socket()", "keeps a socket open"),
        ("import os; p = os.pipe()", "keeps a file open (pipe:"),
        ("f = open('/etc/hostname')", "keeps a file open (/etc/hostname)"),
        ("import os; f = os.open('/dev/full', 1)", "keeps a device open (/dev/full)"),
        ("import select; e = select.epoll()", "keeps a file open (anon_inode:"),
        ("import mmap; m = mmap.mmap(-1, 4096)", guard.SHARED_MEMORY),
        ("import signal; signal.signal(signal.SIGTERM, lambda *_: None)", guard.SIGNALS),
    ],
)
def test_what_forks_would_share_is_found(python, code, what):
    found = look(python, code)

    assert len(found) >= 1
    assert all(each.startswith(what) for each in found)


def test_private_memory_and_mapped_files_are_no_matter(python):
    code = "import mmap; m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
    code += (
        "with open(sys.executable, 'rb') as f: n = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"
    )

    found = look(python, code)

    # `mmap` keeps a descriptor of its own for a file
    assert [each for each in found if not each.startswith("keeps a file open")] == []


def test_a_process_can_be_looked_at_from_outside():
    code = (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); print()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = guard.faults(process.pid)
        process.kill()

    assert found == [guard.THREADS]


@pytest.mark.parametrize(
    ("name", "is_denied"),
    [
        ("grpc", True),
        ("grpc._cython.cygrpc", True),
        ("tensorflow", True),
        ("jax.numpy", True),
        ("ray", True),
        ("grpcio_tools", False),
        ("json", False),
        ("torch", False),  # which is not installed here
    ],
)
def test_some_packages_are_denied_unseen(name, is_denied):
    assert guard.is_denied(name) is is_denied


@pytest.mark.parametrize(
    ("version", "is_denied"),
    [
        ("__version__ = '2.8.0+cpu'\ncuda = None\n", False),
        ("__version__ = '2.8.0+cpu'\ncuda: Optional[str] = None\n", False),
        ("__version__ = '2.8.0'\ncuda = '12.8'\n", True),
        ('cuda: Optional[str] = "12.8"\n', True),
    ],
)
def test_torch_is_denied_if_it_uses_graphics_cards(tmp_path, monkeypatch, version, is_denied):
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported for this')")
    (package / "version.py").write_text(version)
    monkeypatch.syspath_prepend(tmp_path)

    assert guard.is_denied("torch") is is_denied
    assert guard.is_denied("torch.nn") is is_denied
