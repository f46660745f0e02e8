"""What is started in a slot, by language."""

import pytest

from algorium_server.domain.languages import Language
from algorium_server.engine.commands import arguments, variables
from algorium_server.engine.sandbox import RUNTIME_DIR

GIB = 1024**3


def command(language, entry):
    return arguments(
        language,
        entry,
        environment="/envs/key",
        interpreter="/usr/bin/python3",
        memory_bytes=2 * GIB,
    )


def test_python_speaks_for_itself():
    assert command(Language.PYTHON, "src.Hello") == (
        "/envs/key/bin/python",
        "-u",
        RUNTIME_DIR,
        "src.Hello",
    )
    assert variables(Language.PYTHON, "/envs/key")["VIRTUAL_ENV"] == "/envs/key"


def test_python_with_a_kit_of_its_own_is_a_pipe_in_its_environment():
    assert command(Language.PYTHON_PIPE, "src.Hello") == (
        *("/usr/bin/python3", "-I", "-S", RUNTIME_DIR, "--pipe"),
        *("/envs/key/bin/python", "-u", RUNTIME_DIR, "--import", "src.Hello"),
    )


@pytest.mark.parametrize(
    ("language", "entry", "pipe"),
    [
        (
            Language.NODE,
            "src/Hello.js",
            f"node --max-old-space-size=1536 {RUNTIME_DIR}/languages/node.js src/Hello.js",
        ),
        (Language.RUBY, "src/Hello.rb", f"ruby {RUNTIME_DIR}/languages/ruby.rb src/Hello.rb"),
        (Language.R, "src/Hello.r", f"Rscript {RUNTIME_DIR}/languages/r.r src/Hello.r"),
        (Language.RUST, ".algorium/pipe", "./.algorium/pipe"),
        (Language.PIPE, "bin/pipe", "./bin/pipe"),
    ],
)
def test_everything_else_is_a_pipe_behind_the_adapter(language, entry, pipe):
    adapter = ("/usr/bin/python3", "-I", "-S", RUNTIME_DIR, "--pipe")

    assert command(language, entry) == (*adapter, *pipe.split())


def test_java_begins_with_its_own_main_or_with_ours():
    own = command(Language.JAVA, "com.algorithmia.algorithm.Algorithm")
    ours = command(Language.JAVA, "algorithmia.Hello.Hello")

    assert own[-1] == "com.algorithmia.algorithm.Algorithm"
    assert ours[-2:] == ("algorium.pipe.Main", "algorithmia.Hello.Hello")
    assert own[:-1] == ours[:-2]
    assert "-Xmx1228m" in own


@pytest.mark.parametrize("language", Language)
def test_what_every_program_finds_in_its_environment(language):
    found = variables(language, "/envs/key")

    assert found["LANG"] == "C.UTF-8"
    assert found["JAVA_TOOL_OPTIONS"] == "-Dfile.encoding=UTF8"
    assert found["PATH"].endswith("/home/algo/.local/bin:/usr/local/bin:/usr/bin:/bin")
    assert ("VIRTUAL_ENV" in found) is language.startswith("python")
