"""
Third-party modules, imported ahead of the algorithms that need them.

    build    the entry is imported as a slot would          `loaded_since`: what came with it
             those are imported again, without the entry    `examine`: which of them may be
    zygote   those that may be are imported                 `import_ahead`, and forked from then on

Only modules out of the environment's `site-packages` count: never the author's own, and the
standard library comes with whoever needs it.

Standard library only, Python 3.8+.

Source: runtime design, "Zygote".
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import sysconfig
import time
from typing import Any, Collection, Iterable, NamedTuple, NoReturn

from algorium_runtime import guard

WANTED_FILE = "modules.json"
EXAMINED_FILE = "examined.json"
_FIRST = "Algorithmia"
"""The package `adk` spoils `Algorithmia.ADK` when it is imported before."""
_JOINED_S = 0.1
"""A thread that was waited for may still be there for the moment that it takes to end."""
_LOOK_AGAIN_S = 0.002


class Fault(NamedTuple):
    """Importing *module* left the process in a state in which it cannot be forked."""

    module: str
    what: str


class Imported(NamedTuple):
    """
    What became of a list of modules.

    Attributes:
        names: What had to be imported, in this order: the others came with one of these.
        left_out: Modules that were not even tried, or could not be imported, with the reason.
        fault: Where it ended early.
    """

    names: list[str]
    left_out: list[Fault]
    fault: Fault | None


def loaded_since(before: Collection[str]) -> list[str]:
    """
    Return the names of the third-party modules that came into this process, sorted.

    The order of their imports would depend on the hash seed; sorted, a package is before what is
    in it, and equal imports give equal lists.

    Args:
        before: Names of the modules that were there already.
    """
    places = _site_packages()
    names = []
    for name, module in list(sys.modules.items()):
        if name not in before and getattr(module, "__name__", None) == name:
            origin = getattr(getattr(module, "__spec__", None), "origin", None)
            if isinstance(origin, str) and origin.startswith(places):
                names.append(name)
    return sorted(names)


def import_ahead(names: Iterable[str], *, is_stepwise: bool) -> Imported:
    """
    Import *names*, as far as a process survives it unchanged.

    Args:
        names: In any order; a package should come before what is in it.
        is_stepwise: Look after each import, and so find who is to blame.
    """
    kept = guard.descriptors()
    handlers = guard.handlers()
    imported: list[str] = []
    left_out: list[Fault] = []
    last = ""
    for name in sorted(names, key=lambda name: name != _FIRST):
        if name in sys.modules:
            continue
        if guard.is_denied(name):
            left_out.append(Fault(name, guard.UNSAFE))
            continue
        try:
            importlib.import_module(name)
        except BaseException as error:  # modules may raise anything, even SystemExit
            left_out.append(Fault(name, f"cannot be imported alone: {type(error).__name__}"))
        else:
            imported.append(name)
        last = name
        if is_stepwise:
            what = _fault(kept, handlers)
            if what:
                return Imported(imported, left_out, Fault(name, what))
    what = _fault(kept, handlers)
    return Imported(imported, left_out, Fault(last, what) if what else None)


def examine(directory: str) -> NoReturn:
    """
    Import what a file in *directory* names, and say in another one how that went.

    What the modules print is thrown away: the build's log has it from the first import.
    """
    with open(os.path.join(directory, WANTED_FILE), encoding="utf-8") as file:
        names = json.load(file)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    result = import_ahead(names, is_stepwise=True)
    said: dict[str, Any] = {**result._asdict(), "memory_bytes": _memory_bytes()}
    write(os.path.join(directory, EXAMINED_FILE), said)
    os._exit(0)  # whatever a module wanted to do at the end: nobody waits for it


def write(path: str, value: object) -> None:
    """Write JSON to a new file: nothing is followed, nothing replaced."""
    with open(path, "x", encoding="utf-8") as file:
        json.dump(value, file)


def _fault(kept: Collection[int], handlers: dict[int, object]) -> str:
    found = guard.faults(kept=kept)
    patience_ends_at = time.monotonic() + _JOINED_S
    while guard.THREADS in found and time.monotonic() < patience_ends_at:
        time.sleep(_LOOK_AGAIN_S)
        found = guard.faults(kept=kept)
    if found:
        return found[0]
    if guard.handlers() != handlers:
        return guard.SIGNALS
    denied = guard.loaded_denied()
    return f"imports {denied}, which {guard.UNSAFE}" if denied else ""


def _site_packages() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.join(paths[kind], "") for kind in ("purelib", "platlib")})


def _memory_bytes() -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
