"""
The command `algo`: call algorithms, look after files.

Exit codes: 0 done, 1 the job failed, 2 wrong usage. Results go to standard output, everything said
about them to standard error.

Longer than most modules because the signatures and docstrings of the commands are what `--help`
prints; how results look is in `_rendering.py`.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

try:
    from cyclopts import App, CycloptsError, Parameter
except ImportError:  # an optional extra
    raise SystemExit("error: algo needs more packages\nhint: pip install 'algorium[cli]'") from None

from algorium._errors import AlgorithmError, AlgoriumError
from algorium._rendering import (
    details,
    entry_json,
    entry_line,
    is_text,
    result_bytes,
    usage_json,
    usage_lines,
    usage_table,
)
from algorium.wire.bodies import DataAcl, ReadAcl
from algorium.wire.refs import RefSyntaxError
from algorium.wire.uris import DataUri, UriSyntaxError

if TYPE_CHECKING:
    from algorium import Algorium, DataDirectory, DataFile, UsageRecord, UsageTotal

_DIMENSIONS: Final = ("account", "algorithm", "version", "day")
_USAGE_LINES: Final = 50
_REMOTE: Final = re.compile(r"[A-Za-z0-9]+(\+[^:/]*)?:/")

Switch = Parameter(negative="")
Operand = Parameter(allow_leading_hyphen=True)  # "-" is standard input or output

app = App(
    name="algo",
    help="Call algorithms and look after files on an Algorium server.",
    version=lambda: version("algorium"),
    help_format="plaintext",
)


class UsageError(Exception):
    """The command line asks for something that makes no sense."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Server:
    """
    Which server, and as whom.

    Attributes:
        profile: Section of ~/.algorithmia/config; left out, the environment (ALGORITHMIA_API,
            ALGORITHMIA_API_KEY) and then the section "default" count.
        api_address: Address of the API, such as http://127.0.0.1:8080.
    """

    profile: Annotated[str | None, Parameter(help="Section of ~/.algorithmia/config.")] = None
    api_address: Annotated[str | None, Parameter(help="Address of the API.")] = None

    def connect(self) -> "Algorium":
        """Return a client."""
        # Inside: the HTTP library takes longer to load than `algo --help` to run.
        from algorium import Algorium  # noqa: PLC0415

        return Algorium(api_address=self.api_address, profile=self.profile)


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
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
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
    with (server or Server()).connect() as client:
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
                _note(error.stacktrace.rstrip())
            raise
    if debug:
        _note(details(response))
    is_tty = sys.stdout.isatty()
    _write(result_bytes(response, is_raw=raw, is_json=as_json, is_for_people=is_tty), output)


@app.command
def ls(
    uri: str = "data://",
    /,
    *,
    long: Annotated[bool, Parameter(name=["--long", "-l"], negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    server: Server | None = None,
) -> None:
    """
    List a directory.

    Parameters
    ----------
    uri
        A data URI, such as data://.my/photos.
    long
        Also show size and time of files.
    as_json
        Print a JSON list.
    """
    with (server or Server()).connect() as client:
        entries = _entries(client, uri)
        if as_json:
            _print(json.dumps([entry_json(entry) for entry in entries], ensure_ascii=False))
            return
        for entry in entries:
            _print(entry_line(entry, is_long=long))


@app.command
def cat(
    uris: Annotated[list[str], Parameter(name="uri")], /, *, server: Server | None = None
) -> None:
    """
    Write files to standard output, one after the other.

    Parameters
    ----------
    uris
        Data URIs of files.
    """
    if not uris:
        raise UsageError("cat needs at least one data URI")
    with (server or Server()).connect() as client:
        for uri in uris:
            with client.file(uri).get() as reader:
                for piece in reader.chunks():
                    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@app.command
def cp(
    source: Annotated[str, Operand],
    target: Annotated[str, Operand],
    /,
    *,
    server: Server | None = None,
) -> None:
    """
    Copy one file to, from or within the server.

    Parameters
    ----------
    source
        A data URI, a local file, or - for standard input.
    target
        A data URI, a local path, or - for standard output. Into a directory the file goes under
        its own name.
    """
    if not _REMOTE.match(source) and not _REMOTE.match(target):
        raise UsageError("one of the two must be a data URI, such as data://.my/photos/a.jpg")
    with (server or Server()).connect() as client:
        if not _REMOTE.match(target):
            _download(client.file(source), target)
            return
        place = client.file(_target_uri(source, target))
        if source == "-":
            place.put(sys.stdin.buffer)
        elif _REMOTE.match(source):
            with client.file(source).get() as reader:
                place.put(reader)
        else:
            place.put_file(source)


@app.command
def mkdir(
    uri: str,
    /,
    *,
    public: Annotated[bool, Switch] = False,
    private: Annotated[bool, Switch] = False,
    server: Server | None = None,
) -> None:
    """
    Create a directory.

    Parameters
    ----------
    uri
        A data URI, such as data://.my/photos.
    public
        Everybody with an account may read it.
    private
        Only you and algorithms that you call may read it. Without either, your algorithms may,
        whoever calls them.
    """
    if public and private:
        raise UsageError("--public and --private exclude each other")
    acl = ReadAcl.PUBLIC if public else ReadAcl.PRIVATE if private else ReadAcl.MY_ALGORITHMS
    with (server or Server()).connect() as client:
        client.dir(uri).create(DataAcl.from_read(acl))


@app.command
def rm(
    uris: Annotated[list[str], Parameter(name="uri")],
    /,
    *,
    recursive: Annotated[bool, Parameter(name=["--recursive", "-r"], negative="")] = False,
    server: Server | None = None,
) -> None:
    """
    Delete files, and directories with -r.

    Parameters
    ----------
    uris
        Data URIs.
    recursive
        Delete directories with everything in them.
    """
    if not uris:
        raise UsageError("rm needs at least one data URI")
    with (server or Server()).connect() as client:
        for uri in uris:
            if not client.dir(uri).exists():
                client.file(uri).delete()
            elif recursive:
                client.dir(uri).delete(force=True)
            else:
                raise UsageError(f"{uri} is a directory; delete it with -r")


@app.command
def usage(
    *,
    by: str = "",
    since: str = "",
    until: str = "",
    algorithm: str = "",
    account: str = "",
    limit: int = _USAGE_LINES,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    server: Server | None = None,
) -> None:
    """
    Show what your calls took, newest first, or sums of them.

    Parameters
    ----------
    by
        Show sums, told apart by some of account, algorithm, version and day: day,algorithm.
    since
        Calls from this day or time on, such as 2026-03-01 or 2026-03-01T12:00:00Z.
    until
        Calls before this day or time.
    algorithm
        Calls of this algorithm only: OWNER/NAME.
    account
        Calls of this organization, which you own; of any account, with an admin key.
    limit
        How many calls to show at most. Sums are always shown all.
    as_json
        Print a JSON list.
    """
    if limit < 1:
        raise UsageError("--limit must be at least 1")
    told_apart = tuple(word.strip() for word in by.split(",") if word.strip())
    if unknown := set(told_apart) - set(_DIMENSIONS):
        raise UsageError(f"--by knows {', '.join(_DIMENSIONS)}, not {', '.join(sorted(unknown))}")
    if "version" in told_apart and "algorithm" not in told_apart:
        told_apart = ("algorithm", *told_apart)
    wish: dict[str, Any] = {"algorithm": algorithm, "account": account}
    wish |= {"since": _moment(since, "--since"), "until": _moment(until, "--until")}
    rows: Sequence[UsageRecord | UsageTotal]
    with (server or Server()).connect() as client:
        if told_apart:
            rows = totals = client.usage_totals(by=told_apart, **wish)
            lines = usage_table(totals, told_apart)
        else:
            rows = records = list(islice(client.usage(page=min(limit, 1000), **wish), limit))
            lines = usage_lines(records)
    if as_json:
        lines = [json.dumps([usage_json(row) for row in rows], ensure_ascii=False)]
    for line in lines:
        _print(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(words, exit_on_error=False, print_error=False, result_action="return_none")
        sys.stdout.flush()
    except (CycloptsError, UsageError, RefSyntaxError, UriSyntaxError) as error:
        command = f"algo {words[0]}" if words and words[0] in app else "algo"
        return _fail(str(error), hint=f"`{command} --help` shows how to use it.", exit_code=2)
    except AlgorithmError as error:
        hint = error.hint or "Run it again with --debug to see what it printed."
        return _fail(f"{error.error_type}: {error.message}", hint=hint, request=error.request_id)
    except AlgoriumError as error:
        hint = error.hint or "`algo --help` shows what else can be done."
        return _fail(error.message, hint=hint, request=error.request_id)
    except BrokenPipeError:
        # Whoever read our output has enough. Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(str(error), hint="Check the path and its permissions.")
    return 0


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


def _entries(client: "Algorium", uri: str) -> "Iterator[DataFile | DataDirectory]":
    """Yield what is in a directory, or the file itself if it is one."""
    place = DataUri.parse(uri)
    if client.file(place).exists():
        yield from (file for file in client.dir(place.parent).files() if file.name == place.name)
    else:
        yield from client.dir(place).list()


def _download(file: "DataFile", target: str) -> None:
    if target != "-":
        file.get_file(target)
        return
    with file.get() as reader:
        for piece in reader.chunks():
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _target_uri(source: str, target: str) -> DataUri:
    """Return where a file goes: into a directory it goes under its own name."""
    uri = DataUri.parse(target)
    is_directory = target.endswith("/") or (uri.protocol == "data" and len(uri.segments) < 3)
    if not is_directory:
        return uri
    if source == "-":
        raise UsageError(f"{target} is a directory; name a file in it")
    name = DataUri.parse(source).name if _REMOTE.match(source) else Path(source).name
    return uri.child(name)


def _moment(text: str, option: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} wants a day or a time such as 2026-03-01, not {text}") from None


def _write(content: bytes, output: Path | None) -> None:
    if output is not None:
        output.write_bytes(content)
        return
    if sys.stdout.isatty() and not is_text(content):
        raise UsageError(f"the result is {len(content)} bytes of no text; save it with -o FILE")
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _note(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


def _fail(message: str, *, hint: str, request: str = "", exit_code: int = 1) -> int:
    _note(f"error: {message}")
    if request:
        _note(f"request: {request}")
    _note(f"hint: {hint}")
    return exit_code
