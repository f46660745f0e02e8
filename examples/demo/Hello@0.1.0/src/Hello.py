"""Greets whatever it is given."""


def apply(input):
    name = "null" if input is None else input
    return f"Hello {name}"
