import dataclasses
import datetime
import decimal
import enum
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_runtime import values

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_a_json_value_comes_back_as_it_went_in(value: Any) -> None:
    content_type, body = values.encode(value)

    assert content_type == ("text" if isinstance(value, str) else "json")
    assert values.decode(content_type, body) == value


@given(st.binary())
def test_bytes_come_back_as_they_went_in(value: bytes) -> None:
    for kind in (bytes, bytearray, memoryview):
        assert values.encode(kind(value)) == ("binary", value)
    assert values.decode("binary", value) == value
    assert type(values.decode("binary", value)) is bytes


def test_text_and_a_json_string_arrive_alike() -> None:
    assert values.decode("text", "Hä".encode()) == "Hä"
    assert values.decode("json", '"Hä"'.encode()) == "Hä"


def test_none_is_null_and_text_is_never_quoted() -> None:
    assert values.encode(None) == ("json", b"null")
    assert values.decode("json", b" null ") is None
    assert values.encode('say "hi"') == ("text", b'say "hi"')


def test_json_is_compact_and_not_escaped() -> None:
    assert values.encode({"ä": [1, 2.5, True]}) == ("json", '{"ä":[1,2.5,true]}'.encode())


@pytest.mark.parametrize(
    ("content_type", "body", "complaint"),
    [
        ("json", b"", "not valid JSON: Expecting value"),
        ("json", b"{", "not valid JSON"),
        ("json", b"1 2", "not valid JSON: Extra data"),
        ("json", b"[NaN]", "not valid JSON: NaN is not JSON"),
        ("json", b"-Infinity", "-Infinity is not JSON"),
        ("json", b"[" * 100_000, "nested too deeply"),
        ("json", b"9" * 10_000, "not valid JSON"),
        ("json", b'"\xff"', "not valid UTF-8: invalid start byte at byte 1"),
        ("text", b"a\xff", "not valid UTF-8"),
        ("yaml", b"a: 1", "unknown content type 'yaml'"),
    ],
)
def test_an_input_that_is_not_what_it_says_is_refused(
    content_type: str, body: bytes, complaint: str
) -> None:
    with pytest.raises(values.InputError, match=complaint):
        values.decode(content_type, body)


class Opaque:
    pass


def endless() -> list[Any]:
    result: list[Any] = []
    result.append(result)
    return result


def deep() -> list[Any]:
    result: list[Any] = []
    for _ in range(200_000):
        result = [result]
    return result


def raising_dict() -> dict[str, Any]:
    class Lazy(dict[str, Any]):
        def items(self) -> Any:
            raise OSError("disk gone")

    return Lazy(a=1)


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        (Opaque(), r"an object of type .*Opaque, which has no JSON form"),
        ({"a": [1, Opaque()]}, r"Opaque, which has no JSON form, at result\['a'\]\[1\]"),
        ({1, 2}, "an object of type set, which has no JSON form"),
        ({"at": datetime.date(2026, 1, 1)}, r"type datetime.date, .* at result\['at'\]"),
        ([decimal.Decimal(1)], r"type decimal.Decimal, .* at result\[0\]"),
        (math.nan, "nan is not a JSON number"),
        ([0.5, {"score": -math.inf}], r"-inf is not a JSON number at result\[1\]\['score'\]"),
        ({"image": b"x"}, r"raw bytes \(encode them as base64 text\) at result\['image'\]"),
        ({(1, 2): 3}, "a dictionary key of type tuple"),
        ({"name": "\ud800"}, "lone surrogate"),
        (endless(), "Circular reference"),
        (deep(), "nested too deeply"),
        (raising_dict(), "OSError: disk gone"),
        ([10**10_000], "result is not valid JSON: "),
        (Opaque, "type, which has no JSON form"),
        ((x for x in "ab"), "type generator"),
    ],
)
def test_a_result_without_a_json_form_is_refused_with_its_place(
    result: Any, complaint: str
) -> None:
    with pytest.raises(values.ResultError, match=complaint) as refused:
        values.encode(result)

    assert str(refused.value).startswith("result is not valid JSON: ")


def test_a_lone_surrogate_is_refused_in_text_too() -> None:
    with pytest.raises(values.ResultError, match=r"lone surrogate '\\ud800' at character 2"):
        values.encode("ab\ud800")


def test_the_search_for_the_culprit_is_bounded() -> None:
    with pytest.raises(values.ResultError, match=r"Out of range|not JSON compliant"):
        values.encode([0] * 300_000 + [math.nan])


@dataclasses.dataclass
class Point:
    x: float
    tags: list[Any]


class Color(str, enum.Enum):
    RED = "red"


def test_dataclasses_become_objects_at_any_depth() -> None:
    assert values.encode(Point(1.5, [Point(2, [])])) == (
        "json",
        b'{"x":1.5,"tags":[{"x":2,"tags":[]}]}',
    )
    with pytest.raises(values.ResultError, match=r"nan is not a JSON number at result\['x'\]"):
        values.encode(Point(math.nan, []))


def test_a_text_enumeration_is_text() -> None:
    assert values.encode(Color.RED) == ("text", b"red")


def test_tuples_and_plain_keys_follow_the_json_module() -> None:
    assert values.encode({1: (1, 2), None: True}) == ("json", b'{"1":[1,2],"null":true}')


def test_numpy_values_become_numbers_and_lists() -> None:
    np = pytest.importorskip("numpy")

    assert values.encode(np.int64(3)) == ("json", b"3")
    assert values.encode(np.float64(0.1)) == ("json", b"0.1")
    assert values.encode({"a": np.arange(4).reshape(2, 2), "b": np.bool_(True)}) == (
        "json",
        b'{"a":[[0,1],[2,3]],"b":true}',
    )
    assert values.encode(np.str_("ok")) == ("text", b"ok")
    with pytest.raises(values.ResultError, match=r"nan is not a JSON number at result\['a'\]\[1\]"):
        values.encode({"a": np.array([1.0, np.nan])})
    with pytest.raises(values.ResultError, match=r"datetime\.datetime"):
        values.encode([np.datetime64("2026-01-01T00:00:00")])
    with pytest.raises(values.ResultError, match=r"a dictionary key of type numpy\.int64"):
        values.encode({np.int64(1): 1})


def test_types_that_the_author_taught_the_json_module_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json.JSONEncoder, "default", lambda self, value: str(value))

    assert values.encode([decimal.Decimal("1.5")]) == ("json", b'["1.5"]')


def test_running_out_of_memory_is_not_the_results_fault() -> None:
    class Huge:
        def tolist(self) -> list[int]:
            raise MemoryError

    with pytest.raises(MemoryError):
        values.encode(Huge())
