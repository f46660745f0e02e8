import signal
import time


def load():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    while True:
        time.sleep(60)


def apply(value):
    return "never"
