import ctypes


def load():
    ctypes.string_at(0)


def apply(value):
    return "never"
