"""
Writes the pages of the documentation that are made from the code.

    docs/errors.md               from the table in algorium/wire/codes.py
    docs/limits.md               from algorium_server/domain/limits.py
    docs/reference/settings.md   from the table in algorium_server/settings.py
    docs/reference/client.md     from the docstrings of algorium's public names
    docs/reference/sandbox.md    from the tables in algorium_server/engine/probe.py

`make docs` runs this; a test fails while a page on disk differs from what this would write.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import algorium
from algorium.wire.codes import CODES, ERROR_TYPES, Code
from algorium_server.domain import limits
from algorium_server.engine.probe import NEEDED_VERSIONS, UNPROTECTED
from algorium_server.options import Option
from algorium_server.settings import Settings

DOCS = Path(__file__).parent

_CLIENT_FIRST = (
    "Algorium",
    "AlgorithmHandle",
    "AlgoResponse",
    "DataDirectory",
    "DataFile",
    "FileReader",
    "FileStat",
    "Progress",
    "SyncReport",
    "Connectors",
    "Algorithms",
    "ManagedAlgorithm",
    "Environments",
    "Users",
    "Organizations",
    "Keys",
    "Scms",
    "Sessions",
    "Notifications",
    "EventListeners",
    "PackageSources",
    "SecretProviders",
    "Registries",
    "Reservations",
    "Reports",
    "Admin",
)

_CODE_GROUPS = {
    1: "Algorithms",
    2: "Authorization and form of requests",
    3: "Users and organizations",
    4: "Languages, package sets, source control",
    5: "Server and pages",
    6: "Values",
    7: "Requests",
    8: "Secrets and events",
}


def pages() -> dict[str, str]:
    """Return every generated page: path below `docs/` -> text."""
    return {
        "errors.md": "\n".join(_errors_page()),
        "limits.md": "\n".join(_limits_page()),
        "reference/settings.md": "\n".join(_settings_page()),
        "reference/client.md": "\n".join(_client_page()),
        "reference/sandbox.md": "\n".join(_sandbox_page()),
    }


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        (DOCS / path).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote docs/{path}\n")


def _errors_page() -> Iterator[str]:
    yield "# Errors"
    yield _made_from("packages/client/src/algorium/wire/codes.py")
    yield 'Every error has one shape on the wire: `{"error": {"message": ...}}`, with a `code`'
    yield "or an `error_type` where one applies."
    yield "The header `X-Error-Message` repeats the message, for answers without a body."
    yield "[Calls](concepts/calls.md#errors) tells the two families apart."
    yield ""
    yield "## Types of failed calls"
    yield ""
    yield "A call whose algorithm fails is answered with HTTP 200 and an `error_type`."
    yield "Authors may raise some types themselves; any other becomes `AlgorithmError`."
    for error_type in ERROR_TYPES:
        who = "Authors may raise it." if error_type.is_author_type else "Only the platform says so."
        yield f"\n### {error_type.name}\n\n{error_type.sentence}\n{who}"
    yield ""
    yield "## Numeric codes"
    yield ""
    yield "What the platform refuses or cannot do carries a number, and a status other than 2xx."
    yield "The table holds every code that clients of the old service know; not all are in use yet."
    group = 0
    for code in CODES:
        if code.number // 1000 != group:
            group = code.number // 1000
            yield f"\n### {group}xxx: {_CODE_GROUPS[group]}"
        yield f"\n#### {code.number} {code.name}\n\n{_code_text(code)}"
    yield ""


def _code_text(code: Code) -> str:
    retry = "\nTrying again later may help." if code.is_retryable else ""
    return f"{code.sentence}\nStatus {code.status} {HTTPStatus(code.status).phrase}.{retry}"


def _limits_page() -> Iterator[str]:
    yield "# Limits"
    yield _made_from("packages/server/src/algorium_server/domain/limits.py")
    yield "Everything that can grow has a limit, and every limit has a reason."
    source = Path(limits.__file__).read_text(encoding="utf-8")
    sections = {
        number: line.removeprefix("# ")
        for number, line in enumerate(source.splitlines(), start=1)
        if line.startswith("# ")
    }
    section = ""
    statements = ast.parse(source).body
    for statement, following in zip(statements, [*statements[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        above = [title for number, title in sections.items() if number < statement.lineno]
        if not above:
            continue  # a unit, not a limit
        if above[-1] != section:
            section = above[-1]
            yield f"\n## {section}"
        yield f"\n### {name}\n\n{_with_unit(name, getattr(limits, name))}.\n{_reason(following)}"
    yield ""


def _reason(statement: ast.stmt | None) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    raise SystemExit("every limit needs its reason as a string below it")


def _with_unit(name: str, value: float) -> str:
    number = f"{value:,.0f}" if value >= 1 else str(value)
    if "_BYTES" in name:
        for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if value % size == 0:
                return f"{value // size:.0f} {unit} ({number} bytes)"
        return f"{number} bytes"
    if name.endswith("_S") or "_S_" in name:
        return f"{number} seconds"
    return f"{number} characters" if "_CHARS" in name else number


def _settings_page() -> Iterator[str]:
    yield "# Settings"
    yield _made_from("packages/server/src/algorium_server/settings.py")
    yield "Options of `algorium serve`."
    yield "Each can also be given as an environment variable; the command line wins."
    for option in Settings.table():
        yield f"\n## {option.flag}\n\n{_option_text(option)}"
    yield ""


def _option_text(option: Option) -> str:
    default = f"`{option.default_text}`" if option.default_text else "empty"
    kind = option.kind.replace(" | ", "`, `")
    kind = f"one of `{kind}`" if kind != option.kind else kind
    return f"{option.help}\n\n- Type: {kind}\n- Default: {default}\n- Variable: `{option.variable}`"


def _sandbox_page() -> Iterator[str]:
    yield "# What sandboxes leave open"
    yield _made_from("packages/server/src/algorium_server/engine/probe.py")
    yield "What each level leaves open, or takes away from the algorithm."
    yield "`algorium doctor` and `GET /readyz` say the same for the host at hand."
    yield "[The sandbox](../concepts/sandbox.md) explains the levels."
    for level, sentences in UNPROTECTED.items():
        yield f"\n## {level}\n"
        yield from [f"- {_sentence(each)}" for each in sentences or ("nothing that we know of",)]
    yield "\n## reduced, on older kernels\n"
    yield "| before version … of Landlock | |\n|---|---|"
    for version, sentence in NEEDED_VERSIONS.items():
        yield f"| {version} | {_sentence(sentence)} |"
    yield ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _client_page() -> Iterator[str]:
    yield "# Python client"
    yield _made_from("packages/client/src/algorium")
    yield "`from algorium import Algorium` gives everything on this page."
    yield "Classes whose names begin with `Async` are the same for `asyncio`."
    values = {name: getattr(algorium, name) for name in algorium.__all__}
    errors = [name for name, value in values.items() if issubclass(value, Exception)]
    others = [name for name in values if name not in errors]
    first = [name for name in _CLIENT_FIRST if name in others]
    for name in first + [name for name in others if name not in first]:
        yield f"\n## {name}\n\n{_docstring(values[name])}{_constructor(values[name])}"
        for member, value in _members(values[name]):
            yield f"\n### {name}.{member}\n\n{_signature(member, value)}{_docstring(value)}"
    yield "\n## Exceptions\n"
    yield "| class | is a | raised when |\n|---|---|---|"
    for name in errors:
        summary = _docstring(values[name]).split("\n\n")[0].replace("\n", " ")
        yield f"| `{name}` | `{values[name].__bases__[0].__name__}` | {summary} |"
    yield ""


def _constructor(public: type) -> str:
    for owner in public.__mro__:
        if "__init__" in vars(owner) and "\nArgs:" in (inspect.getdoc(owner) or ""):
            described = _docstring(owner)
            signature = _signature(public.__name__, vars(owner)["__init__"])
            arguments = described[described.index("Arguments:") :]
            return f"\n\n{signature.replace(' -> None', '')}{arguments}"
    return ""


def _members(public: type) -> Iterator[tuple[str, Any]]:
    seen = set(dir(Exception)) | set(dir(str))
    for owner in public.__mro__:
        if not owner.__module__.startswith("algorium"):
            continue
        for name, value in vars(owner).items():
            plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            is_shown = isinstance(plain, property) or inspect.isfunction(plain)
            if is_shown and not name.startswith("_") and name not in seen and plain.__doc__:
                seen.add(name)
                yield name, plain


def _signature(name: str, value: Any) -> str:
    if isinstance(value, property):
        return ""
    node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        raise TypeError(f"{name} is not a function")
    node.args.args = node.args.args[1:]
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    word = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"```python\n{word}{name}({ast.unparse(node.args)}){result}\n```\n\n"


def _docstring(value: Any) -> str:
    """Return a docstring with its Google sections as Markdown."""
    blocks = []
    for block in (inspect.getdoc(value) or "").split("\n\n"):
        title, _, body = block.partition("\n")
        if title in {"Args:", "Attributes:", "Raises:", "Returns:"}:
            heading = {"Args:": "Arguments:"}.get(title, title)
            blocks.append(f"{heading}\n\n{_list(textwrap.dedent(body))}")
        elif title == "Example:":
            blocks.append(f"```python\n{textwrap.dedent(body)}\n```")
        else:
            blocks.append(block)
    return "\n\n".join(blocks)


def _list(entries: str) -> str:
    lines = []
    for line in entries.splitlines():
        name, colon, text = line.partition(": ")
        if line.startswith(" ") or not colon:
            lines.append(f"  {line.strip()}")
        else:
            lines.append(f"- `{name}`: {text}")
    return "\n".join(lines)


def _made_from(path: str) -> str:
    return f"\n<!-- Made from {path} by `make docs`. Do not edit. -->\n"


if __name__ == "__main__":
    main()
