"""
Projects that bring their own pipe, in whatever language: `bin/build` makes it, `bin/pipe` is it.

Both are programs of the project. `bin/build` is optional and may fetch packages; so is `bin/test`.
"""

import os
from typing import Final

from algorium_server.build.confined import BuildFailed
from algorium_server.build.recipes.toolchain import Tool
from algorium_server.build.recipes.workshop import Workshop

TOOLS: Final[tuple[Tool, ...]] = ()
_BUILD: Final = "bin/build"
_PIPE: Final = "bin/pipe"
_TEST: Final = "bin/test"


def find_entry(shop: Workshop) -> str:
    """Return where the program will be."""
    if _PIPE not in shop.files and _BUILD not in shop.files:
        raise BuildFailed(f"no entry point: expected the program {_PIPE}, or {_BUILD} to make it")
    return _PIPE


async def install(shop: Workshop, entry: str) -> str:
    """Run the project's own build; returns the program."""
    _make_executable(shop)
    if _BUILD in shop.files:
        shop.begin(f"running {_BUILD}")
        cache = shop.cache("pipe")
        await shop.install(
            f"./{_BUILD}",
            failed=f"{_BUILD} failed",
            env={"ALGORIUM_CACHE": str(cache)},
            caches=(cache,),
        )
        _make_executable(shop)
    return entry


async def check(shop: Workshop, entry: str) -> None:
    """Starting it might need the platform: that it is a program is all that can be known."""
    program = shop.copy / entry
    if not program.is_file() or not os.access(program, os.X_OK):
        raise BuildFailed(f"{entry} is not an executable file")


async def test(shop: Workshop) -> None:
    """Run the project's own tests."""
    if _TEST in shop.files:
        shop.begin("testing")
        await shop.try_out(f"./{_TEST}", failed="the tests failed")


def _make_executable(shop: Workshop) -> None:
    """Not every way to commit a file says that it is a program."""
    for name in (_BUILD, _PIPE, _TEST):
        program = shop.tree / name
        if program.is_file() and not program.is_symlink() and not program.parent.is_symlink():
            program.chmod(0o755)
