"""
JSON Schemas from the annotations of `apply`: what an algorithm takes and what it gives.

    str, int, float, bool, None            the types of JSON
    bytes                                  a string in base64
    datetime, date, time, UUID             a string with a format
    list, set, tuple, dict                 an array or an object
    Literal, Enum                          the values
    Optional, Union, X | Y                 any of them
    dataclass, TypedDict                   an object with these properties
    NamedTuple                             an array with these items
    a model of pydantic                    what pydantic says itself
    Annotated[X, "words"]                  X, described by the words

Anything else is unknown, and its schema is empty: it takes everything. What `apply` does with it is
its own business. Classes are defined once, below `$defs`, so they may refer to themselves.

Standard library only, Python 3.8+. Runs the author's code only as far as annotations are code.
"""

from __future__ import annotations

import datetime
import decimal
import json
import os
import pathlib
import uuid
from typing import Any, Callable, Dict, Union

from algorium_runtime import hints
from algorium_runtime.hints import UNKNOWN, Field

SIGNATURE_FILE = "signature.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

TEXT_CHARS_MAX = 200_000
"""Of both schemas together; whoever needs more describes a data set, not an input."""
_DEFINITIONS_MAX = 500
_DESCRIPTION_CHARS_MAX = 4000
_NOTES_MAX = 10
_LITERALS = (str, int, bool, float, type(None))

Schema = Dict[str, Any]

_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array", "uniqueItems": True},
    frozenset: {"type": "array", "uniqueItems": True},
    dict: {"type": "object"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    decimal.Decimal: {"type": ["string", "number"]},
    pathlib.Path: {"type": "string"},
    pathlib.PurePath: {"type": "string"},
}
_BYTES: Schema = {"type": "string", "contentEncoding": "base64"}
_ANYTHING = (UNKNOWN, Any, object)


class TooLarge(Exception):
    """There is more to describe than a signature may hold."""


def describe(apply: Callable[..., Any]) -> tuple[Schema, list[str]]:
    """
    Return the schemas of a function as `{"input": …, "output": …}`, and what could not be told.

    A side of which nothing is known is left out.

    May raise whatever the author's annotations raise.
    """
    signature = hints.signature_of(apply)
    taken = _Describing("input", is_input=True)
    given = _Describing("result", is_input=False)
    described: Schema = {}
    schema = taken.whole(signature.input)
    if schema is not None:
        doc = signature.doc[:_DESCRIPTION_CHARS_MAX].strip()
        if doc and "description" not in schema:
            schema["description"] = doc
        _add_default(schema, signature.default)
        described["input"] = schema
    schema = given.whole(signature.output)
    if schema is not None:
        described["output"] = schema
    return described, taken.notes + given.notes


def write(directory: str, apply: Callable[..., Any]) -> list[str]:
    """
    Write the schemas of a function into a file in *directory*; never fails.

    Returns:
        Lines for the author.
    """
    try:
        described, notes = describe(apply)
        text = json.dumps(described, allow_nan=False)
        if len(text) > TEXT_CHARS_MAX:
            raise TooLarge(f"the schemas are longer than {TEXT_CHARS_MAX} characters")
        json.dumps(described, ensure_ascii=False).encode()  # a lone surrogate is no JSON elsewhere
        with open(os.path.join(directory, SIGNATURE_FILE), "w", encoding="utf-8") as file:
            file.write(text)
    except Exception as error:  # the author's annotations are code as well
        return [f"No schema: {type(error).__name__}: {_one_line(error)}"]
    return notes


class _Describing:
    """Describes one side of a function."""

    def __init__(self, place: str, *, is_input: bool) -> None:
        self.notes: list[str] = []
        self._place = place
        self._is_input = is_input
        self._definitions: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def whole(self, annotation: Any) -> Schema | None:
        """Return the schema of a side with all its definitions; None if nothing is known of it."""
        if annotation is UNKNOWN:
            return None
        schema = self._of(annotation, self._place)
        if not schema:
            return None
        whole: Schema = {"$schema": DIALECT, **schema}
        if self._definitions:
            whole["$defs"] = self._definitions
        return whole

    def _of(self, annotation: Any, place: str) -> Schema:
        words = hints.description_of(annotation)
        schema = self._of_bare(hints.bare(annotation), place)
        return {**schema, "description": words} if words else schema

    def _of_bare(self, kind: Any, place: str) -> Schema:
        if any(kind is each for each in _ANYTHING):
            return {}
        if not hints.is_hashable(kind):
            return self._unknown(kind, place)
        if kind in {bytes, bytearray, memoryview}:
            return dict(_BYTES)
        origin, args = hints.parts(kind)
        if origin is not None:
            return self._of_parts(origin, args, place)
        if hints.is_model(kind):
            return self._model(kind)
        for is_one, make in (
            (hints.is_dataclass, self._object),
            (hints.is_typed_dict, self._object),
            (hints.is_named_tuple, self._row),
            (hints.is_enum, self._enum),
        ):
            if is_one(kind):
                return self._defined(kind, make)
        plain = _PLAIN.get(kind)
        return dict(plain) if plain is not None else self._unknown(kind, place)

    def _of_parts(self, origin: Any, args: tuple[Any, ...], place: str) -> Schema:
        if origin is Union:
            return self._any_of([self._of(each, place) for each in args])
        if all(type(each) in _LITERALS for each in args) and args and _is_literal(origin):
            return {"enum": list(args)} if len(args) > 1 else {"const": args[0]}
        items = f"{place}[]"
        if hints.is_list(origin):
            return _with({"type": "array"}, items=self._of(args[0], items) if args else {})
        if hints.is_set(origin):
            schema: Schema = {"type": "array", "uniqueItems": True}
            return _with(schema, items=self._of(args[0], items) if args else {})
        if origin is tuple:
            return self._tuple(args, items)
        if hints.is_mapping(origin):
            schema = {"type": "object"}
            if len(args) == 2:
                names = self._of(args[0], f"{place} key")
                if "enum" in names or "const" in names or "$ref" in names:
                    schema["propertyNames"] = names
                _with(schema, additionalProperties=self._of(args[1], f"{place}.*"))
            return schema
        if hints.is_model(origin) or hints.is_dataclass(origin):
            return self._of_bare(origin, place)  # a generic class of the author's
        return self._unknown(origin, place)

    def _tuple(self, args: tuple[Any, ...], place: str) -> Schema:
        if len(args) == 2 and args[1] is Ellipsis:
            return _with({"type": "array"}, items=self._of(args[0], place))
        kinds = [] if args in {(), ((),)} else list(args)
        return _row([self._of(each, place) for each in kinds], required=len(kinds))

    def _any_of(self, schemas: list[Schema]) -> Schema:
        if {} in schemas:
            return {}
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _defined(self, kind: Any, make: Callable[[Any], Schema]) -> Schema:
        name = self._names.get(kind)
        if name is None:
            name = self._free_name(kind.__name__)
            self._names[kind] = name
            self._definitions[name] = {}  # it may contain itself
            schema = make(kind)
            doc = hints.doc_of(kind)[:_DESCRIPTION_CHARS_MAX]
            self._definitions[name] = {
                "title": kind.__name__,
                **({"description": doc} if doc else {}),
                **schema,
            }
        return {"$ref": f"#/$defs/{name}"}

    def _object(self, kind: type) -> Schema:
        fields = hints.fields_of(kind)
        schema: Schema = {
            "type": "object",
            "properties": {
                name: self._field(field, f"{kind.__name__}.{name}")
                for name, field in fields.items()
            },
        }
        required = [name for name, field in fields.items() if self._is_there(kind, field)]
        if required:
            schema["required"] = required
        if self._is_input and hints.is_dataclass(kind):
            schema["additionalProperties"] = False
        return schema

    def _is_there(self, kind: type, field: Field) -> bool:
        """Whether whoever makes the value always writes the field: a result has every default."""
        return field.is_required or (not self._is_input and not hints.is_typed_dict(kind))

    def _row(self, kind: type) -> Schema:
        fields = hints.fields_of(kind)
        items = []
        for name, field in fields.items():
            schema = self._field(field, f"{kind.__name__}.{name}")
            items.append(schema if "$ref" in schema else {"title": name, **schema})
        count = sum(self._is_there(kind, field) for field in fields.values())
        return _row(items, required=count)

    def _field(self, field: Field, place: str) -> Schema:
        schema = self._of(field.annotation, place)
        if field.description:
            schema = {**schema, "description": field.description}
        _add_default(schema, field.default)
        return schema

    def _enum(self, kind: Any) -> Schema:
        values = [member.value for member in kind]
        if all(type(value) in _LITERALS for value in values):
            return {"enum": values}
        return self._unknown(kind, kind.__name__)

    def _model(self, kind: Any) -> Schema:
        """Ask pydantic, and take its definitions over among ours."""
        template = "#/$defs/{model}"
        if hasattr(kind, "model_json_schema"):
            mode = "validation" if self._is_input else "serialization"
            schema = kind.model_json_schema(ref_template=template, mode=mode)
        else:
            schema = kind.schema(ref_template=template)
        definitions = schema.pop("$defs", None) or schema.pop("definitions", None) or {}
        for name, definition in definitions.items():
            known = self._definitions.setdefault(name, definition)
            if known != definition:
                raise ValueError(f"two classes are called {name}")
        if set(schema) == {"$ref"}:  # it contains itself
            return dict(schema)
        name = self._names.get(kind) or self._free_name(kind.__name__)
        self._names[kind] = name
        self._definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def _free_name(self, wanted: str) -> str:
        if len(self._definitions) >= _DEFINITIONS_MAX:
            raise TooLarge(f"more than {_DEFINITIONS_MAX} classes")
        name, number = wanted, 1
        while name in self._definitions:
            number += 1
            name = f"{wanted}{number}"
        return name

    def _unknown(self, kind: Any, place: str) -> Schema:
        if len(self.notes) < _NOTES_MAX:
            name = getattr(kind, "__qualname__", None) or str(kind)
            self.notes.append(f"No schema for {place}: {_one_line(name)} may be anything")
        return {}


def _row(items: list[Schema], *, required: int) -> Schema:
    schema: Schema = {"type": "array", "minItems": required, "maxItems": len(items)}
    if items:
        schema["prefixItems"] = items
    return schema


def _with(schema: Schema, **parts: Schema) -> Schema:
    """Add what is not empty."""
    schema.update({name: part for name, part in parts.items() if part})
    return schema


def _is_literal(origin: Any) -> bool:
    return getattr(origin, "_name", None) == "Literal"


def _add_default(schema: Schema, default: Any) -> None:
    if default is UNKNOWN or "default" in schema:
        return
    try:
        text = json.dumps(default, allow_nan=False)
    except Exception:  # no form in JSON: then it is not shown
        return
    if len(text) <= _DESCRIPTION_CHARS_MAX and type(default) in {*_LITERALS, list, dict}:
        schema["default"] = default


def _one_line(value: object) -> str:
    try:
        return " ".join(str(value).split())[:200]
    except Exception:  # an author's `__str__` may raise anything
        return type(value).__name__
