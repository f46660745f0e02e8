"""Projects in other languages: where they begin, what they install, what fails them."""

import os
import shutil
from pathlib import Path

import pytest
from build_site import Site

from algorium_server.build import languages, trees
from algorium_server.build.confined import BuildFailed
from algorium_server.build.recipes import java, toolchain
from algorium_server.build.recipes.entries import find_file
from algorium_server.build.recipes.r import installation
from algorium_server.build.recipes.toolchain import Tool
from algorium_server.domain.algorithms import BuildStatus
from algorium_server.domain.languages import Language, language_of

HELLO_JS = b"exports.apply = (input, cb) => cb(null, 'Hello ' + input);\n"
HELLO_RB = b'def apply(input) "Hello #{input}" end\n'
HELLO_R = b'algorithm <- function(input) paste("Hello", input)\n'


def need(language: Language) -> None:
    if reason := languages.why_not(language):
        pytest.skip(reason)


@pytest.fixture
def site(tmp_path, jobs):
    return Site(tmp_path, jobs)


# Entries


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        (["src/Hello.js", "src/Algorithm.js"], "src/Hello.js"),
        (["src/Algorithm.js", "src/other.js"], "src/Algorithm.js"),
        (["src/other.mjs", "src/other.test.js", "src/test_it.js", "src/lib/x.js"], "src/other.mjs"),
        (["src/Hello.JS"], "src/Hello.JS"),
    ],
)
def test_an_entry_is_looked_for_in_three_places(files, entry):
    assert find_file(files, "Hello", ("js", "mjs")) == entry


@pytest.mark.parametrize(
    ("files", "found"),
    [([], "there is none"), (["src/a.js", "src/b.js"], "there are 2: src/a.js, src/b.js")],
)
def test_without_an_entry_the_candidates_are_named(files, found):
    with pytest.raises(BuildFailed, match=r"src/Hello\.js, src/Algorithm\.js") as failed:
        find_file(files, "Hello", ("js",))

    assert found in str(failed.value)


# Tools of the host


def test_tools_are_those_that_sandboxes_find(tmp_path, monkeypatch):
    mine = tmp_path / "bin" / "only-here"
    mine.parent.mkdir()
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mine.parent}:{os.environ['PATH']}")

    assert toolchain.find(Tool(command="sh", package="dash")) is not None
    assert toolchain.find(Tool(command="only-here", package="x")) is None
    assert toolchain.find(Tool(command="only-here", package="x", is_for_builds=True)) == mine
    assert toolchain.find(Tool(command="no-such-tool", package="x", is_for_builds=True)) is None
    assert toolchain.find(Tool(command="l", package="x", probe=(str(tmp_path),))) == tmp_path
    assert toolchain.find(Tool(command="l", package="x", probe=("/no/such/library",))) is None


def test_what_is_missing_is_told_with_its_packages():
    one = Tool(command="no-such-tool", package="tools")
    two = Tool(command="no-such-compiler", package="compilers")

    assert toolchain.missing([one, two]) == [one, two]
    assert toolchain.how_to_get([one, two]) == (
        "no-such-tool, no-such-compiler are not installed on this server: "
        "apt-get install tools compilers"
    )
    with pytest.raises(BuildFailed, match="names packages, but no-such-tool is not installed"):
        toolchain.require([one], "no-such-tool", why="it names packages")


def test_every_language_lists_its_tools():
    listed = languages.toolchains()

    assert {tool.language for tool in listed} == set(languages.ROWS) - {Language.PIPE}
    for tool in listed:
        assert tool.command
        assert tool.package
        assert tool.path is None or tool.path.exists()
    required = {tool.language for tool in listed if tool.path is None and not tool.is_optional}
    assert required == {language for language in Language if languages.why_not(language)}


def test_a_language_without_its_tools_is_refused_with_the_remedy(site, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    build = site.build({"src/Hello.js": HELLO_JS}, language="javascript")

    assert build.status is BuildStatus.FAILED
    assert "node is not installed on this server: apt-get install nodejs" in build.log
    assert site.jobs.jobs == []


# Building


@pytest.mark.parametrize(
    ("name", "language", "files", "entry"),
    [
        ("javascript", Language.NODE, {"src/Hello.js": HELLO_JS}, "src/Hello.js"),
        ("ruby", Language.RUBY, {"src/Hello.rb": HELLO_RB}, "src/Hello.rb"),
        ("r36", Language.R, {"src/Hello.r": HELLO_R}, "src/Hello.r"),
        ("pipe", Language.PIPE, {"bin/pipe": b"#!/bin/sh\n"}, "bin/pipe"),
    ],
)
def test_a_project_without_packages_is_built_without_a_network(site, name, language, files, entry):
    need(language)
    build = site.build({**files, "README.md": b"Hello\n"}, language=name)

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert (build.language, build.entry) == (language, entry)
    assert build.environment == build.lock == ""
    assert build.source_bytes == sum(map(len, files.values())) + 6
    assert not any(job.has_network for job in site.jobs.jobs)
    tree = site.builder.source_dir(build.build_id)
    assert {p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()} == {
        *files,
        "README.md",
    }


def test_the_name_in_the_conf_decides_here_as_well(site):
    need(Language.RUBY)
    build = site.build(
        {
            "algorithmia.conf": b'{"algoname": "Greeter"}',
            "src/Greeter.rb": HELLO_RB,
            "src/Hello.rb": b"raise 'not me'",
        },
        language="ruby-2.2-1",
    )

    assert build.entry == "src/Greeter.rb", build.log


NODE_TEST = b"""{"scripts": {"test": "node test.js"}}"""


@pytest.mark.parametrize(
    ("language", "files", "complaint"),
    [
        ("node", {"README.md": b""}, "no entry point: expected src/Hello.js"),
        ("node", {"src/Hello.js": b"throw new Error('no model')"}, "Error: no model"),
        ("node", {"src/Hello.js": b"exports.apply = ("}, "SyntaxError"),
        ("node", {"src/Hello.js": b"exports.other = 1"}, "exports no function apply"),
        ("node", {"src/Hello.js": HELLO_JS, "package.json": b"{"}, "package.json is not JSON"),
        ("node", {"src/Hello.js": HELLO_JS, "package.json": b"[]"}, "must be a JSON object"),
        (
            "node",
            {
                "src/Hello.js": HELLO_JS,
                "package.json": NODE_TEST,
                "test.js": b"console.log('one test'); process.exit(3)",
            },
            "the tests failed (exit code 3)",
        ),
        ("ruby", {"src/Hello.rb": b"def apply("}, "syntax error"),
        ("ruby", {"src/Hello.rb": b"x = 1"}, "defines no method apply"),
        (
            "ruby",
            {
                "src/Hello.rb": HELLO_RB,
                "src/Hello_test.rb": b"require 'minitest/autorun'\n"
                b"class T < Minitest::Test; def test_it() assert false end end\n",
            },
            "the tests failed (exit code 1)",
        ),
        ("r", {"src/Hello.r": b"algorithm <- function("}, "unexpected end of input"),
        ("r", {"src/Hello.r": b"x <- 1"}, "defines no function algorithm"),
        ("r", {"src/Hello.r": HELLO_R, "packages.txt": b"-x what\n"}, "line 1: '-x what'"),
        ("r", {"src/Hello.r": HELLO_R, "packages.txt": b"-e stop('not that')\n"}, "not that"),
        (
            "r",
            {"src/Hello.r": HELLO_R, "run_all_tests.r": b"stopifnot(FALSE)\n"},
            "the tests failed (exit code 1)",
        ),
        ("java", {"src/main/java/Hello.java": b""}, "needs a pom.xml"),
        ("java", {"pom.xml": b"<project/>"}, "expected src/main/java/com/algorithmia/algorithm"),
        ("rust", {"src/lib.rs": b""}, "expected Cargo.toml"),
        ("pipe", {"README.md": b""}, "expected the program bin/pipe"),
        (
            "pipe",
            {"bin/build": b"#!/bin/sh\necho compiling; exit 5\n"},
            "bin/build failed (exit code 5)",
        ),
        ("pipe", {"bin/build": b"#!/bin/sh\n"}, "bin/pipe is not an executable file"),
        (
            "pipe",
            {"bin/pipe": b"#!/bin/sh\n", "bin/test": b"#!/bin/sh\nexit 6\n"},
            "the tests failed (exit code 6)",
        ),
        ("cobol", {"src/Hello.cob": b""}, "algorithms in 'cobol' cannot be built, only those in"),
    ],
)
def test_a_build_fails_in_the_tools_own_words(site, language, files, complaint):
    known = language_of(language)
    if known is not None:
        need(known)
    build = site.build(files, language=language)

    assert build.status is BuildStatus.FAILED
    assert complaint in build.log
    assert build.log.splitlines()[-1].startswith("Build failed: ")
    assert list((site.home / "builds").glob("*")) == []


def test_the_authors_tests_run_in_a_copy(site):
    need(Language.NODE)
    build = site.build(
        {
            "src/Hello.js": HELLO_JS,
            "package.json": NODE_TEST,
            "test.js": b"require('fs').writeFileSync('src/Hello.js', 'changed')",
        },
        language="node",
    )

    assert build.status is BuildStatus.SUCCEEDED, build.log
    tree = site.builder.source_dir(build.build_id)
    assert (tree / "src/Hello.js").read_bytes() == HELLO_JS


def test_new_packages_of_npm_have_no_tests_yet(site):
    need(Language.NODE)
    package = b'{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'
    build = site.build({"src/Hello.js": HELLO_JS, "package.json": package}, language="node")

    assert build.status is BuildStatus.SUCCEEDED, build.log


def test_what_a_build_makes_is_part_of_the_tree(site):
    build = site.build(
        {
            "bin/build": b"#!/bin/sh\nset -e\necho compiling\nmkdir out\necho 1234 >out/model\n"
            b"ln -s out/model link\nprintf '#!/bin/sh\\n' >bin/pipe\nchmod 6700 bin/pipe\n",
            "bin/test": b"#!/bin/sh\nset -e\ncat link\ntest -x bin/pipe\n",
        },
        language="pipe",
    )
    tree = site.builder.source_dir(build.build_id)

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert (tree / "out/model").read_text() == "1234\n"
    assert os.readlink(tree / "link") == "out/model"
    assert (tree / "bin/pipe").stat().st_mode & 0o7777 == 0o755
    assert "compiling\n" in build.log


@pytest.mark.parametrize(
    ("commands", "complaint"),
    [
        ("mkfifo trap", "'trap', which is neither a file nor a directory nor a link"),
        ("mkdir -p d/d && mkfifo d/d/trap", "'d/d/trap', which is neither"),
        (
            "for i in $(seq 300); do mkdir d && cd d; done",
            "directories 257 levels deep",
        ),
    ],
)
def test_traps_for_whoever_looks_into_the_tree_fail_the_build(site, commands, complaint):
    build = site.build(
        {"bin/pipe": b"#!/bin/sh\n", "bin/build": f"#!/bin/sh\n{commands}\n".encode()},
        language="pipe",
    )

    assert build.status is BuildStatus.FAILED
    assert complaint in build.log
    assert list((site.home / "builds").iterdir()) == []


def test_links_are_never_followed(site, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("secret")
    outside.chmod(0o600)
    build = site.build(
        {
            "bin/pipe": b"#!/bin/sh\n",
            "bin/build": f"#!/bin/sh\nln -s {outside} here; ln -s / root\n".encode(),
        },
        language="pipe",
    )

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert build.source_bytes < 1000
    assert outside.stat().st_mode & 0o777 == 0o600


def test_a_tree_has_its_limits(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"x" * 100)

    assert trees.settle(tmp_path) == 300
    monkeypatch.setattr(trees, "BUILT_FILES_MAX", 2)
    with pytest.raises(BuildFailed, match="more than 2 files"):
        trees.settle(tmp_path)
    monkeypatch.setattr(trees, "BUILT_FILES_MAX", 3)
    monkeypatch.setattr(trees, "BUILT_BYTES_MAX", 299)
    with pytest.raises(BuildFailed, match="more than 299 bytes"):
        trees.settle(tmp_path)


# R's packages


def test_the_lines_of_packages_txt_become_r_code():
    code = installation(
        """
        # comment
        R6
        -t https://mirror.example.org/src/data.table_1.14.0.tar.gz
        -g user/repo/sub@main
        -e install.packages("x", type = "source")
        """
    )

    archive = '"https://mirror.example.org/src/data.table_1.14.0.tar.gz"'
    assert code == [
        'need("R6", function() install.packages("R6"))',
        'need("data.table", function() install.packages('
        f'{archive}, repos = NULL, type = "source"))',
        'from_github("user/repo/sub@main")',
        'install.packages("x", type = "source")',
    ]


@pytest.mark.parametrize(
    "line", ["two names", "-t", "-t a b", "-g", "-e", "-x y", "--name", "na me", 'a"b', "1abc"]
)
def test_other_lines_fail_the_build(line):
    with pytest.raises(BuildFailed, match="line 2: "):
        installation(f"\n{line}\n")


def test_a_package_that_the_server_has_needs_no_network_to_be_installed(site):
    need(Language.R)
    build = site.build(
        {"src/Hello.r": HELLO_R, "packages.txt": b"# the platform's own\nrjson\n"}, language="r"
    )

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert "rjson" in build.log
    assert "is installed" in build.log


# How packages are reached


def test_tools_see_how_to_reach_packages_and_nothing_else(tmp_path, jobs):
    need(Language.NODE)
    if not toolchain.find(Tool(command="npm", package="npm")):
        pytest.skip("no npm on this machine")
    site = Site(
        tmp_path,
        jobs,
        inherited_by_tools={
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NPM_REGISTRY": "http://127.0.0.1:9/npm",
            "DATABASE_PASSWORD": "secret",
        },
    )
    package = b'{"dependencies": {"nothing-at-all": "1.0.0"}}'
    build = site.build({"src/Hello.js": HELLO_JS, "package.json": package}, language="node")

    assert build.status is BuildStatus.FAILED
    assert "the packages cannot be installed" in build.log
    assert "ECONNREFUSED" in build.log or "nothing-at-all" in build.log
    job = site.jobs.jobs[-1]
    assert job.has_network
    assert job.env["npm_config_registry"] == "http://127.0.0.1:9/npm"
    assert job.env["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert "DATABASE_PASSWORD" not in job.env
    assert job.writable[1:] == (site.home / "caches" / "npm-owner",)


def test_gems_of_the_project_are_found_while_it_is_built_and_tested(site):
    need(Language.RUBY)
    if not toolchain.find(Tool(command="bundle", package="ruby-bundler")):
        pytest.skip("no bundler on this machine")
    build = site.build(
        {
            "Gemfile": b"gem 'polite', path: 'polite'\n",
            "polite/polite.gemspec": b"Gem::Specification.new { |s| s.name = 'polite'; "
            b"s.version = '1.0'; s.summary = 's'; s.authors = ['a']; s.files = [] }\n",
            "polite/lib/polite.rb": b"WORD = 'Hello'\n",
            "src/Hello.rb": b"require 'polite'\ndef apply(input) \"#{WORD} #{input}\" end\n",
            "src/Hello_test.rb": b"require_relative 'Hello'\n"
            b"raise 'impolite' unless apply('x') == 'Hello x'\n",
        },
        language="ruby",
    )

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert "polite" in build.log


def test_mavens_settings_say_mirror_and_proxy():
    mirror = java._mirror("https://mirror.example.org/maven?a=1&b=2")
    proxy = java._proxies("http://user:p%40ss@proxy.example.org:3128")

    assert "<url>https://mirror.example.org/maven?a=1&amp;b=2</url>" in mirror
    assert "<host>proxy.example.org</host><port>3128</port>" in proxy
    assert "<username>user</username><password>p@ss</password>" in proxy
    assert java._mirror("") == java._proxies("") == ""
    assert Path(java.__file__).with_name("java_kit").joinpath("pom.xml").exists()
