"""The oldest development kit: `Algorithmia.handler(apply, load).serve()`."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

from algorium.compat.serving import failure_text, requests, result_text, write


class Handler:
    """
    An algorithm that serves itself over standard input and a FIFO.

    Args:
        apply_func: Takes the input, and what *load_func* returned, if it has two parameters.
        load_func: Called once, without arguments.

    Raises:
        TypeError: The two take other arguments.
    """

    def __init__(self, apply_func: Callable[..., Any], load_func: Callable[[], Any]) -> None:
        if len(inspect.signature(load_func).parameters) > 0:
            raise TypeError("load function must not have parameters")
        if (arity := len(inspect.signature(apply_func).parameters)) not in {1, 2}:
            raise TypeError(f"apply function may have between 1 and 2 parameters, not {arity}")
        self.apply_func = apply_func
        self.load_func = load_func
        self.load_result: Any = None

    def load(self) -> None:
        """Call *load_func*, and tell the platform that it has been."""
        self.load_result = self.load_func()
        sys.stdout.write("PIPE_INIT_COMPLETE\n")
        sys.stdout.flush()

    def serve(self) -> None:
        """Answer requests until there are no more."""
        try:
            self.load()
        except Exception as error:  # whatever it is, it is told to the platform
            write(failure_text(error))
            return
        for value in requests():
            try:
                write(result_text(self._apply(value)))
            except Exception as error:  # likewise
                write(failure_text(error))

    def _apply(self, value: Any) -> Any:
        if self.load_result:
            return self.apply_func(value, self.load_result)
        return self.apply_func(value)
