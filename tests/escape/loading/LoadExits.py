import os


def load():
    os._exit(5)


def apply(value):
    return "never"
