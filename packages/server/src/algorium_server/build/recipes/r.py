"""
Projects in R: `src/NAME.r` defines `algorithm`, `packages.txt` names packages.

    # ...                       a comment
    NAME                        the latest version from CRAN, unless the server has it installed
    -t URL                      an archive
    -g USER/REPO[/DIR][@REF]    from GitHub
    -e CODE                     R code to run

Packages go into `dependencies` of the tree. Tests are those of `run_all_tests.r`, else those that
testthat finds in `tests`.
"""

import json
import re
from typing import Final

from algorium_server.build.confined import BuildFailed
from algorium_server.build.recipes import toolchain
from algorium_server.build.recipes.entries import find_file
from algorium_server.build.recipes.workshop import Workshop

_LIBRARIES: Final = (
    "/usr/lib/R/site-library",
    "/usr/local/lib/R/site-library",
    "/usr/lib/R/library",
)


def _library(name: str, *, is_optional: bool = False) -> toolchain.Tool:
    return toolchain.Tool(
        command=f"R package {name}",
        package=f"r-cran-{name}",
        probe=tuple(f"{library}/{name}" for library in _LIBRARIES),
        is_optional=is_optional,
    )


TOOLS: Final = (
    toolchain.Tool(command="Rscript", package="r-base-core"),
    _library("rjson"),
    _library("base64enc"),
    _library("testthat", is_optional=True),
)
_PACKAGES: Final = "packages.txt"
_LIBRARY: Final = "dependencies"
_VARIABLES: Final = {"R_LIBS_USER": _LIBRARY}
_ALL_TESTS: Final = "run_all_tests.r"
_TEST: Final = re.compile(r"tests/test[^/]*\.[rR]")
_PREPARE: Final = """\
options(warn = 1, menu.graphics = FALSE)
mirror <- Sys.getenv("CRAN_MIRROR")
if (nzchar(mirror)) options(repos = c(CRAN = mirror))
dir.create(Sys.getenv("R_LIBS_USER"), showWarnings = FALSE)
.libPaths(Sys.getenv("R_LIBS_USER"))
need <- function(package, install) {
  if (requireNamespace(package, quietly = TRUE)) {
    message(package, " ", utils::packageVersion(package), " is installed")
  } else {
    install()
    if (!requireNamespace(package, quietly = TRUE)) stop(package, " was not installed")
  }
}
from_github <- function(place) {
  if (requireNamespace("remotes", quietly = TRUE)) remotes::install_github(place)
  else pacman::p_install_gh(place)
}
"""


def find_entry(shop: Workshop) -> str:
    """Return the file that defines `algorithm`, or serves itself."""
    return find_file(shop.files, shop.name, ("r",))


async def install(shop: Workshop, entry: str) -> str:
    """Install the packages; returns the entry."""
    lines = installation(shop.text(_PACKAGES))
    if lines:
        shop.begin("installing packages")
        mirror = shop.inherited.get("CRAN_MIRROR", "")
        await shop.install(
            *("Rscript", "-e", _PREPARE + "\n".join(lines)),
            failed="the packages cannot be installed",
            env={**_VARIABLES, "CRAN_MIRROR": mirror},
        )
    return entry


async def check(shop: Workshop, entry: str) -> None:
    """Source the entry as a slot would; one that serves itself is only parsed."""
    await shop.load("Rscript", "r.r", entry, env=_VARIABLES)


async def test(shop: Workshop) -> None:
    """Run the tests, if there are any and there is something to run them with."""
    has_own = _ALL_TESTS in shop.files
    if not has_own and not any(_TEST.fullmatch(path) for path in shop.files):
        return
    has_testthat = toolchain.find(TOOLS[-1]) or (shop.tree / _LIBRARY / "testthat").exists()
    needs_testthat = not has_own or "testthat" in shop.text(_ALL_TESTS)
    if needs_testthat and not has_testthat:
        reason = toolchain.how_to_get(TOOLS[-1:])
        shop.tools.say(f"Warning: the tests were not run, because {reason}")
        return
    shop.begin("testing")
    run = ("-e", 'testthat::test_dir("tests", stop_on_failure = TRUE)')
    await shop.try_out(
        *("Rscript", *((_ALL_TESTS,) if has_own else run)),
        failed="the tests failed",
        env=_VARIABLES,
    )


def installation(packages: str) -> list[str]:
    """
    Turn the text of a `packages.txt` into R code, a line for a line.

    Raises:
        BuildFailed: A line is not in the grammar; the text quotes it.
    """
    code = []
    for number, raw in enumerate(packages.splitlines(), start=1):
        line = raw.strip()
        option, _, rest = line.partition(" ")
        argument = rest.strip()
        words = line.split()
        if not line or line.startswith("#"):
            continue
        if option == "-e" and argument:
            code.append(argument)
        elif option == "-t" and len(words) == 2:
            archive = json.dumps(argument)
            name = json.dumps(_name_of(argument))
            install = f'function() install.packages({archive}, repos = NULL, type = "source")'
            code.append(f"need({name}, {install})")
        elif option == "-g" and len(words) == 2:
            code.append(f"from_github({json.dumps(argument)})")
        elif len(words) == 1 and re.fullmatch(r"[A-Za-z][A-Za-z0-9.]*", line):
            code.append(f'need("{line}", function() install.packages("{line}"))')
        else:
            raise BuildFailed(f"{_PACKAGES}, line {number}: {line!r} is not understood")
    return code


def _name_of(archive: str) -> str:
    """Return the package in `…/NAME_VERSION.tar.gz`."""
    return re.sub(r"(_[^_/]*)?\.(tar\.gz|tgz|tar\.bz2|zip)$", "", archive.rpartition("/")[2])
