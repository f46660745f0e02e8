"""The document of one algorithm: schemas of foreign code become parts of it."""

import json
import re

import pytest
from rows import account, algorithm, build, version

from algorium_server.api.algorithm_document import algorithm_document
from algorium_server.domain.algorithms import Resolved, Signature

TEXT = {"type": "string"}


def document(taken=None, given=None, **fields):
    owner = account()
    its = algorithm(owner.account_id)
    built = build(its.algorithm_id)
    signature = Signature(
        input_schema=json.dumps(taken) if taken is not None else "",
        output_schema=json.dumps(given) if given is not None else "",
    )
    resolved = Resolved(
        algorithm=its, owner=owner, version=version(built, "1.2.3", **fields), build=built
    )
    return algorithm_document(resolved, signature, api="http://127.0.0.1:8080")


def inputs(made):
    (path,) = made["paths"].values()
    return path["post"]["requestBody"]["content"]


def test_definitions_move_and_references_follow():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/Odd name[int]",
        "$defs": {
            "Odd name[int]": {
                "type": "object",
                "properties": {
                    "$ref": TEXT,
                    "self": {"$ref": "#/$defs/Odd name[int]"},
                    "whole": {"$ref": "#"},
                    "lost": {"$ref": "#/$defs/nowhere"},
                    "kind": {"enum": [{"$ref": "#/$defs/kept as it is"}], "default": {"$id": 1}},
                },
            },
            "Odd name(int)": TEXT,
        },
    }
    made = document(schema, {"type": "array", "items": TEXT})
    schemas = made["components"]["schemas"]

    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in schemas)
    assert schemas["Input"] == {"$ref": "#/components/schemas/Input.Odd_name_int_.0"}
    moved = schemas["Input.Odd_name_int_.0"]["properties"]
    assert moved["$ref"] == TEXT
    assert moved["self"] == schemas["Input"]
    assert moved["whole"] == {"$ref": "#/components/schemas/Input"}
    assert moved["lost"] == {}
    assert moved["kind"]["enum"] == [{"$ref": "#/$defs/kept as it is"}]
    assert moved["kind"]["default"] == {"$id": 1}
    assert schemas["Input.Odd_name_int_.1"] == TEXT
    assert schemas["Output"] == {"type": "array", "items": TEXT}


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        (None, {"application/json", "application/octet-stream", "text/plain"}),
        (TEXT, {"application/json", "text/plain"}),
        (
            {"type": "string", "contentEncoding": "base64"},
            {"application/json", "application/octet-stream"},
        ),
        ({"type": "integer"}, {"application/json"}),
        ({"$defs": 3, "properties": 7}, {"application/json"}),
    ],
)
def test_an_input_is_offered_in_the_forms_that_its_schema_lets(schema, types):
    assert set(inputs(document(schema))) == types


@pytest.mark.parametrize(("sample", "example"), [('{"a": 1}', {"a": 1}), ("plain", "plain")])
def test_the_sample_input_is_the_example(sample, example):
    assert inputs(document(sample_input=sample))["application/json"]["example"] == example
