import os
import time


def load():
    os.write(3, b"\xff" * 100)
    time.sleep(3600)


def apply(value):
    return "never"
