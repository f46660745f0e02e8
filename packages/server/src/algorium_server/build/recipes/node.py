"""
Projects in Node.js: `src/NAME.js` exports `apply`, `package.json` names packages.

Packages are installed as the lock says, if there is one, and become part of the tree. The tests
are those of `npm test`.
"""

import json
import re
from typing import Any, Final

from algorium_server.build.confined import BuildFailed
from algorium_server.build.recipes import toolchain
from algorium_server.build.recipes.entries import find_file
from algorium_server.build.recipes.workshop import Workshop, path_with

TOOLS: Final = (
    toolchain.Tool(command="node", package="nodejs"),
    toolchain.Tool(command="npm", package="npm", is_optional=True),
)
_PACKAGE: Final = "package.json"
_LOCKS: Final = ("package-lock.json", "npm-shrinkwrap.json")
_EXTENSIONS: Final = ("js", "cjs", "mjs")
_NO_TESTS: Final = "no test specified"
"""npm puts a script into new packages that says this and fails."""
_INSTALLED: Final = ("dependencies", "devDependencies", "optionalDependencies")


def find_entry(shop: Workshop) -> str:
    """Return the file that exports `apply`."""
    return find_file(shop.files, shop.name, _EXTENSIONS)


async def install(shop: Workshop, entry: str) -> str:
    """Install the packages; returns the entry."""
    package = _package(shop)
    if any(package.get(kind) for kind in _INSTALLED):
        npm = toolchain.require(TOOLS, "npm", why=f"{_PACKAGE} names packages")
        shop.begin("installing packages")
        command = "ci" if any(lock in shop.files for lock in _LOCKS) else "install"
        cache = shop.cache("npm")
        await shop.install(
            *(npm, command, "--no-audit", "--no-fund", "--no-progress", "--loglevel", "http"),
            failed="the packages cannot be installed",
            env={"npm_config_cache": str(cache), "npm_config_update_notifier": "false"}
            | _registry(shop),
            caches=(cache,),
        )
    return entry


async def check(shop: Workshop, entry: str) -> None:
    """Load the entry as a slot would."""
    await shop.load("node", "node.js", entry)


async def test(shop: Workshop) -> None:
    """Run the script `test`, if there is one."""
    scripts = _package(shop).get("scripts")
    script = scripts.get("test") if isinstance(scripts, dict) else None
    if not isinstance(script, str) or not script.strip() or _NO_TESTS in script:
        return
    shop.begin("testing")
    shop.tools.say(f"> {script}")
    # What `npm test` does; npm itself need not be there for it.
    await shop.try_out(
        *("/bin/sh", "-c", script),
        failed="the tests failed",
        env=path_with(shop.copy / "node_modules" / ".bin"),
    )


def _package(shop: Workshop) -> dict[str, Any]:
    text = shop.text(_PACKAGE)
    if not text:
        return {}
    try:
        package = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BuildFailed(f"{_PACKAGE} is not JSON: {error}") from error
    if not isinstance(package, dict):
        raise BuildFailed(f"{_PACKAGE} must be a JSON object")
    return package


def _registry(shop: Workshop) -> dict[str, str]:
    """`NPM_REGISTRY` is the old service's variable; npm's own count as well."""
    variables = {
        name: value
        for name, value in shop.inherited.items()
        if re.fullmatch(r"(?i:npm_config_(registry|cafile|.*:_authToken))", name)
    }
    if registry := shop.inherited.get("NPM_REGISTRY"):
        variables["npm_config_registry"] = registry
    return variables
