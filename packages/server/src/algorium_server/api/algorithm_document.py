"""
The OpenAPI document of one algorithm: how it is called, what it takes and what it gives.

Schemas of algorithms are documents of their own, with definitions below `$defs`. In here they
become parts of another document: their definitions move to its components, and references follow.

Source: OpenAPI 3.1; wire specification, "Calling algorithms".
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from algorium_server.api.http import JSON
from algorium_server.domain.algorithms import Resolved, Signature
from algorium_server.domain.schemas import parsed

_BINARY: Final = "application/octet-stream"
_TEXT: Final = "text/plain"
_COMPONENTS: Final = "#/components/schemas/"
_KEYS: Final = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Simple KEY`, or the bare key.",
    }
}
_VERBATIM: Final = frozenset({"const", "enum", "default", "examples", "example"})
"""Their values are values, whatever they look like."""
_NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""Their keys are names of members, whatever they look like."""
_ERROR: Final = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string"},
        "code": {"type": "integer"},
        "error_type": {"type": "string"},
        "stacktrace": {"type": "string"},
        "hint": {"type": "string"},
    },
}
_METADATA: Final = {
    "type": "object",
    "required": ["content_type", "duration"],
    "properties": {
        "content_type": {"enum": ["json", "text", "binary"]},
        "duration": {"type": "number", "description": "Seconds."},
        "stdout": {"type": "string"},
    },
}
_FAILURES: Final = {
    "400": "The input is not what its content type says, or an option is wrong.",
    "401": "There is no key, or it is unknown.",
    "403": "The key may not call this algorithm.",
    "404": "There is no such algorithm or version for this key.",
    "413": "The input is too large.",
    "429": "Too many calls of this account are open.",
    "503": "The algorithm cannot be run now.",
}
_PARAMETERS: Final = [
    {
        "name": "timeout",
        "in": "query",
        "description": "Seconds until the call is given up.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 3000, "default": 300},
    },
    {
        "name": "stdout",
        "in": "query",
        "description": "Return what the algorithm prints; for its owner.",
        "schema": {"type": "boolean", "default": False},
    },
    {
        "name": "output",
        "in": "query",
        "description": "`raw` for the bare result; `void` to call and not wait.",
        "schema": {"enum": ["default", "raw", "void"], "default": "default"},
    },
]


def algorithm_document(resolved: Resolved, signature: Signature, *, api: str) -> Mapping[str, Any]:
    """
    Return the document of a version, or of a commit.

    Args:
        resolved: Which one.
        signature: What it takes and gives.
        api: Base address of calls.
    """
    algorithm, version = resolved.algorithm, resolved.version
    number = str(version.semantic_version) if version is not None else resolved.build.commit_sha
    path = f"/v1/algo/{resolved.owner.username}/{algorithm.name}/{number}"
    components: dict[str, Any] = {}
    taken = _component("Input", parsed(signature.input_schema), components)
    given = _component("Output", parsed(signature.output_schema), components)
    components["Error"] = _ERROR
    components["Metadata"] = _METADATA
    components["Success"] = {
        "type": "object",
        "required": ["result", "metadata"],
        "properties": {"result": given, "metadata": {"$ref": f"{_COMPONENTS}Metadata"}},
    }
    components["Failure"] = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"$ref": f"{_COMPONENTS}Error"},
            "metadata": {"$ref": f"{_COMPONENTS}Metadata"},
        },
    }
    operation = {
        "operationId": "call",
        "summary": algorithm.tagline or algorithm.label or algorithm.name,
        "description": algorithm.summary,
        "parameters": _PARAMETERS,
        "requestBody": {
            "required": True,
            "content": _inputs(taken, parsed(signature.input_schema), version),
        },
        "responses": {
            "200": _answer(
                "The result, or the error that the algorithm ended with.", "Success", "Failure"
            ),
            **{status: _answer(words, "Failure") for status, words in _FAILURES.items()},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{resolved.owner.username}/{algorithm.name}",
            "version": number,
            "description": algorithm.summary or algorithm.tagline,
        },
        "servers": [{"url": api}],
        "security": [{"apiKey": []}],
        "paths": {path: {"post": operation}},
        "components": {"schemas": components, "securitySchemes": _KEYS},
    }


def _answer(words: str, *names: str) -> Mapping[str, Any]:
    options = [{"$ref": f"{_COMPONENTS}{name}"} for name in names]
    schema = options[0] if len(options) == 1 else {"oneOf": options}
    return {"description": words, "content": {JSON: {"schema": schema}}}


def _inputs(taken: Any, schema: Mapping[str, Any] | None, version: Any) -> Mapping[str, Any]:
    """Return the forms an input may have: text and binary only where its schema lets them."""
    as_json: dict[str, Any] = {"schema": taken}
    sample = version.sample_input if version is not None else ""
    if sample:
        try:
            as_json["example"] = json.loads(sample)
        except (ValueError, RecursionError):
            as_json["example"] = sample
    content = {JSON: as_json}
    if schema is None or schema.get("type") == "string":
        is_binary = schema is not None and "contentEncoding" in schema
        if schema is None or is_binary:
            content[_BINARY] = {"schema": {}}
        if not is_binary:
            content[_TEXT] = {"schema": {"type": "string"}}
    return content


def _component(
    name: str, schema: Mapping[str, Any] | None, components: dict[str, Any]
) -> Mapping[str, Any]:
    """Put a schema and its definitions among the components; return a reference to it."""
    if schema is None:
        return {}
    definitions = schema.get("$defs")
    names = {
        each: f"{name}.{re.sub(r'[^A-Za-z0-9._-]', '_', each)}.{number}"
        for number, each in enumerate(definitions if isinstance(definitions, dict) else ())
    }
    components[name] = _moved(
        {key: part for key, part in schema.items() if key not in {"$defs", "$schema"}}, name, names
    )
    for each, moved_name in names.items():
        components[moved_name] = _moved(definitions[each], name, names)  # type: ignore[index]  # a dictionary, else there are no names
    return {"$ref": f"{_COMPONENTS}{name}"}


def _moved(schema: Any, name: str, names: Mapping[str, str], *, is_named: bool = False) -> Any:
    if isinstance(schema, list):
        return [_moved(part, name, names) for part in schema]
    if not isinstance(schema, dict):
        return schema
    moved: dict[str, Any] = {}
    for key, part in schema.items():
        if is_named:
            moved[key] = _moved(part, name, names)
        elif key == "$ref" and isinstance(part, str):
            inner = names.get(part.removeprefix("#/$defs/"))
            if inner is not None or part == "#":
                moved[key] = f"{_COMPONENTS}{inner or name}"
        elif key in _VERBATIM:
            moved[key] = part
        elif key not in {"$id", "$schema", "$anchor"}:
            moved[key] = _moved(part, name, names, is_named=key in _NAMED)
    return moved
