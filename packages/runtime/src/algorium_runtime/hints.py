"""
What the annotations of `apply` say, read alike by old and new interpreters.

Annotations may be texts, may name what only newer interpreters know, and may be anything at all:
each is resolved by itself, and what cannot be resolved is unknown. Nothing here fails.

Standard library only, Python 3.8+.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import sys
import typing
from typing import Any, Callable, NamedTuple

UNKNOWN: Any = inspect.Parameter.empty
"""Stands for an annotation that is not there, or cannot be resolved."""

_SEQUENCES = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
)
_SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")


class Signature(NamedTuple):
    """
    The two annotations that count.

    Attributes:
        input: Of the first parameter; `UNKNOWN` if there is none.
        default: Of that parameter, `UNKNOWN` if there is none.
        output: Of the result.
        doc: The function's docstring.
    """

    input: Any
    default: Any
    output: Any
    doc: str


class Field(NamedTuple):
    """A member of a class: its annotation, and whether it may be left out."""

    annotation: Any
    is_required: bool
    default: Any = UNKNOWN
    description: str = ""


def signature_of(apply: Callable[..., Any]) -> Signature:
    """Return what the annotations of a function, or of an object that can be called, say."""
    function = inspect.unwrap(apply)
    signature = inspect.signature(function)
    names = getattr(inspect.unwrap(getattr(function, "func", function)), "__globals__", None)
    if names is None:
        call = getattr(type(function), "__call__", None)  # noqa: B004 - not whether, but which
        names = getattr(inspect.unwrap(call) if call else None, "__globals__", {})
    taking = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    first = next((p for p in signature.parameters.values() if p.kind in taking), None)
    return Signature(
        resolved(first.annotation, names) if first is not None else UNKNOWN,
        first.default if first is not None else UNKNOWN,
        resolved(signature.return_annotation, names),
        inspect.getdoc(function) or "" if inspect.isroutine(function) else "",
    )


def resolved(annotation: Any, names: dict[str, Any] | None) -> Any:
    """Return an annotation with its texts looked up among *names*."""
    if annotation is UNKNOWN:
        return UNKNOWN
    holder = type("Holder", (), {})()
    holder.__annotations__ = {"it": annotation}
    options: dict[str, Any] = {"include_extras": True} if sys.version_info >= (3, 9) else {}
    try:
        return typing.get_type_hints(holder, names or {}, {}, **options)["it"]
    except Exception:  # a text may say anything, and mean what this interpreter lacks
        return UNKNOWN


def parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what an annotation is made of, such as `list` and `int`; None for plain ones."""
    if hasattr(annotation, "__metadata__"):
        return "annotated", (annotation.__origin__, *annotation.__metadata__)
    origin = typing.get_origin(annotation)
    if origin is None:
        return None, ()
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return typing.Union, typing.get_args(annotation)
    name = getattr(origin, "_name", None)
    if name in _WRAPPERS:
        return "wrapped", typing.get_args(annotation)
    return origin, typing.get_args(annotation)


def bare(annotation: Any) -> Any:
    """Return an annotation without what is only said about it."""
    for _ in range(100):  # a chain of new types has an end, what pretends to be one may not
        origin, args = parts(annotation)
        if origin in {"annotated", "wrapped"}:
            annotation = args[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType" and origin is None:
            annotation = annotation.__value__
        else:
            return annotation
    return UNKNOWN


def description_of(annotation: Any) -> str:
    """Return the words that `Annotated` adds."""
    origin, args = parts(annotation)
    if origin == "wrapped":
        return description_of(args[0])
    if origin != "annotated":
        return ""
    for note in args[1:]:
        words = note if isinstance(note, str) else getattr(note, "description", None)
        if isinstance(words, str):
            return words
    return description_of(args[0])


def is_hashable(kind: Any) -> bool:
    """Whether it can be looked up; what is not is no type."""
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def is_list(kind: Any) -> bool:
    """Whether this is a type of lists."""
    return kind in _SEQUENCES


def is_set(kind: Any) -> bool:
    """Whether this is a type of sets."""
    return kind in _SETS


def is_mapping(kind: Any) -> bool:
    """Whether this is a type of dictionaries."""
    return kind in _MAPPINGS


def is_dataclass(kind: Any) -> bool:
    """Whether this is a dataclass."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def is_enum(kind: Any) -> bool:
    """Whether this is an enumeration."""
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def is_typed_dict(kind: Any) -> bool:
    """Whether this is a `TypedDict`."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")


def is_named_tuple(kind: Any) -> bool:
    """Whether this is a `NamedTuple`."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_model(kind: Any) -> bool:
    """Whether this is a model of pydantic, whichever version the author has."""
    if not isinstance(kind, type):
        return False
    return hasattr(kind, "model_json_schema") or (
        hasattr(kind, "parse_obj") and hasattr(kind, "__fields__") and hasattr(kind, "schema")
    )


def fields_of(kind: type) -> dict[str, Field]:
    """Return the members of a dataclass, a `TypedDict` or a `NamedTuple`, in order."""
    found = _hints(kind)
    if is_dataclass(kind):
        return {
            field.name: Field(
                found.get(field.name, UNKNOWN),
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING,
                UNKNOWN if field.default is dataclasses.MISSING else field.default,
                str(field.metadata.get("description") or ""),
            )
            for field in dataclasses.fields(kind)
            if field.init
        }
    if is_named_tuple(kind):
        defaults = getattr(kind, "_field_defaults", {})
        return {
            name: Field(found.get(name, UNKNOWN), name not in defaults, defaults.get(name, UNKNOWN))
            for name in getattr(kind, "_fields", ())
        }
    required = getattr(kind, "__required_keys__", None)
    return {
        name: Field(hint, _is_required(hint, name, required, getattr(kind, "__total__", True)))
        for name, hint in found.items()
    }


def doc_of(kind: type) -> str:
    """Return the docstring that the author gave a class; generated ones say nothing new."""
    doc = kind.__dict__.get("__doc__")
    if not isinstance(doc, str) or doc.startswith((f"{kind.__name__}(", "An enumeration")):
        return ""
    return inspect.cleandoc(doc)


def _hints(kind: type) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        names = dict(vars(sys.modules.get(base.__module__, typing)))
        names.setdefault(base.__name__, base)
        for name, annotation in _written(base).items():
            hints[name] = resolved(annotation, names)
    return hints


def _written(kind: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415 - older interpreters have none

        return dict(annotationlib.get_annotations(kind, format=annotationlib.Format.FORWARDREF))
    return dict(vars(kind).get("__annotations__") or {})


def _is_required(hint: Any, name: str, required: Any, is_total: bool) -> bool:
    origin = getattr(typing.get_origin(hint), "_name", None)
    if origin in {"Required", "NotRequired"}:
        return bool(origin == "Required")
    return name in required if required is not None else is_total
