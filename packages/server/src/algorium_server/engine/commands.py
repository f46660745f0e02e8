"""
What to start in a slot, by language: pure.

Python runs in its environment and speaks frames itself. Everything else is a pipe: the adapter of
`algorium_runtime` runs in the server's interpreter, starts the pipe, and speaks frames for it.

    language     the pipe                           the entry is
    python-pipe  the module itself                  a module that serves itself
    node         ours, `languages/node.js`          a file of the project
    ruby         ours, `languages/ruby.rb`          a file of the project
    r            ours, `languages/r.r`              a file of the project
    java         the project's own `main`           a class of the old service's development kit
                 ours, in the build                 any other class
    rust         the project's own, in the build    a program
    pipe         the project's own                  a program

Virtual machines size themselves by the host's memory, which is not theirs: they are told.

Source: wire specification of the runtime, "Worker protocol", "File-system and process view".
"""

from typing import Final

from algorium_server.domain.environments import system_variables, variables_of
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import MIB
from algorium_server.engine.sandbox import ALGORITHM_DIR, RUNTIME_DIR

_PIPES_DIR: Final = f"{RUNTIME_DIR}/languages"
_SELF_SERVING_PACKAGE: Final = "com.algorithmia."
"""Java classes in it begin with a `main`, as the development kit wants it."""
_JAVA_RUNNER: Final = "algorium.pipe.Main"
_JAVA_CLASS_PATH: Final = ".algorium/java/algorithm.jar:target/lib/*:.algorium/java/*"
"""The author's own libraries come before ours."""
_JAVA: Final = ("sh", "-c", 'exec java "-Djava.io.tmpdir=${TMPDIR:-/tmp}" "$@"', "java")
"""Java does not ask for `TMPDIR`; where slots have no root of their own, `/tmp` is closed."""
_JAVA_OPTIONS: Final = ("-XX:+UseSerialGC",)
"""One call at a time: threads that collect garbage would only compete with other slots."""
_NODE_HEAP_SHARE: Final = 0.75
_JAVA_HEAP_SHARE: Final = 0.6
"""The rest is for code, threads and buffers, and for the files in memory that `/tmp` holds."""


def variables(language: Language, environment: str) -> dict[str, str]:
    """
    Return the environment variables of a slot.

    Args:
        language: What runs in it.
        environment: Path of the virtual environment, for Python.
    """
    match language:
        case Language.PYTHON | Language.PYTHON_PIPE:
            return variables_of(environment)
        case Language.R:
            return {**system_variables(), "R_LIBS_USER": f"{ALGORITHM_DIR}/dependencies"}
        case _:
            return system_variables()


def arguments(
    language: Language, entry: str, *, environment: str, interpreter: str, memory_bytes: int
) -> tuple[str, ...]:
    """
    Return the command line of a slot, in paths as seen inside.

    Args:
        language: What the project is written in.
        entry: What the build found.
        environment: Path of the virtual environment, for Python.
        interpreter: The server's base interpreter, for everything else.
        memory_bytes: Limit of the slot.
    """
    python = (f"{environment}/bin/python", "-u", RUNTIME_DIR)
    if language is Language.PYTHON:
        return (*python, entry)
    # Isolated and without `site`: nothing of the project or its variables can reach the adapter.
    adapter = (interpreter, "-I", "-S", RUNTIME_DIR, "--pipe")
    if language is Language.PYTHON_PIPE:
        return (*adapter, *python, "--import", entry)
    return (*adapter, *_pipe(language, entry, memory_bytes // MIB))


def _pipe(language: Language, entry: str, memory_mib: int) -> tuple[str, ...]:
    match language:
        case Language.NODE:
            heap_mib = int(memory_mib * _NODE_HEAP_SHARE)
            return ("node", f"--max-old-space-size={heap_mib}", f"{_PIPES_DIR}/node.js", entry)
        case Language.RUBY:
            return ("ruby", f"{_PIPES_DIR}/ruby.rb", entry)
        case Language.R:
            return ("Rscript", f"{_PIPES_DIR}/r.r", entry)
        case Language.JAVA:
            begin = (entry,) if entry.startswith(_SELF_SERVING_PACKAGE) else (_JAVA_RUNNER, entry)
            heap_mib = int(memory_mib * _JAVA_HEAP_SHARE)
            options = (*_JAVA_OPTIONS, f"-Xmx{heap_mib}m", "-cp", _JAVA_CLASS_PATH)
            return (*_JAVA, *options, *begin)
        case _:
            return (f"./{entry}",)
