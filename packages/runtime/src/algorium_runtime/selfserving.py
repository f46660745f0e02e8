"""
Modules that serve themselves: the official ADK and the older `Algorithmia.handler`.

Such a module ends with `ADK(apply, load).init()` or `Algorithmia.handler(apply, load).serve()`,
which the original packages answer by reading requests from standard input for ever. Here the two
methods are replaced by ones that keep the packages' own `load` and their rules for arguments, but
hand the rest to this runtime. The call still never returns.

Repairs for interpreters newer than the packages:

    the package                                     breaks                    the repair
    calls `traceback.format_exception(etype=…)`     from Python 3.10          accept the keyword
    calls `inspect.getargspec`                      from Python 3.11          provide it
    mixes up `Algorithmia.ADK` if `adk` is first    always                    import the other first
    thinks it runs on a laptop without its FIFO     always                    make the FIFO

Nothing of this happens where the packages are not installed. A project that brings a copy of them
instead runs as it is, behind the adapter for pipes, with the repairs alone.

Source: runtime specification, "ADK semantics", "Breakage on current interpreters".
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import sys
import traceback
from typing import Any, Callable

from algorium_runtime.entry import Apply, Program, enter_project, import_entry, with_types

FIFO_PATH = "/tmp/algoout"  # noqa: S108 - the packages look for exactly this path
"""Where the packages tell "on the platform" from "on a laptop". Nothing is ever written to it."""

Serve = Callable[[Program], None]
"""Takes over a program; on the platform it does not return."""


def prepare(serve: Serve, *, fifo_path: str | None = FIFO_PATH) -> None:
    """
    Make self-serving modules hand their program to *serve*; to be called before the entry's import.

    Args:
        serve: Called in place of the packages' own loops.
        fifo_path: Where to make the FIFO if the packages are installed; None for nowhere.
    """
    try:
        algorithmia = importlib.import_module("Algorithmia")
    except Exception:  # absent, or broken: then the author's own import will say how
        return
    _repair_interpreter()
    if fifo_path is not None:
        with contextlib.suppress(OSError):  # it exists, or may not be made: both are survivable
            os.mkfifo(fifo_path, 0o644)
    adk = getattr(sys.modules.get("adk"), "ADK", None)
    if isinstance(adk, type) and hasattr(adk, "init"):
        adk.init = _adk_init(serve)
    handler = getattr(algorithmia, "Handler", None)
    if isinstance(handler, type) and hasattr(handler, "serve"):
        handler.serve = _handler_serve(serve)


def apply_of(program: Program) -> Callable[..., Any] | None:
    """Return the author's function in a program that was handed to `prepare`'s *serve*."""
    kit = next(iter(getattr(program, "args", ())), None)
    return getattr(kit, "apply_func", None)


def import_unchanged(entry: str) -> None:
    """
    Import a module that serves itself with a kit that is not the packages'.

    It reads requests from standard input and writes responses into the FIFO until there are no
    more; then this returns.
    """
    _repair_interpreter()
    with contextlib.suppress(Exception):  # see `prepare`
        importlib.import_module("Algorithmia")
    enter_project()
    import_entry(entry)


def _adk_init(serve: Serve) -> Callable[..., None]:
    def init(
        self: Any,
        local_payload: object = None,  # noqa: ARG001 - only for laptops, like the next
        pprint: object = print,  # noqa: ARG001
        mlops: bool = False,
    ) -> None:
        self.is_local = False  # even if the FIFO could not be made
        if mlops:
            self.mlops_init()
        serve(functools.partial(_start_adk, self))

    return init


def _start_adk(adk: Any) -> Apply:
    adk.load()  # the package's own, with its model manifest; an exception is kept, not raised
    if adk.loading_exception is not None:
        raise adk.loading_exception
    apply_func = with_types(adk.apply_func)

    def apply(value: Any) -> Any:
        # Truth, not "is not None": modules written for the package may count on the difference.
        if adk.load_result and adk.apply_arity == 2:
            return apply_func(value, adk.load_result)
        return apply_func(value)

    return apply


def _handler_serve(serve: Serve) -> Callable[..., None]:
    def serve_handler(self: Any) -> None:
        serve(functools.partial(_start_handler, self))

    return serve_handler


def _start_handler(handler: Any) -> Apply:
    handler.load()

    def apply(value: Any) -> Any:
        if handler.load_result:
            return handler.apply_func(value, handler.load_result)
        return handler.apply_func(value)

    return apply


def _repair_interpreter() -> None:
    if "etype" not in inspect.signature(traceback.format_exception).parameters:
        traceback.format_exception = _accepting_etype(traceback.format_exception)
    if not hasattr(inspect, "getargspec"):
        inspect.getargspec = _getargspec  # type: ignore[attr-defined] # that is the point


def _accepting_etype(format_exception: Callable[..., list[str]]) -> Callable[..., list[str]]:
    @functools.wraps(format_exception)
    def format_exception_as_before(*args: Any, **kwargs: Any) -> list[str]:
        if "etype" in kwargs:
            args = (kwargs.pop("etype"), *args)
        return format_exception(*args, **kwargs)

    return format_exception_as_before


def _getargspec(function: Callable[..., Any]) -> tuple[Any, Any, Any, Any]:
    """Return names, `*` name, `**` name and defaults, as `inspect.getargspec` did."""
    spec = inspect.getfullargspec(function)
    return spec.args, spec.varargs, spec.varkw, spec.defaults
