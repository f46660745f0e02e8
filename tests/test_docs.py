"""The documentation says what is there, and all of it."""

import importlib.util
import re
from pathlib import Path

import pytest

import algorium
from algorium import cli as client_cli
from algorium.wire.codes import CODES, ERROR_TYPES
from algorium_server import cli as server_cli
from algorium_server.api import router
from algorium_server.domain import limits
from algorium_server.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def files(pattern):
    """Files of the project: no environment, no caches."""
    return sorted(
        path
        for path in ROOT.rglob(pattern)
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )


MARKDOWN = files("*.md")


def text_of(path):
    return path.read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def headings(path):
    text = re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)
    return re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("path", "text"), generate().pages().items())
def test_a_generated_page_is_up_to_date(path, text):
    assert text_of(DOCS / path) == text, "run `make docs`"


def test_every_error_code_and_type_has_a_heading():
    found = set(headings(DOCS / "errors.md"))

    assert {f"{code.number} {code.name}" for code in CODES} <= found
    assert {error_type.name for error_type in ERROR_TYPES} <= found


def test_every_limit_has_a_heading():
    names = {name for name in vars(limits) if name.isupper()} - {"MIB"}

    assert names <= set(headings(DOCS / "limits.md"))


def test_every_setting_has_a_heading():
    assert {option.flag for option in Settings.table()} <= set(
        headings(DOCS / "reference/settings.md")
    )


def test_every_public_name_of_the_client_is_described():
    page = DOCS / "reference/client.md"
    described = {*headings(page), *re.findall(r"^\| `(\w+)` \|", text_of(page), re.MULTILINE)}

    assert set(algorium.__all__) <= described


def test_every_command_has_a_heading():
    commands = {
        f"{program.name[0]} {command}"
        for program in (server_cli.app, client_cli.app)
        for command in program
        if not command.startswith("-")
    }

    assert commands == set(headings(DOCS / "reference/commands.md")) - {"Commands"}


def test_every_route_has_a_heading_and_every_heading_a_route():
    described = [
        path
        for heading in headings(DOCS / "reference/http.md")
        for path in re.findall(r"`[A-Z, ]* (/[^`{\[]*)", heading)
    ]
    pattern = re.sub(r"\?P<\w+>", "", router._ROUTE.pattern.decode())
    routed = set(re.findall(r"[A-Za-z]{3,}", pattern))

    assert described
    assert all(router._ROUTE.fullmatch(path.rstrip("/").encode()) for path in described)
    words = re.findall(r"[A-Za-z]{3,}", " ".join(headings(DOCS / "reference/http.md")))
    assert routed <= set(words)


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page

        assert file.exists(), f"{target}: no such file"
        if fragment:
            assert fragment in {anchor(heading) for heading in headings(file)}, (
                f"{target}: no such heading"
            )


def test_every_page_can_be_reached_from_the_index():
    pages = {path.relative_to(DOCS) for path in DOCS.rglob("*.md")} - {Path("index.md")}
    linked = {
        (page.parent / target).relative_to(DOCS)
        for page in (DOCS / "index.md", DOCS / "decisions/README.md")
        for target in re.findall(r"\]\(([\w/.-]+\.md)\)", text_of(page))
        if ".." not in target
    }

    assert pages <= linked


def test_the_index_of_decisions_is_complete_and_tells_the_status():
    rows = re.findall(
        r"^\| \[(\d{4})\]\((\S+)\) \| (.+?) \| (\w+) \|$",
        text_of(DOCS / "decisions/README.md"),
        flags=re.MULTILINE,
    )
    records = {}
    for path in sorted(DOCS.glob("decisions/[0-9]*.md")):
        number, title = re.match(r"# (\d{4}): (.+)\n", text_of(path)).groups()
        status = re.search(r"^Status: (\w+)", text_of(path), flags=re.MULTILINE)[1]
        records[path.name] = (number, path.name, title, status)

    assert rows == list(records.values())
    assert [row[0] for row in rows] == [f"{n:04d}" for n in range(1, len(rows) + 1)]


def test_every_decision_has_the_same_four_parts():
    for path in DOCS.glob("decisions/[0-9]*.md"):
        assert headings(path)[1:] == ["Context", "Decision", "Consequences"], path.name


def map_of_the_tree():
    """ARCHITECTURE.md's map: directory in a heading -> the names listed below it."""
    sections = {}
    for heading, body in re.findall(
        r"^### `([^`]+)`$(.*?)(?=^#|\Z)",
        text_of(ROOT / "ARCHITECTURE.md"),
        flags=re.MULTILINE | re.DOTALL,
    ):
        sections[heading] = re.findall(r"^- `([^`]+)`", body, flags=re.MULTILINE)
    return sections


def test_the_map_names_only_what_exists():
    missing = [
        f"{directory}/{name}"
        for directory, names in map_of_the_tree().items()
        for name in names
        if not (ROOT / directory / name).exists()
    ]

    assert missing == []


def test_the_map_names_every_module_once():
    tree = map_of_the_tree()
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ROOT.glob("packages/*/src")
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    }
    named = [f"{directory}/{name}" for directory, names in tree.items() for name in names]
    folders = tuple(name for name in named if name.endswith("/"))

    assert len(named) == len(set(named))
    assert {m for m in modules if not m.startswith(folders)} == {
        name for name in named if name.startswith("packages/") and name.endswith(".py")
    }
