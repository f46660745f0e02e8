"""`algo run`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from algorium._cli.program import Operand, Server, Switch, UsageError, app, connect, note
from algorium._errors import AlgorithmError
from algorium._rendering import details, is_text, result_bytes

if TYPE_CHECKING:
    from algorium._algorithms import AlgorithmHandle


def _input(*names: str) -> Parameter:
    return Parameter(name=names, allow_leading_hyphen=True)


@app.command
def run(
    ref: str,
    stdin: Annotated[str | None, Operand] = None,
    /,
    *,
    data: Annotated[str | None, _input("--data", "-d")] = None,
    text: Annotated[str | None, _input("--text", "--text-data", "-t")] = None,
    json_data: Annotated[str | None, _input("--json-data", "-j")] = None,
    binary: Annotated[str | None, _input("--binary", "--binary-data")] = None,
    file: Annotated[str | None, _input("--file", "--data-file", "-f", "-D")] = None,
    text_file: Annotated[str | None, _input("--text-file", "-T")] = None,
    json_file: Annotated[str | None, _input("--json-file", "-J")] = None,
    binary_file: Annotated[str | None, _input("--binary-file", "-b", "-B")] = None,
    timeout: float | None = None,
    retry: Annotated[bool, Switch] = False,
    idempotency_key: str | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    raw: Annotated[bool, Switch] = False,
    as_json: Annotated[bool, Parameter(name=["--json", "--response-body"], negative="")] = False,
    silence: Annotated[bool, Parameter(name=["--silence", "-s"], negative="")] = False,
    server: Server | None = None,
) -> None:
    """
    Call an algorithm and print its result.

    With --debug, also show what it printed, its times and, if it fails, where.

    Parameters
    ----------
    ref
        OWNER/NAME or OWNER/NAME/VERSION.
    stdin
        A single "-": the input is standard input, as text if it is UTF-8, else as bytes.
    data
        The input is this text; as --text.
    text
        The input is this text.
    json_data
        The input is this JSON.
    binary
        The input is the bytes of this text.
    file
        The input is this file: JSON if it is called *.json, else text. "-" is standard input, as
        for all files here.
    text_file
        The input is this file, as text.
    json_file
        The input is this file, as JSON.
    binary_file
        The input is this file, as bytes.
    timeout
        Seconds the call may take, 300 if not said.
    retry
        Send the call again when the connection breaks or the server is started anew; the server
        runs it once.
    idempotency_key
        The same, with a key of yours: who makes the same call with it again, within a day, gets
        the answer of the first time.
    output
        Write the result into this file.
    raw
        Write exactly the bytes of the result, without a line end.
    as_json
        Print result and metadata as JSON.
    silence
        Print nothing but the result, not even with --debug.
    """
    if raw and as_json:
        raise UsageError("--raw and --json exclude each other")
    if as_json and stdin not in {None, "-"} and _is_json(stdin):
        # The old command line: `--json INPUT`. Its result was printed as without.
        stdin, json_data, as_json = None, stdin, False
    value = _call_input(
        stdin,
        {
            "data": data if data is not None else text,
            "json": json_data,
            "binary": binary,
            "file": file,
            "text file": text_file,
            "json file": json_file,
            "binary file": binary_file,
        },
        is_twice=data is not None and text is not None,
    )
    debug = server is not None and server.debug and not silence
    with connect(server) as client:
        handle = client.algo(ref)
        if timeout is not None:
            if not timeout > 0:
                raise UsageError("--timeout must be a positive number of seconds")
            handle = handle.timeout(timeout)
        if retry or idempotency_key is not None:
            handle = _idempotent(handle, idempotency_key)
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


def _idempotent(handle: "AlgorithmHandle", key: str | None) -> "AlgorithmHandle":
    try:
        return handle.idempotent(key)
    except ValueError as error:
        raise UsageError(f"--idempotency-key: {error}") from error


def _call_input(stdin: str | None, named: Mapping[str, str | None], *, is_twice: bool) -> Any:
    """Return what to call with; exactly one of the arguments may be given."""
    given = [(kind, text) for kind, text in named.items() if text is not None]
    if stdin is not None and stdin != "-":
        is_option = stdin.startswith("-")
        told = f"unknown option {stdin}" if is_option else f"the input goes with -d {stdin!r}"
        raise UsageError(told)
    if len(given) + (stdin is not None) != 1 or is_twice:
        raise UsageError("give exactly one input: -d TEXT, -j JSON, -f FILE, -b FILE or -")
    if stdin is not None:
        content = sys.stdin.buffer.read()
        return _as_text(content) if is_text(content) else content
    kind, text = given[0]
    match kind:
        case "data":
            return text
        case "json":
            return _as_json(text)
        case "binary":
            return text.encode("utf-8", "surrogateescape")
    content = sys.stdin.buffer.read() if text == "-" else Path(text).read_bytes()
    if kind == "binary file":
        return content
    if not is_text(content):
        raise UsageError(f"{text} is not UTF-8 text; send it as bytes with -b")
    is_json = kind == "json file" or (kind == "file" and Path(text).suffix == ".json")
    return _as_json(_as_text(content)) if is_json else _as_text(content)


def _is_json(text: str | None) -> bool:
    try:
        json.loads(text or "")
    except ValueError:
        return False
    return True


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
