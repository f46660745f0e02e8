"""What annotations say, as JSON Schema; in this interpreter and in the oldest."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from algorium_runtime import frames

RUNTIME = Path(frames.__file__).parent
PEOPLE = """
from __future__ import annotations
import dataclasses, datetime, enum, sys
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple, Union
if sys.version_info >= (3, 8):
    from typing import Literal, TypedDict

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Point(NamedTuple):
    x: float
    y: float = 0.0

class Extra(TypedDict, total=False):
    note: str

@dataclasses.dataclass
class Person:
    '''Somebody.'''
    name: str
    age: Optional[int] = None
    color: Color = Color.RED
    friends: List[Person] = dataclasses.field(default_factory=list)
    at: Union[datetime.datetime, None] = None
    where: Tuple[Point, ...] = ()
    mode: Literal["fast", "slow"] = "fast"
    extra: Dict[str, Extra] = dataclasses.field(default_factory=dict)
    image: bytes = b""

def apply(input: Person) -> Dict[str, List[Person]]:
    '''Find friends.'''
    return {}
"""


def describe(
    tmp_path: Path, source: str, python: str = sys.executable, **files: str
) -> "tuple[dict[str, Any], str]":
    """Check a project as a build does; return its schemas, and what it said."""
    (tmp_path / "src").mkdir(exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "src" / "Hello.py").write_text(textwrap.dedent(source))
    for name, text in files.items():
        (tmp_path / "src" / f"{name}.py").write_text(textwrap.dedent(text))
    done = subprocess.run(
        [python, "-u", str(RUNTIME), "--check", "src.Hello", str(tmp_path / "out")],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    written = tmp_path / "out" / "signature.json"
    return (json.loads(written.read_text()) if written.exists() else {}), done.stdout


def test_classes_of_every_kind_become_one_schema(tmp_path: Path, python: str) -> None:
    described, said = describe(tmp_path, PEOPLE, python)

    assert said == ""
    taken = described["input"]
    assert taken["$ref"] == "#/$defs/Person"
    assert taken["description"] == "Find friends."
    person = taken["$defs"]["Person"]
    assert person["required"] == ["name"]
    assert person["description"] == "Somebody."
    assert person["additionalProperties"] is False
    assert person["properties"] == {
        "name": {"type": "string"},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "color": {"$ref": "#/$defs/Color"},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/Person"}},
        "at": {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
            "default": None,
        },
        "where": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
        "mode": {"enum": ["fast", "slow"], "default": "fast"},
        "extra": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Extra"}},
        "image": {"type": "string", "contentEncoding": "base64"},
    }
    assert taken["$defs"]["Color"] == {"title": "Color", "enum": ["red", "blue"]}
    assert taken["$defs"]["Point"]["minItems"] == 1
    assert taken["$defs"]["Point"]["maxItems"] == 2
    given = described["output"]["$defs"]["Person"]
    assert len(given["required"]) == 9  # a result always has them all
    assert "additionalProperties" not in given


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("str", {"type": "string"}),
        ("'int'", {"type": "integer"}),
        ("bytes", {"type": "string", "contentEncoding": "base64"}),
        ("None", {"type": "null"}),
        ("list", {"type": "array"}),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}),
        ("Dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("Set[str]", {"type": "array", "uniqueItems": True, "items": {"type": "string"}}),
        (
            "Tuple[int, str]",
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
            },
        ),
        ("NewType('Name', str)", {"type": "string"}),
        ("Annotated[int, 'how many']", {"type": "integer", "description": "how many"}),
        ("list[int] | None", {"anyOf": [{"type": "array", "items": {"type": "integer"}}, None]}),
        (
            "TypedDict('T', {'a': Required[int], 'b': NotRequired['str']}, total=False)",
            {"required": ["a"]},
        ),
    ],
)
def test_single_annotations(tmp_path: Path, annotation: str, schema: "dict[str, Any]") -> None:
    described, _ = describe(
        tmp_path, f"from typing import *\ndef apply(input: {annotation}): return input"
    )
    found = described["input"]
    found.pop("$schema")
    if "$ref" in found:
        found = {"required": found["$defs"]["T"]["required"]}
    for each in schema.get("anyOf", []):
        if each is None:
            schema["anyOf"][1] = {"type": "null"}

    assert found == schema


@pytest.mark.parametrize(
    "source",
    [
        "def apply(input): return input",
        "from typing import Any\ndef apply(input: Any) -> object: return input",
        "def apply(input: 'Nowhere') -> 'no[t': return input",
        "def apply(*input: str): return input",
        "apply = len",
        "class A:\n    def __call__(self, input): return 1\napply = A()",
    ],
)
def test_where_nothing_is_known_nothing_is_said(tmp_path: Path, source: str) -> None:
    assert describe(tmp_path, source) == ({}, "")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "class Own: pass\ndef apply(input: 'list[Own]') -> int: return 1",
            "No schema for input[]: Own may be anything",
        ),
        (
            "import numpy\ndef apply(input: 'dict[str, numpy.ndarray]') -> int: return 1",
            "No schema for input.*: ndarray may be anything",
        ),
        (
            "class Bad(type):\n    def __hash__(self): raise KeyError('x')\n"
            "class Own(metaclass=Bad): pass\ndef apply(input: Own) -> int: return 1",
            "No schema: ",
        ),
        (
            "from typing import Literal\ndef apply(input: Literal['\\ud800']) -> int: return 1",
            "No schema: UnicodeEncodeError: ",
        ),
    ],
)
def test_what_cannot_be_described_is_told_and_fails_nothing(
    tmp_path: Path, source: str, words: str
) -> None:
    _, said = describe(tmp_path, source)

    assert said.startswith(words)
    assert said.count("\n") == 1


def test_a_method_and_a_module_of_the_project(tmp_path: Path) -> None:
    described, _ = describe(
        tmp_path,
        "from .shapes import Machine\napply = Machine().apply",
        shapes="""
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Base:
            a: Inner
        @dataclass
        class Inner:
            n: int = 3
        class Machine:
            def apply(self, input: Base) -> Inner: return input.a
        """,
    )

    assert described["input"]["$defs"]["Base"]["properties"] == {"a": {"$ref": "#/$defs/Inner"}}
    assert described["output"]["$defs"]["Inner"]["required"] == ["n"]


def test_models_of_pydantic_describe_themselves(tmp_path: Path) -> None:
    described, _ = describe(
        tmp_path,
        """
        from typing import List
        from pydantic import BaseModel, Field
        class Tag(BaseModel):
            text: str = Field(description="a word", min_length=1)
        class Request(BaseModel):
            tags: List[Tag]
            limit: int = Field(10, ge=1)
        class Node(BaseModel):
            children: "List[Node]" = []
        def apply(input: Request) -> List[Node]: return []
        """,
    )

    definitions = described["input"]["$defs"]
    assert definitions["Request"]["required"] == ["tags"]
    assert definitions["Request"]["properties"]["limit"]["minimum"] == 1
    assert definitions["Tag"]["properties"]["text"]["description"] == "a word"
    assert described["output"]["items"] == {"$ref": "#/$defs/Node"}
