"""`algo dev` and `algo test`: the project of the working directory, run on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from algorium._cli.program import AsJson, Failed, Server, Switch, UsageError, app

if TYPE_CHECKING:
    from algorium._cli.local import Bench

_PORT: Final = 8765


@app.command
def dev(
    *,
    port: int = _PORT,
    python: str = "",
    install: bool = True,
    reload: bool = True,
    env_file: Path | None = None,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Serve the algorithm of the working directory on this machine, until Ctrl-C.

    It is called as on a server, without a key, and loads anew when its source
    is saved. It runs with your rights: nothing confines it.

    Parameters
    ----------
    port
        Where to listen, on this machine only; 0 for any.
    python
        Interpreter, environment, or version of Python (with uv); nothing is installed into the
        first two. If left out: .venv, or else an environment in .algo with the requirements.
    install
        Install what the project requires into the environment in .algo.
    reload
        Load anew when the source is saved.
    env_file
        Variables of the algorithm, such as its secrets; .env if there is one.
    as_json
        Print address and requests as lines of JSON.
    """
    if not 0 <= port <= 65535:
        raise UsageError("--port must be between 0 and 65535")
    bench = _bench(python=python, installs=install, variables=env_file, server=server)
    from algorium._cli.serving import serve  # noqa: PLC0415 - for start-up time

    serve(bench, port=port, reload=reload, as_json=as_json)


@app.command(name="test")
def run_tests(
    *pytest_arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    python: str = "",
    install: bool = True,
    env_file: Path | None = None,
    remote: Annotated[bool, Switch] = False,
    target: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Run the tests below src as the build does, and the cases in TEST_CASES.json.

    Parameters
    ----------
    pytest_arguments
        After "--", for pytest: algo test -- -x -k words.
    python
        See `algo dev --help`, as for the next two.
    install
        Install what the project requires, and pytest.
    env_file
        Variables of the algorithm.
    remote
        Run the cases on the server, and nothing here: against the commit that is checked out,
        which must have been pushed and built.
    target
        With --remote: another version, such as 1.2.0 or latest.
    as_json
        Print a JSON object with all cases; what pytest says goes to standard error.
    """
    if target and not remote:
        raise UsageError("--target is for --remote")
    if remote and pytest_arguments:
        raise UsageError("pytest does not run on the server: leave out its arguments")
    bench = _bench(python=python, installs=install, variables=env_file, server=server)
    from algorium._cli.testing import test_here, test_there  # noqa: PLC0415 - for start-up time

    if remote:
        test_there(server, target=target, as_json=as_json)
    else:
        test_here(bench, pytest_arguments, as_json=as_json)


def _bench(
    *, python: str, installs: bool, variables: Path | None, server: Server | None
) -> "Bench":
    try:
        from algorium._cli.local import Bench  # noqa: PLC0415 - for start-up time
    except ModuleNotFoundError as error:
        if error.name != "algorium_runtime":
            raise
        raise Failed(
            "what runs algorithms is not installed", hint="pip install 'algorium[cli]'"
        ) from error
    return Bench(python=python, installs=installs, variables=variables, server=server)
