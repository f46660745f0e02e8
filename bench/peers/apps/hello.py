"""What every peer serves: the algorithm of `examples/demo/Hello`, as a plain function."""

from typing import Any


def hello(value: Any) -> str:
    """Greet."""
    return f"Hello {value}"
