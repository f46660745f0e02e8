"""
Projects in Rust: a library with the algorithm, and a program `pipe` that serves it.

The program is compiled in; of everything that cargo makes, it alone is kept. Crates are fetched
first; from then on, when their code and the author's runs, there is no network.
"""

from pathlib import Path
from typing import Final, TypedDict

from algorium_server.build.confined import BuildFailed
from algorium_server.build.recipes import toolchain
from algorium_server.build.recipes.workshop import OURS, Workshop, path_with

TOOLS: Final = (
    toolchain.Tool(command="cargo", package="cargo", is_for_builds=True),
    toolchain.Tool(command="rustc", package="rustc", is_for_builds=True),
    toolchain.Tool(command="cc", package="gcc", is_for_builds=True),
)
_MANIFEST: Final = "Cargo.toml"
_LOCK: Final = "Cargo.lock"
_PROGRAM: Final = "pipe"


def find_entry(shop: Workshop) -> str:
    """Return where the program will be."""
    if _MANIFEST not in shop.files:
        raise BuildFailed(f"no entry point: expected {_MANIFEST} with a program named {_PROGRAM}")
    return f"{OURS}/{_PROGRAM}"


async def install(shop: Workshop, entry: str) -> str:
    """Compile the program; returns where it is."""
    cargo = _Cargo(shop)
    shop.begin("fetching crates")
    await shop.install(
        *cargo.command("fetch"),
        failed="the crates cannot be fetched",
        **cargo.surroundings,
    )
    shop.begin("compiling")
    await shop.install(
        *cargo.command("build", "--release", "--offline"),
        failed="the project cannot be compiled",
        has_network=False,
        **cargo.surroundings,
    )
    shop.keep(
        cargo.target_dir / "release" / _PROGRAM,
        _PROGRAM,
        missing=f"the project has no program named {_PROGRAM}: add src/bin/{_PROGRAM}.rs",
    )
    return entry


async def check(shop: Workshop, entry: str) -> None:
    """Nothing is left to check: what is compiled can be started."""


async def test(shop: Workshop) -> None:
    """Run the tests of the library and the programs."""
    shop.begin("testing")
    cargo = _Cargo(shop)
    await shop.try_out(
        *cargo.command("test", "--release", "--offline"),
        failed="the tests failed",
        **cargo.surroundings,
    )


class _Surroundings(TypedDict):
    env: dict[str, str]
    caches: tuple[Path, ...]
    read_only: tuple[Path, ...]


class _Cargo:
    """How cargo is run for one project."""

    def __init__(self, shop: Workshop) -> None:
        paths = [path for tool in TOOLS if (path := toolchain.find(tool))]
        cache = shop.cache("cargo")
        self.target_dir = shop.work_dir / "target"
        self.target_dir.mkdir(parents=True, exist_ok=True)
        self.surroundings: _Surroundings = {
            "env": {
                "CARGO_HOME": str(cache),
                "CARGO_TARGET_DIR": str(self.target_dir),
                "CARGO_TERM_COLOR": "never",
                **path_with(*dict.fromkeys(path.parent for path in paths)),
            },
            "caches": (cache, shop.work_dir),
            "read_only": tuple(_toolchain_dirs(paths)),
        }
        self._program = str(paths[0])
        self._locked = ("--locked",) if _LOCK in shop.files else ()

    def command(self, name: str, *options: str) -> tuple[str, ...]:
        return (self._program, name, *self._locked, *options)


def _toolchain_dirs(paths: list[Path]) -> list[Path]:
    """Compilers need the libraries beside their `bin`; those of the base system are there."""
    directories = dict.fromkeys(path.parent.parent for path in paths)
    return [path for path in directories if not path.is_relative_to("/usr") and path != Path("/")]
