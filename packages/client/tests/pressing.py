"""`algo` in a process of its own, as a shell starts it."""

import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, Final

ALGO: Final = (
    sys.executable,
    "-c",
    "import signal, sys; from algorium.cli import main; "
    # Ignored is inherited, and what runs these tests in the background ignores it.
    "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())",
)


def interrupt(process: subprocess.Popen[Any]) -> None:
    """
    Press Ctrl+C until it has ended, which is once, nearly always.

    Python notices a signal that comes just before a system call only after that call, and forgets
    one that meets a finalizer.
    """
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
