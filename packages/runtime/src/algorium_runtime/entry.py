"""
Finds what to run in an author's project: `load()` and `apply()` of the entry module.

The working directory is the project's root. It comes last on `sys.path`, so that a file of the
project cannot shadow the standard library or a dependency, and the entry is imported under its
full name (`src.Hello`), so that `from .x import y` and `from src.x import y` both work.

Source: runtime specification, "File-system and process view", "ADK semantics".
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from types import ModuleType
from typing import Any, Callable

Apply = Callable[[Any], Any]
"""Answers one call: the decoded input in, the result out."""

Program = Callable[[], Apply]
"""Runs the author's `load()` and returns what answers calls from then on."""


class EntryError(Exception):
    """The entry module cannot be called."""


def enter_project() -> None:
    """Put the project, which is the working directory, where its modules are found."""
    root = os.getcwd()
    if root not in sys.path:
        sys.path.append(root)


def import_entry(entry: str) -> ModuleType:
    """
    Import the module that the project names as its entry, such as `src.Hello`.

    May raise whatever the author's module raises, and does not return if the module serves itself
    (`selfserving`).
    """
    return importlib.import_module(entry)


def program_of(module: ModuleType) -> Program:
    """
    Return the program of a module that defines `apply(input)`.

    A module-level `load()` is run first if it can be called without arguments: a function of that
    name that needs some (`from json import load`) is not meant for us. What it returns, unless it
    is None, becomes the second argument of an `apply` with exactly two positional parameters.

    Raises:
        EntryError: There is no such function.
    """
    apply = with_types(apply_of(module))
    load = getattr(module, "load", None)

    def start() -> Apply:
        if not callable(load) or not _takes_nothing(load):
            return apply
        state = load()
        if state is None or _positional_count(apply) != 2:
            return apply
        return lambda value: apply(value, state)

    return start


def apply_of(module: ModuleType) -> Callable[..., Any]:
    """
    Return the function `apply` of a module.

    Raises:
        EntryError: There is none.
    """
    apply: Callable[..., Any] | None = getattr(module, "apply", None)
    if apply is None or not callable(apply):
        raise EntryError(f"{module.__name__} defines no function apply(input)")
    return apply


def with_types(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Return an `apply` in front of this one that makes what its annotations name of inputs."""
    function = inspect.unwrap(apply)
    if inspect.isroutine(function) and not getattr(function, "__annotations__", None):
        return apply
    from algorium_runtime import typed  # noqa: PLC0415 - for start-up time: most need none of it

    return typed.converting(apply)


def _takes_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # needs arguments, or is a built-in that does not say
        return False
    return True


def _positional_count(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD} for p in parameters)
