"""
How slots of a build may start: which modules a zygote can import ahead for them.

The first import of the entry listed the third-party modules that came with it. Here they are
imported once more, in the build's sandbox but without the entry, by the very code that a zygote
runs. A module after which the process could not be forked is left out, with everything below it,
and the rest is tried again, until nothing is found any more or it is not worth it.

Slots that do without a zygote work as well, only their start takes longer. So nothing here fails
a build, and everything is told to the author.

What is read back was written by foreign code: it names modules, and nothing else is made of it.

Source: runtime design, "Zygote".
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from algorium_runtime.preloading import EXAMINED_FILE, WANTED_FILE
from algorium_server.build.confined import TIMED_OUT, Tools
from algorium_server.build.scratch import read_json
from algorium_server.domain.algorithms import FastStart
from algorium_server.domain.limits import (
    MIB,
    PRELOAD_EXAMINATIONS_MAX,
    PRELOAD_EXAMINE_S,
    PRELOAD_MODULES_MAX,
    ZYGOTE_MEMORY_BYTES,
)

_RULES: Final = 1
"""To be raised with every change of the rules: what was found by older ones is forgotten."""
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,99}(\.[A-Za-z_]\w{0,99}){0,20}", re.ASCII)
_WORD: Final = re.compile(r"[\w ,()/.:+-]{1,160}", re.ASCII)
_SHOWN_MAX: Final = 5


class _Fault(msgspec.Struct, array_like=True, frozen=True):
    module: str
    what: str


class _Examined(msgspec.Struct, frozen=True):
    names: list[str]
    left_out: list[_Fault]
    fault: _Fault | None
    memory_bytes: int


class FastStarts:
    """
    Examines the modules of builds, each set of them once for each environment.

    Args:
        directory: Where results are kept.
        runtime_dir: The runtime package.
    """

    def __init__(self, directory: Path, *, runtime_dir: Path) -> None:
        self._directory = directory
        self._runtime_dir = runtime_dir

    async def examine(
        self,
        environment: Path,
        *,
        scratch_dir: Path,
        env: Mapping[str, str],
        tools: Tools,
        read_only: tuple[Path, ...] = (),
    ) -> FastStart:
        """
        Find out what may be imported ahead; never fails.

        Args:
            environment: The build's; its name is its key.
            scratch_dir: Holds the list that the first import wrote. Ours, to be written into.
            env: The variables of the program.
            tools: Of the build.
            read_only: What the program must see beside it.
        """
        names = _names(read_json(scratch_dir / WANTED_FILE, list[str]))
        if names is None:
            return FastStart(reason="no: it cannot be told which modules were imported")
        remembered = self._directory / f"{environment.name}-{_digest(names)}.json"
        found = read_json(remembered, FastStart)
        if found is None:
            found = await self._examine((environment, *read_only), names, scratch_dir, env, tools)
            with suppress(OSError):  # it will be found out once more
                self._directory.mkdir(parents=True, exist_ok=True)
                fresh = remembered.with_suffix(f".{scratch_dir.name}")
                fresh.write_bytes(msgspec.json.encode(found))
                fresh.rename(remembered)
        return found

    async def _examine(
        self,
        read_only: tuple[Path, ...],
        names: list[str],
        scratch_dir: Path,
        env: Mapping[str, str],
        tools: Tools,
    ) -> FastStart:
        left_out: dict[str, str] = {}
        for number in range(PRELOAD_EXAMINATIONS_MAX):
            wanted = [name for name in names if not _is_below(name, left_out)]
            if not wanted:
                return _possible([], 0, left_out)
            directory = scratch_dir / str(number)
            directory.mkdir()
            (directory / WANTED_FILE).write_bytes(msgspec.json.encode(wanted))
            code = await tools.run(
                *(str(read_only[0] / "bin" / "python"), "-u", str(self._runtime_dir)),
                *("--examine", str(directory)),
                cwd=directory,
                env=env,
                read_only=(*read_only, self._runtime_dir),
                writable=(directory,),
                limit_s=PRELOAD_EXAMINE_S,
            )
            if code == TIMED_OUT:
                return FastStart(reason="no: importing the modules ahead takes too long")
            examined = read_json(directory / EXAMINED_FILE, _Examined) if code == 0 else None
            if examined is None:
                return FastStart(reason=f"no: the modules cannot be imported ahead (code {code})")
            left_out |= {fault.module: fault.what for fault in examined.left_out}
            if examined.fault is None:
                return _fit(examined, wanted, left_out)
            left_out[examined.fault.module] = examined.fault.what
        return FastStart(
            reason=f"no: {PRELOAD_EXAMINATIONS_MAX} modules and more do not survive a fork"
        )


def _fit(examined: _Examined, wanted: list[str], left_out: dict[str, str]) -> FastStart:
    if examined.memory_bytes > ZYGOTE_MEMORY_BYTES:
        return FastStart(reason=f"no: the modules take {examined.memory_bytes // MIB} MiB")
    loaded = sum(not _is_below(name, left_out) for name in wanted)
    return _possible([name for name in examined.names if name in wanted], loaded, left_out)


def _possible(modules: Iterable[str], loaded: int, left_out: dict[str, str]) -> FastStart:
    """Compose the answer; *loaded* modules are there once *modules* are imported."""
    reason = f"yes, {loaded} modules preloaded" if loaded else "yes, nothing to preload"
    tops = {name: what for name, what in left_out.items() if not _is_below(name, left_out, own=0)}
    if tops:
        shown = [f"{name} ({_said(what)})" for name, what in list(tops.items())[:_SHOWN_MAX]]
        more = f" and {len(tops) - _SHOWN_MAX} more" if len(tops) > _SHOWN_MAX else ""
        reason += f"; without {', '.join(shown)}{more}"
    return FastStart(is_possible=True, modules=tuple(modules), reason=reason)


def _said(what: str) -> str:
    """Return what is wrong with a module, as a part of a sentence; foreign code said it."""
    return f"{what} when imported" if _WORD.fullmatch(what) else "unfit"


def _is_below(name: str, others: Iterable[str], *, own: int = 1) -> bool:
    """Whether a module is in a package of *others*, or with *own* one of them."""
    return any(name.startswith(f"{other}.") or (own and name == other) for other in others)


def _names(names: list[str] | None) -> list[str] | None:
    if names is None or len(names) > PRELOAD_MODULES_MAX:
        return None
    return sorted(set(names)) if all(map(_NAME.fullmatch, names)) else None


def _digest(names: list[str]) -> str:
    return hashlib.sha256(msgspec.json.encode([_RULES, names])).hexdigest()[:32]
