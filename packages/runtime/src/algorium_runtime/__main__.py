"""
The program a slot runs: `python -u PATH/algorium_runtime ENTRY`, and its other uses.

    ENTRY                        serves the module ENTRY on descriptor 3
    --check ENTRY [DIRECTORY]    only imports it; exits with 0 if it could be called, else with 1
                                 and the reason on standard error; lists what else was imported
    --examine DIRECTORY          imports what such a list names, and says what may be imported ahead
    --zygote                     imports that and waits for slots to fork, on descriptor 3
    --pipe COMMAND ...           serves what COMMAND starts, an algorithm in another language
    --import ENTRY               such a COMMAND: a module that serves itself with a kit of its own
    --here ENTRY NONCE           serves the module on standard input and output: `algo dev`

Python puts this very directory first on `sys.path` (or, with `-m`, the working directory). Neither
may stay: a file there would shadow the standard library, in our imports and in the author's.
"""

import importlib.util
import os
import sys

USAGE = (
    "usage: python -u PATH/algorium_runtime ENTRY | --check ENTRY [DIRECTORY] | --examine DIRECTORY"
    " | --zygote | --pipe COMMAND ... | --import ENTRY | --here ENTRY NONCE"
)


def main() -> None:
    """Read the arguments and serve or check; never returns."""
    if __package__:  # started with -m: the package was found, only the working directory must go
        sys.path[:] = [path for path in sys.path if path not in {"", os.getcwd()}]
    else:
        del sys.path[0]
        _load_package(os.path.dirname(os.path.abspath(__file__)))
    arguments = sys.argv[1:]
    del sys.argv[1:]  # the author's modules may read the command line; these words are not for them
    # Imported here: `sys.path` had to be mended first, and each form of use needs its own.
    if len(arguments) >= 2 and arguments[0] == "--pipe":
        from algorium_runtime import pipes  # noqa: PLC0415

        pipes.run(arguments[1:])
    if len(arguments) == 2 and arguments[0] == "--import":
        from algorium_runtime import selfserving  # noqa: PLC0415

        selfserving.import_unchanged(arguments[1])
        sys.exit(0)
    if len(arguments) == 2 and arguments[0] == "--examine":
        from algorium_runtime import preloading  # noqa: PLC0415

        preloading.examine(arguments[1])
    from algorium_runtime import runner  # noqa: PLC0415

    if len(arguments) == 3 and arguments[0] == "--here":
        runner.run_here(arguments[1], arguments[2])
    if arguments == ["--zygote"]:
        from algorium_runtime import zygote  # noqa: PLC0415

        arguments = [zygote.wait_for_birth()]  # from here on this is the slot
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        runner.run(arguments[0])
    if len(arguments) in {2, 3} and arguments[0] == "--check":
        runner.check(*arguments[1:])
    print(USAGE, file=sys.stderr)  # noqa: T201 - a command's answer to wrong usage
    sys.exit(2)


def _load_package(directory: str) -> None:
    """
    Make this directory importable as `algorium_runtime`.

    Not through `sys.path`: that would have Python list the directory above, which a sandbox may
    not show.
    """
    spec = importlib.util.spec_from_file_location(
        "algorium_runtime",
        os.path.join(directory, "__init__.py"),
        submodule_search_locations=[directory],
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["algorium_runtime"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    main()
