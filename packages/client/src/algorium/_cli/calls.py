"""`algo run`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from algorium._cli.program import AsJson, Operand, Server, Switch, UsageError, app, connect, note
from algorium._errors import AlgorithmError
from algorium._rendering import details, is_text, result_bytes


@app.command
def run(
    ref: str,
    stdin: Annotated[str | None, Operand] = None,
    /,
    *,
    data: Annotated[str | None, Parameter(name=["--data", "-d"], allow_leading_hyphen=True)] = None,
    json_data: Annotated[
        str | None, Parameter(name=["--json-data", "-j"], allow_leading_hyphen=True)
    ] = None,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None,
    binary_file: Annotated[Path | None, Parameter(name=["--binary-file", "-b"])] = None,
    timeout: float | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    raw: Annotated[bool, Switch] = False,
    as_json: Annotated[bool, AsJson] = False,
    debug: Annotated[bool, Switch] = False,
    server: Server | None = None,
) -> None:
    """
    Call an algorithm and print its result.

    Parameters
    ----------
    ref
        OWNER/NAME or OWNER/NAME/VERSION.
    stdin
        A single "-": the input is standard input, as text if it is UTF-8, else as bytes.
    data
        The input is this text.
    json_data
        The input is this JSON.
    file
        The input is this file: JSON if it is called *.json, else text.
    binary_file
        The input is this file, as bytes.
    timeout
        Seconds the call may take, 300 if not said.
    output
        Write the result into this file.
    raw
        Write exactly the bytes of the result, without a line end.
    as_json
        Print result and metadata as JSON.
    debug
        Also show what the algorithm printed, its times and, if it fails, where.
    """
    if raw and as_json:
        raise UsageError("--raw and --json exclude each other")
    value = _call_input(stdin, data, json_data, file, binary_file)
    with connect(server) as client:
        handle = client.algo(ref)
        if timeout is not None:
            if not timeout > 0:
                raise UsageError("--timeout must be a positive number of seconds")
            handle = handle.timeout(timeout)
        if raw:
            handle = handle.output("raw")
        if debug:
            handle = handle.stdout(True).timing(True)
        try:
            response = handle.pipe(value)
        except AlgorithmError as error:
            if debug and error.stacktrace:
                note(error.stacktrace.rstrip())
            raise
    if debug:
        note(details(response))
    is_tty = sys.stdout.isatty()
    _write(result_bytes(response, is_raw=raw, is_json=as_json, is_for_people=is_tty), output)


def _call_input(
    stdin: str | None,
    data: str | None,
    json_data: str | None,
    file: Path | None,
    binary_file: Path | None,
) -> Any:
    """Return what to call with; exactly one of the arguments may be given."""
    given = [source for source in (stdin, data, json_data, file, binary_file) if source is not None]
    if len(given) != 1 and (stdin in {None, "-"}):
        raise UsageError("give exactly one input: -d TEXT, -j JSON, -f FILE, -b FILE or -")
    if stdin is not None:
        if stdin != "-":
            is_option = stdin.startswith("-")
            told = f"unknown option {stdin}" if is_option else f"the input goes with -d {stdin!r}"
            raise UsageError(told)
        content = sys.stdin.buffer.read()
        return _as_text(content) if is_text(content) else content
    if data is not None:
        return data
    if json_data is not None:
        return _as_json(json_data)
    if binary_file is not None:
        return binary_file.read_bytes()
    assert file is not None
    content = file.read_bytes()
    if not is_text(content):
        raise UsageError(f"{file} is not UTF-8 text; send it as bytes with -b")
    return _as_json(_as_text(content)) if file.suffix == ".json" else _as_text(content)


def _as_text(content: bytes) -> str:
    return content.decode()


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"the input is not JSON: {error}") from error


def _write(content: bytes, output: Path | None) -> None:
    if output is not None:
        output.write_bytes(content)
        return
    if sys.stdout.isatty() and not is_text(content):
        raise UsageError(f"the result is {len(content)} bytes of no text; save it with -o FILE")
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
