"""
What may break for callers between two JSON Schemas of an algorithm.

A new version must take what the old one took, and give what callers of the old one could expect:

    input     every value of the old schema should fit the new one
    result    every value of the new schema should fit the old one

So one question is asked in two directions: is every value of *narrow* a value of *wide*? Where the
answer is no, the place is told. What cannot be decided counts as fine: a warning that is wrong
teaches people to ignore those that are right. Only the part of JSON Schema is understood that
annotations of algorithms come to, with what pydantic adds.

Schemas come from foreign code: they may refer to themselves, or be large. The comparison is bounded
in depth and in steps.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from algorium_server.domain.limits import (
    SCHEMA_DEPTH_MAX,
    SCHEMA_STEPS_MAX,
    SCHEMA_WARNINGS_MAX,
    SIGNATURE_DEPTH_MAX,
)

Schema = Mapping[str, Any]

_ANYTHING: Final[Schema] = {}
_WORDLESS: Final = ("$schema", "$defs", "title", "description", "default", "examples", "$comment")
"""Keywords that say nothing about which values fit."""
_ANY_WORD: Final = "anything"
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_FORMS: Final = ("format", "pattern", "contentEncoding")
_PATH_CHARS_MAX: Final = 200


def is_schema(value: object) -> bool:
    """Whether a value of JSON can be looked at as a schema: an object, and not too deep."""
    return isinstance(value, dict) and _is_within(value, SIGNATURE_DEPTH_MAX)


def _is_within(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_within(part, levels - 1) for part in parts)


def parsed(text: str) -> Schema | None:
    """Return a schema from its text, None if nothing is known."""
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def input_warnings(old: str, new: str) -> tuple[str, ...]:
    """Return what callers of the old version send and the new one does not take."""
    before, after = parsed(old), parsed(new)
    if before is None or after is None:
        return ()  # nothing was promised, or nothing is known
    return _Comparison(_INPUT, before, after).run("input")


def output_warnings(old: str, new: str) -> tuple[str, ...]:
    """Return what the new version gives, or gives no more, that callers of the old one rely on."""
    before, after = parsed(old), parsed(new)
    if before is None or after is None:
        return ()
    return _Comparison(_OUTPUT, after, before).run("result")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """How differences are told; *what* describes values of the narrow side."""

    other_value: str
    missing: str
    unknown: str
    is_input: bool


_INPUT: Final = _Words(
    other_value="{path}: {what} is not accepted any more",
    missing="{path} is required now",
    unknown="{path} is not known any more",
    is_input=True,
)
_OUTPUT: Final = _Words(
    other_value="{path}: it may be {what} now",
    missing="{path} may be missing now",
    unknown="{path} is gone",
    is_input=False,
)


@dataclass(slots=True)
class _Comparison:
    """
    Asks whether all values of one schema are values of another.

    Attributes:
        narrow: The schema whose values are looked at, with its definitions.
        wide: The one that should take them all.
    """

    words: _Words
    narrow: Schema
    wide: Schema
    steps: int = 0
    met: set[tuple[int, int]] = field(default_factory=set)

    def run(self, place: str) -> tuple[str, ...]:
        found: list[str] = []
        for line in self._all(self.narrow, self.wide, place, 0):
            if line not in found:
                found.append(line)
            if len(found) >= SCHEMA_WARNINGS_MAX:
                break
        return tuple(found)

    def _all(self, narrow: Any, wide: Any, path: str, depth: int) -> Iterator[str]:
        self.steps += 1
        if depth > SCHEMA_DEPTH_MAX or self.steps > SCHEMA_STEPS_MAX:
            return
        narrow, wide = _followed(narrow, self.narrow), _followed(wide, self.wide)
        if wide is None or narrow is None or _is_open(wide) or narrow is False:
            return
        pair = id(narrow), id(wide)
        if pair in self.met:  # a schema that contains itself: it is being looked at above
            return
        self.met.add(pair)
        try:
            yield from self._whole(narrow, wide, path, depth)
        finally:
            self.met.discard(pair)

    def _whole(self, narrow: Any, wide: Any, path: str, depth: int) -> Iterator[str]:
        if wide is False:
            yield self._other(path, narrow)
            return
        if branches := _branches(narrow):
            for branch in branches:
                yield from self._all(branch, wide, path, depth + 1)
            return
        if (values := _values(narrow)) is not None:
            for value in values:
                if not _takes(wide, value, self.wide, depth):
                    yield self._other(path, {"const": value})
            return
        if options := _branches(wide):
            yield from self._any(narrow, options, path, depth)
            return
        if _values(wide) is not None:
            yield self._other(path, narrow)
            return
        yield from self._one(narrow, wide, path, depth)

    def _any(self, narrow: Any, options: list[Any], path: str, depth: int) -> Iterator[str]:
        """Look for an option that takes everything; else tell about the one that comes closest."""
        complaints = []
        for option in options:
            lines = list(self._all(narrow, option, path, depth + 1))
            if not lines:
                return
            followed = _followed(option, self.wide)
            if isinstance(followed, Mapping) and followed.get("type") == narrow.get("type"):
                complaints.append(lines)
        if len(complaints) == 1:
            yield from complaints[0]
        else:
            yield self._other(path, narrow)

    def _one(self, narrow: Schema, wide: Schema, path: str, depth: int) -> Iterator[str]:
        kind, wanted = narrow.get("type"), wide.get("type")
        if wanted is not None and kind != wanted and (kind, wanted) != ("integer", "number"):
            yield self._other(path, narrow)
            return
        if any(_is_tighter(narrow, wide, name) for name in (*_UPPER, *_LOWER)) or any(
            name in wide and narrow.get(name) != wide[name] for name in _FORMS
        ):
            yield self._other(path, narrow)
        if kind == "object":
            yield from self._object(narrow, wide, path, depth)
        if kind == "array":
            yield from self._array(narrow, wide, path, depth)

    def _object(self, narrow: Schema, wide: Schema, path: str, depth: int) -> Iterator[str]:
        has, knows = _mapping(narrow.get("properties")), _mapping(wide.get("properties"))
        always = _names(narrow.get("required"))
        for name in sorted(_names(wide.get("required")) - always):
            if self.words.is_input or name in has:
                yield self.words.missing.format(path=_below(path, name))
        members = self._sent if self.words.is_input else self._given
        yield from members(narrow, wide, path, depth + 1)
        for name in (name for name in knows if name in has):
            yield from self._all(has[name], knows[name], _below(path, name), depth + 1)
        rest, others = narrow.get("additionalProperties"), wide.get("additionalProperties")
        if isinstance(rest, Mapping) and isinstance(others, Mapping):
            yield from self._all(rest, others, _below(path, "*"), depth + 1)

    def _sent(self, narrow: Schema, wide: Schema, path: str, depth: int) -> Iterator[str]:
        """Look at members of inputs that the new version does not name."""
        knows = _mapping(wide.get("properties"))
        others = wide.get("additionalProperties", True)
        for name, schema in _mapping(narrow.get("properties")).items():
            if name in knows:
                continue
            if isinstance(others, Mapping) and not _is_open(others):
                yield from self._all(schema, others, _below(path, name), depth)
            elif knows or others is False:
                yield self.words.unknown.format(path=_below(path, name))

    def _given(self, narrow: Schema, wide: Schema, path: str, _depth: int) -> Iterator[str]:
        """Look at members of results that the new version does not give."""
        has = _mapping(narrow.get("properties"))
        if has or narrow.get("additionalProperties") is False:
            for name in _mapping(wide.get("properties")):
                if name not in has:
                    yield self.words.unknown.format(path=_below(path, name))

    def _array(self, narrow: Schema, wide: Schema, path: str, depth: int) -> Iterator[str]:
        first, wanted = _list(narrow.get("prefixItems")), _list(wide.get("prefixItems"))
        rest, others = narrow.get("items", True), wide.get("items", True)
        if wide.get("uniqueItems") and not narrow.get("uniqueItems"):
            yield self._other(path, narrow)
        for number in range(max(len(first), len(wanted))):
            item = first[number] if number < len(first) else rest
            fits = wanted[number] if number < len(wanted) else others
            if number >= len(first) and narrow.get("maxItems", number + 1) <= number:
                break
            yield from self._all(item, fits, f"{path}[{number}]", depth + 1)
        if narrow.get("maxItems", len(first) + 1) > len(first):
            yield from self._all(rest, others, f"{path}[*]", depth + 1)

    def _other(self, path: str, narrow: Any) -> str:
        if self.words.is_input and _described(narrow) == _ANY_WORD:
            return f"{path}: not everything is accepted any more"
        return self.words.other_value.format(path=path, what=_described(narrow))


def _followed(schema: Any, root: Schema) -> Any:
    """Return a schema behind its references; None for one that leads nowhere."""
    for _ in range(SCHEMA_DEPTH_MAX):
        if schema is True:
            return _ANYTHING
        if not isinstance(schema, Mapping):
            return schema if schema is False else None
        target = schema.get("$ref")
        inner = schema.get("allOf")
        if isinstance(target, str):
            schema = _definition(target, root)
        elif isinstance(inner, list) and len(inner) == 1:  # how older pydantic describes references
            schema = inner[0]
        else:
            return schema
    return None


def _definition(target: str, root: Schema) -> Any:
    if target == "#":
        return root
    place: Any = root
    for step in target.removeprefix("#/").split("/"):
        place = place.get(step) if isinstance(place, Mapping) else None
    return place


def _is_open(schema: Any) -> bool:
    """Whether everything fits."""
    return schema is True or (
        isinstance(schema, Mapping) and all(name in _WORDLESS for name in schema)
    )


def _branches(schema: Any) -> list[Any]:
    """Return the alternatives that a schema is made of; none if it is one itself."""
    if not isinstance(schema, Mapping):
        return []
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return list(schema[name])
    kinds = schema.get("type")
    if isinstance(kinds, list) and _values(schema) is None:
        return [{**schema, "type": kind} for kind in kinds]
    return []


def _values(schema: Any) -> list[Any] | None:
    """Return the values that alone fit, None if a schema names none."""
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _takes(schema: Any, value: Any, root: Schema, depth: int) -> bool:
    """Whether a single value fits; what cannot be told fits."""
    schema = _followed(schema, root)
    if schema is None or depth > SCHEMA_DEPTH_MAX:
        return True
    if schema is False:
        return False
    if branches := _branches(schema):
        return any(_takes(branch, value, root, depth + 1) for branch in branches)
    values = _values(schema)
    if values is not None:
        return any(_is_same(value, each) for each in values)
    kind = schema.get("type")
    return kind is None or kind in _kinds(value)


def _is_same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _kinds(value: Any) -> tuple[str, ...]:
    if value is None:
        return ("null",)
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, int):
        return ("integer", "number")
    if isinstance(value, float):
        return ("number", "integer") if value.is_integer() else ("number",)
    if isinstance(value, str):
        return ("string",)
    return ("array",) if isinstance(value, list) else ("object",)


def _is_tighter(narrow: Schema, wide: Schema, name: str) -> bool:
    """Whether *wide* has a bound that values of *narrow* may break."""
    bound, kept = wide.get(name), narrow.get(name)
    if not isinstance(bound, int | float) or isinstance(bound, bool):
        return False
    if name in {"minLength", "minItems", "minProperties"} and bound <= 0:
        return False
    if not isinstance(kept, int | float):
        return True
    return kept > bound if name in _UPPER else kept < bound


def _described(schema: Any) -> str:
    """Say in a few words what values of a schema are."""
    if not isinstance(schema, Mapping):
        return _ANY_WORD
    if "const" in schema:
        return _cut(json.dumps(schema["const"]))
    if (values := _values(schema)) is not None:
        return _cut(f"one of {json.dumps(values)}")
    kind = schema.get("type")
    if not isinstance(kind, str):
        return _ANY_WORD
    name = "null" if kind == "null" else f"{'an' if kind[:1] in 'aio' else 'a'} {kind}"
    if isinstance(schema.get("format"), str):
        name += f" ({schema['format']})"
    bounds = [f"{each} {schema[each]}" for each in (*_LOWER, *_UPPER) if each in schema]
    return _cut(f"{name} with {' and '.join(bounds)}" if bounds else name)


def _below(path: str, name: str) -> str:
    return (
        f"{path}.{_cut(name)}" if name.isidentifier() or name == "*" else f"{path}[{_cut(name)!r}]"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _PATH_CHARS_MAX else f"{text[:_PATH_CHARS_MAX]}…"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: Any) -> set[str]:
    return {each for each in _list(value) if isinstance(each, str)}
