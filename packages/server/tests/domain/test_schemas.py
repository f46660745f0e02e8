"""What breaks for callers between two schemas, and what does not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.limits import SCHEMA_WARNINGS_MAX
from algorium_server.domain.schemas import input_warnings, output_warnings

names = st.sampled_from(["a", "b", "c", "two words"])
plain = st.sampled_from(
    [
        {},
        True,
        {"type": "string"},
        {"type": "string", "format": "date"},
        {"type": "string", "minLength": 1, "maxLength": 5},
        {"type": "integer"},
        {"type": "number", "minimum": 0},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "null"]},
        {"enum": ["x", "y", 1, None, True]},
        {"const": "x"},
        {"$ref": "#"},
        {"$ref": "#/$defs/Node"},
        {"$ref": "#/$defs/nowhere"},
    ]
)


def objects(inner):
    return st.builds(
        lambda properties, required, rest: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
            **rest,
        },
        st.dictionaries(names, inner, max_size=3),
        st.sets(names),
        st.sampled_from([{}, {"additionalProperties": False}])
        | st.builds(lambda schema: {"additionalProperties": schema}, inner),
    )


def compound(inner):
    rows = st.builds(
        lambda items: {
            "type": "array",
            "prefixItems": items,
            "minItems": len(items),
            "maxItems": len(items),
        },
        st.lists(inner, min_size=1, max_size=3),
    )
    unions = st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
    arrays = st.builds(lambda items: {"type": "array", "items": items}, inner)
    allof = st.builds(lambda part: {"allOf": [part]}, inner)
    return objects(inner) | rows | unions | arrays | allof


NODE = {
    "type": "object",
    "properties": {"next": {"$ref": "#/$defs/Node"}, "n": {"type": "integer"}},
}
schemas = st.recursive(plain, compound, max_leaves=8).filter(lambda schema: schema is not True)
wholes = schemas.map(lambda schema: {**schema, "$defs": {"Node": NODE}})


def taken(old, new):
    return input_warnings(json.dumps(old), json.dumps(new))


def given_back(old, new):
    return output_warnings(json.dumps(old), json.dumps(new))


@given(wholes)
def test_a_schema_never_breaks_itself(schema):
    assert taken(schema, schema) == given_back(schema, schema) == ()


@given(wholes, wholes)
def test_any_two_schemas_can_be_compared(old, new):
    for lines in (taken(old, new), given_back(old, new)):
        assert len(lines) <= SCHEMA_WARNINGS_MAX
        assert len(set(lines)) == len(lines)
        assert all(line.startswith(("input", "result")) for line in lines)


@given(objects(schemas), schemas)
def test_a_new_optional_member_breaks_nobody(old, member):
    new = {**old, "properties": {**old["properties"], "new": member}}
    if isinstance(old.get("additionalProperties"), bool | None):
        assert taken(old, new) == ()
    assert given_back(old, new) == ()


@given(objects(schemas), schemas)
def test_a_new_required_member_of_the_input_is_told(old, member):
    new = {
        **old,
        "properties": {**old["properties"], "new": member},
        "required": [*old["required"], "new"],
    }
    assert "input.new is required now" in taken(old, new)
    assert given_back(old, new) == ()


@given(objects(schemas), schemas)
def test_a_member_that_is_gone_is_told(new, member):
    old = {**new, "properties": {**new["properties"], "old": member}}
    if new["properties"] or new.get("additionalProperties") is False:
        assert "result.old is gone" in given_back(old, new)


@given(wholes, wholes)
def test_taking_more_breaks_nobody(old, more):
    assert taken(old, {"anyOf": [old, more], "$defs": old["$defs"]}) == ()
    assert given_back({"anyOf": [old, more], "$defs": old["$defs"]}, old) == ()


TEXT, WHOLE, NUMBER, NULL = ({"type": kind} for kind in ("string", "integer", "number", "null"))


def an_object(*required, **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


@pytest.mark.parametrize(
    ("old", "new", "inputs", "results"),
    [
        (
            TEXT,
            WHOLE,
            ["input: a string is not accepted any more"],
            ["result: it may be an integer now"],
        ),
        (WHOLE, NUMBER, [], ["result: it may be a number now"]),
        (NUMBER, WHOLE, ["input: a number is not accepted any more"], []),
        ({}, TEXT, ["input: not everything is accepted any more"], []),
        (TEXT, {}, [], ["result: it may be anything now"]),
        (
            {"anyOf": [TEXT, NULL]},
            TEXT,
            ["input: null is not accepted any more"],
            [],
        ),
        ({"enum": ["a", "b"]}, {"enum": ["b"]}, ['input: "a" is not accepted any more'], []),
        ({"enum": ["a"]}, TEXT, [], ["result: it may be a string now"]),
        (
            an_object("a", a=TEXT, b=TEXT),
            an_object("a", "b", a=TEXT, b=TEXT),
            ["input.b is required now"],
            [],
        ),
        (
            an_object("a", a=TEXT),
            an_object(a=TEXT),
            [],
            ["result.a may be missing now"],
        ),
        (
            an_object("old", old=TEXT),
            an_object("new", new=TEXT),
            ["input.new is required now", "input.old is not known any more"],
            ["result.old is gone"],
        ),
        (
            {"type": "array", "items": an_object(n=NUMBER)},
            {"type": "array", "items": an_object(n=WHOLE)},
            ["input[*].n: a number is not accepted any more"],
            [],
        ),
        (
            {"type": "array", "items": an_object(n={"$ref": "#/$defs/N"}), "$defs": {"N": WHOLE}},
            {"type": "array", "items": {"$ref": "#/$defs/O"}, "$defs": {"O": an_object(n=NUMBER)}},
            [],
            ["result[*].n: it may be a number now"],
        ),
        (
            {"type": "object", "additionalProperties": WHOLE},
            {"type": "object", "additionalProperties": TEXT},
            ["input.*: an integer is not accepted any more"],
            ["result.*: it may be a string now"],
        ),
        (
            {"type": "string", "maxLength": 9},
            {"type": "string", "maxLength": 5},
            ["input: a string with maxLength 9 is not accepted any more"],
            [],
        ),
        (
            TEXT,
            {"type": "string", "contentEncoding": "base64"},
            ["input: a string is not accepted any more"],
            [],
        ),
        (
            {"type": "array", "prefixItems": [TEXT, WHOLE], "minItems": 2, "maxItems": 2},
            {"type": "array", "prefixItems": [TEXT], "minItems": 1, "maxItems": 1},
            [
                "input: an array with minItems 2 and maxItems 2 is not accepted any more",
            ],
            ["result: it may be an array with minItems 1 and maxItems 1 now"],
        ),
    ],
)
def test_differences_in_words(old, new, inputs, results):
    assert list(taken(old, new)) == inputs
    assert list(given_back(old, new)) == results


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "null", "[" * 5000])
def test_where_a_side_is_unknown_nothing_is_told(text):
    for compare in (input_warnings, output_warnings):
        assert compare(text, json.dumps(TEXT)) == compare(json.dumps(TEXT), text) == ()


def test_a_hostile_schema_costs_no_more_than_its_limits_allow():
    branches = {"anyOf": [{"$ref": f"#/$defs/{n}"} for n in range(9)]}
    hostile = {"$defs": {str(n): branches for n in range(9)}, **branches}
    deep = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}

    for schema in (hostile, deep):
        for lines in (taken(schema, TEXT), taken(TEXT, schema), given_back(schema, schema)):
            assert len(lines) <= SCHEMA_WARNINGS_MAX
