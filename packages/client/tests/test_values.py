import contextlib
import enum
import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy
import numpy.typing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium import ResultTypeError
from algorium._values import decode, encode_input, to_json


class Level(enum.Enum):
    LOW = 1
    HIGH = "high"


class Corner(NamedTuple):
    x: int
    y: int = 0


class Extra(TypedDict):
    note: str
    weight: NotRequired[float]


@dataclass(frozen=True)
class Box:
    corner: Corner
    level: Level
    at: datetime
    labels: list[str] = field(default_factory=list)
    extra: Extra | None = None
    score: float | None = None
    parent: "Box | None" = None
    counts: dict[str, int] = field(default_factory=dict)
    kind: Literal["face", "eye"] = "face"
    odd: tuple[int, ...] = ()
    area: int = field(init=False, default=0)


class Model:
    """Of pydantic's shape."""

    def __init__(self, value: int) -> None:
        self.value = value

    @classmethod
    def model_validate(cls, value: Any) -> "Model":
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return cls(value["value"])

    def model_dump(self, *, mode: str) -> dict[str, int]:
        assert mode == "json"
        return {"value": self.value}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)
EXTRAS = st.fixed_dictionaries(
    {"note": st.text()}, optional={"weight": st.floats(allow_nan=False, allow_infinity=False)}
)
BOXES: st.SearchStrategy[Box] = st.deferred(
    lambda: st.builds(
        Box,
        corner=st.builds(Corner, st.integers(), st.integers()),
        level=st.sampled_from(Level),
        at=st.datetimes(timezones=st.just(UTC)),
        labels=st.lists(st.text()),
        extra=st.none() | EXTRAS,
        score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        parent=st.none() | BOXES,
        counts=st.dictionaries(st.text(), st.integers()),
        kind=st.sampled_from(["face", "eye"]),
        odd=st.lists(st.integers()).map(tuple),
    )
)


@given(JSON)
def test_any_json_survives_the_way_there_and_back(value: Any) -> None:
    assert json.loads(to_json(value)) == value
    assert decode(json.loads(to_json(value)), Any) == value


@given(BOXES)
def test_typed_values_survive_the_way_there_and_back(box: Box) -> None:
    assert decode(json.loads(to_json(box)), Box) == box
    assert decode(json.loads(to_json([box])), list[Box]) == [box]


@given(JSON, st.sampled_from([int, str, list[int], dict[str, str], Box, Corner, Extra, Level]))
def test_whatever_comes_either_fits_or_is_told(value: Any, kind: Any) -> None:
    with contextlib.suppress(ResultTypeError):
        decode(value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, float, 1.0),
        ("1", int | str, "1"),
        (None, int | None, None),
        (1, typing.Optional[int], 1),  # noqa: UP045 - the old spelling counts
        (True, int | bool, True),
        ([1, "a"], tuple[int, str], (1, "a")),
        ([1, 2, 1], set[int], {1, 2}),
        ([1], frozenset[int], frozenset({1})),
        ([1, [None]], list, [1, [None]]),
        ({"1": "a"}, dict[int, str], {1: "a"}),
        ({"a": 1}, Mapping[str, int], {"a": 1}),
        ([1], Sequence[float], [1.0]),
        ({"x": 1}, Corner, Corner(1)),
        ([1], Corner, Corner(1)),
        ({"note": "n", "unknown": 1}, Extra, {"note": "n"}),
        (b"\x00", bytes, b"\x00"),
        ("2020-03-18", date, date(2020, 3, 18)),
        (3, typing.Annotated[int, "of something"], 3),
        (None, None, None),
        ({"a": object}, dict, {"a": object}),
    ],
)
def test_values_become_what_was_asked_for(value: Any, kind: Any, expected: Any) -> None:
    decoded = decode(value, kind)

    assert decoded == expected
    assert type(decoded) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("a", int, "$: expected a whole number, found 'a'"),
        (True, int, "$: expected a whole number, found True"),
        (1.0, int, "$: expected a whole number, found 1.0"),
        ("1", float, "$: expected a number, found '1'"),
        (0, bool, "$: expected true or false, found 0"),
        ({"a": [1, "b"]}, dict[str, list[int]], "$.a[1]: expected a whole number, found 'b'"),
        ([1], tuple[int, int], "$: expected a list of 2, found [1]"),
        ({"a": 1}, dict[int, int], "$: expected a key that is int, found 'a'"),
        ({}, Extra, "$: missing note"),
        ({}, Box, "$: missing at, corner, level"),
        ([1, 2, 3], Corner, "$: expected an object, found [1, 2, 3]"),
        ("mid", Level, "$: expected one of [1, 'high'], found 'mid'"),
        ("nose", Literal["face", "eye"], "$: expected 'face' or 'eye', found 'nose'"),
        (True, Literal[1], "$: expected 1, found True"),
        ("soon", datetime, "$: expected an ISO 8601 datetime, found 'soon'"),
        (7, Model, "$: not an object"),
        ("text", bytes, "$: expected bytes, found 'text'"),
        (1, None, "$: expected null, found 1"),
        (10**400, float, "$: expected a number"),
        ([[]], set[Any], "$: expected values that can be in a set"),
    ],
)
def test_what_does_not_fit_names_its_place(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(ResultTypeError) as caught:
        decode(value, kind)

    assert str(caught.value).startswith(message)


def test_a_union_that_fits_nothing_gives_all_reasons() -> None:
    with pytest.raises(ResultTypeError, match=r"whole number.*null"):
        decode("a", int | None)


@pytest.mark.parametrize("kind", [complex, object(), type, "Box"])
def test_kinds_that_cannot_be_decoded_are_the_callers_mistake(kind: Any) -> None:
    with pytest.raises(TypeError, match="cannot decode"):
        decode(1, kind)


def test_models_bring_their_own_ways() -> None:
    assert decode({"value": 1}, Model).value == 1
    assert to_json([Model(1), {Level.LOW.value: {2}}]) == '[{"value":1},{"1":[2]}]'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("HAL 9000 ü", ("text/plain; charset=utf-8", "HAL 9000 ü".encode())),
        (b"\xff", ("application/octet-stream", b"\xff")),
        (bytearray(b"a"), ("application/octet-stream", b"a")),
        (None, ("application/json", b"null")),
        (["ü"], ("application/json", '["ü"]'.encode())),
    ],
)
def test_inputs_have_the_type_of_their_python_type(value: Any, expected: tuple[str, bytes]) -> None:
    assert encode_input(value) == expected


def test_arrays_go_as_lists_and_come_back_as_arrays() -> None:
    array = numpy.array([[1.5, 2.0], [3.0, 4.0]])

    sent = to_json({"array": array, "number": numpy.float64(0.5), "count": numpy.int64(3)})
    again = decode(json.loads(sent)["array"], numpy.ndarray)
    whole = decode([1, 2], numpy.typing.NDArray[numpy.int8])

    assert sent == '{"array":[[1.5,2.0],[3.0,4.0]],"number":0.5,"count":3}'
    assert (again == array).all()
    assert (whole.dtype, whole.tolist()) == (numpy.dtype("int8"), [1, 2])
    for wrong, kind in (
        ("text", numpy.typing.NDArray[numpy.float64]),
        ([[1], [1, 2]], numpy.ndarray),
        ([300], numpy.typing.NDArray[numpy.int8]),
    ):
        with pytest.raises(ResultTypeError, match="an array can hold"):
            decode(wrong, kind)
