import time


def load():
    time.sleep(3600)


def apply(value):
    return "never"
