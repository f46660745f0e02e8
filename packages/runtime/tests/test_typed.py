"""Inputs become what annotations name; others pass as ever."""

import dataclasses
from typing import Any

import pytest

TYPED = """
from __future__ import annotations
import dataclasses, datetime, enum
from typing import Dict, List, NamedTuple, Optional, Union

class Color(enum.Enum):
    RED = "red"

class Point(NamedTuple):
    x: float
    y: float = 0.0

@dataclasses.dataclass
class Person:
    name: str
    age: Optional[int] = None
    color: Color = Color.RED
    friends: List[Person] = dataclasses.field(default_factory=list)
    at: Optional[datetime.date] = None
    where: Optional[Point] = None
    raw: bytes = b""

    def __post_init__(self):
        if self.age is not None and self.age < 0:
            raise ValueError("nobody is younger than 0")

def apply(input: Person) -> Person:
    assert isinstance(input, Person)
    assert all(isinstance(friend, Person) for friend in input.friends)
    return input
"""
FULL = {
    "name": "Ada",
    "age": 36,
    "color": "red",
    "friends": [{"name": "Bob"}],
    "at": "1815-12-10",
    "where": [1, 2.5],
    "raw": "aGk=",
}
BOB = {
    "name": "Bob",
    "age": None,
    "color": "red",
    "friends": [],
    "at": None,
    "where": None,
    "raw": "",
}


def test_an_instance_goes_in_and_out(start: Any, python: str) -> None:
    worker = start(TYPED, python=python).ready()

    assert worker.call(FULL) == {**FULL, "friends": [BOB], "where": [1.0, 2.5]}
    assert worker.call({"name": "Bob", "where": {"x": 1}}) == {**BOB, "where": [1.0, 0.0]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "input.name is missing"),
        ("Ada", "input: an object is needed, not 'Ada'"),
        ({"name": 1}, "input.name: a text is needed, not 1"),
        ({"name": "A", "age": "1"}, "input.age: an integer is needed, not '1'"),
        ({"name": "A", "age": True}, "input.age: an integer is needed, not True"),
        ({"name": "A", "age": -1}, "input: nobody is younger than 0"),
        ({"name": "A", "agee": 1}, "input: there is no 'agee' in Person"),
        ({"name": "A", "color": "blue"}, "input.color: one of 'red' is needed, not 'blue'"),
        ({"name": "A", "friends": [{}]}, "input.friends[0].name is missing"),
        ({"name": "A", "at": "soon"}, "input.at: a date (YYYY-MM-DD) is needed, not 'soon'"),
        ({"name": "A", "where": []}, "input.where: 2 items are needed, not 0"),
        ({"name": "A", "raw": "%"}, "input.raw: a text in base64 is needed"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(start: Any, value: Any, message: str) -> None:
    worker = start(TYPED).ready()
    failure = worker.fail(value)

    assert failure["message"] == message
    assert failure["error_type"] == "InputError"
    assert worker.call({"name": "Bob"}) == BOB


def test_annotations_without_classes_change_nothing(start: Any) -> None:
    worker = start(
        """
        from typing import List, TypedDict
        class Request(TypedDict):
            a: int
        def apply(input: Request) -> List[int]: return input
        """
    ).ready()

    for value in ("text", 1, {"a": "x", "b": 1}, b"raw"):
        assert worker.call(value) == value


def test_models_of_pydantic_and_a_state(start: Any) -> None:
    worker = start(
        """
        import datetime
        from typing import List
        from pydantic import BaseModel
        class Request(BaseModel):
            names: List[str]
            at: datetime.datetime
        class Reply(BaseModel):
            greetings: List[str]
            at: datetime.datetime
        def load(): return "Hello"
        def apply(input: Request, greeting) -> List[Reply]:
            return [Reply(greetings=[f"{greeting} {name}" for name in input.names], at=input.at)]
        """
    ).ready()

    assert worker.call({"names": ["HAL"], "at": "2026-01-02T03:04:05Z"}) == [
        {"greetings": ["Hello HAL"], "at": "2026-01-02T03:04:05Z"}
    ]
    failure = worker.fail({"names": ["HAL", 1], "at": "2026-01-02T03:04:05Z"})
    assert failure["message"].startswith("input.names[1]: ")
    assert failure["error_type"] == "InputError"


def test_unions_try_what_they_name(start: Any) -> None:
    worker = start(
        """
        from dataclasses import dataclass
        from typing import Union
        @dataclass
        class Circle:
            r: float
        @dataclass
        class Square:
            a: float
        def apply(input: Union[Circle, Square, str]) -> str: return repr(input)
        """
    ).ready()

    assert worker.call({"r": 1}) == "Circle(r=1.0)"
    assert worker.call({"a": 2}) == "Square(a=2.0)"
    assert worker.call("none") == "'none'"
    assert "; or " in worker.fail(7)["message"]


def test_an_author_who_calls_apply_in_a_test_passes_instances() -> None:
    from algorium_runtime.typed import converting  # noqa: PLC0415 - only here in this process

    @dataclasses.dataclass
    class Pair:
        a: int
        b: int = 1

    def add(pair: Pair) -> int:
        return pair.a + pair.b

    assert converting(add)({"a": 1}) == converting(add)(Pair(1)) == add(Pair(1)) == 2
