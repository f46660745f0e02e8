"""
Environments: what a program that runs in one finds in its variables.

A build tries the algorithm out with the same variables that its slots will have, so that what
works there works here.

Source: wire specification, "File-system and process view".
"""

from typing import Final

HOME_DIR: Final = "/home/algo"
"""Home directory inside of every sandbox."""
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where programs of the base system are."""

_SINGLE_THREADED: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Numeric libraries otherwise start a thread per core in every slot at import."""


def system_variables() -> dict[str, str]:
    """Return the variables of every program of an algorithm, whatever it is written in."""
    return {
        "JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF8",
        "LANG": "C.UTF-8",
        "PATH": f"{HOME_DIR}/.local/bin:{SYSTEM_PATH}",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(_SINGLE_THREADED, "1"),
    }


def variables_of(directory: str) -> dict[str, str]:
    """Return the variables for programs that run in the virtual environment *directory*."""
    variables = system_variables()
    return {
        **variables,
        "PATH": f"{directory}/bin:{variables['PATH']}",
        "VIRTUAL_ENV": directory,
    }
