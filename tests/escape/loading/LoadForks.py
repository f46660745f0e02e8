"""Leaves a process behind that outlives a failed load, and looks like the platform's own."""

import os
import signal
import sys


def load():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
            program = [sys.executable, "-c", "import time; time.sleep(600)", "left-by-LoadForks"]
            os.execv(sys.executable, program)
        os._exit(0)
    os.wait()
    os._exit(4)


def apply(value):
    return "never"
