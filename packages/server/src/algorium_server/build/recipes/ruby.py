"""
Projects in Ruby: `src/NAME.rb` defines `apply` at the top level, a `Gemfile` names gems.

Gems are installed below `vendor/bundle` of the tree. Tests are the files `src/*_test.rb`.
"""

import re
from typing import Final

from algorium_server.build.recipes import toolchain
from algorium_server.build.recipes.entries import find_file
from algorium_server.build.recipes.workshop import Workshop

TOOLS: Final = (
    toolchain.Tool(command="ruby", package="ruby"),
    toolchain.Tool(command="bundle", package="ruby-bundler", is_optional=True),
)
_GEMFILE: Final = "Gemfile"
_NAMES_GEMS: Final = re.compile(r"^\s*(gem|gemspec)\b", re.MULTILINE)
_TEST: Final = re.compile(r"src/([^/]+/)*[^/]+_test\.rb")
_RUN_TESTS: Final = """\
if File.exist?("Gemfile") && File.read("Gemfile").match?(/^\\s*(gem|gemspec)\\b/)
  ENV["BUNDLE_PATH"] = File.expand_path("vendor/bundle")
  ENV["BUNDLE_APP_CONFIG"] = File.expand_path(".bundle")
  require "bundler/setup"
end
$LOAD_PATH.unshift(File.expand_path("src"))
ARGV.dup.each { |file| ARGV.clear; load File.expand_path(file) }
"""


def find_entry(shop: Workshop) -> str:
    """Return the file that defines `apply`."""
    return find_file(shop.files, shop.name, ("rb",))


async def install(shop: Workshop, entry: str) -> str:
    """Install the gems; returns the entry."""
    if _NAMES_GEMS.search(shop.text(_GEMFILE)):
        bundle = toolchain.require(TOOLS, "bundle", why=f"the {_GEMFILE} names gems")
        shop.begin("installing gems")
        cache = shop.cache("bundle")
        await shop.install(
            *(bundle, "install", "--jobs", "2"),
            failed="the gems cannot be installed",
            env={
                "BUNDLE_APP_CONFIG": str(shop.tree / ".bundle"),
                "BUNDLE_PATH": "vendor/bundle",
                "BUNDLE_USER_HOME": str(cache),
            },
            caches=(cache,),
        )
    return entry


async def check(shop: Workshop, entry: str) -> None:
    """Load the entry as a slot would."""
    await shop.load("ruby", "ruby.rb", entry)


async def test(shop: Workshop) -> None:
    """Run the test files, all in one process."""
    tests = [path for path in shop.files if _TEST.fullmatch(path)]
    if tests:
        shop.begin("testing")
        await shop.try_out("ruby", "-e", _RUN_TESTS, *tests, failed="the tests failed")
