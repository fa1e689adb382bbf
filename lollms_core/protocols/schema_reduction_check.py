"""Whether what is given as a JSON Schema is one, small enough to be worked on: looked at before anything is done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lollms_core.errors import InvalidRequest

__all__ = ["TYPES", "checked"]

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

_DEEPEST = 128
_LARGEST = 20_000
_LONGEST_PATH = 200

_SCHEMAS = frozenset({"items", "additionalProperties"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "definitions"})
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_COUNTS = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"}
)
_TEXTS = frozenset({"pattern", "format", "$ref"})
_FLAGS = frozenset({"uniqueItems", "nullable"})


def checked(schema: object) -> None:
    """Raise `InvalidRequest` for what is no JSON Schema, or one nested too deep or too large. Linear, no recursion."""
    todo: list[tuple[Any, str, bool, int]] = [(schema, "", True, 0)]
    seen = 0
    while todo:
        value, path, is_schema, depth = todo.pop()
        seen += 1
        if depth > _DEEPEST:
            raise InvalidRequest(f"The JSON Schema is nested deeper than {_DEEPEST} levels.", param="schema")
        if seen > _LARGEST:
            raise InvalidRequest(f"The JSON Schema has more than {_LARGEST} parts.", param="schema")
        if is_schema:
            _check_keywords(value, path)
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise _wrong(path, "has a name that is no text")
                todo += _inside(key, inner, f"{path}/{key}"[:_LONGEST_PATH], is_schema, depth + 1)
        elif isinstance(value, list | tuple):
            todo += [(inner, path, False, depth + 1) for inner in value]
        elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
            raise _wrong(path, "is no JSON value")


def _inside(key: str, value: Any, path: str, is_schema: bool, depth: int) -> list[tuple[Any, str, bool, int]]:
    """What stands under a keyword: schemas where it holds schemas, else values."""
    if not is_schema:
        return [(value, path, False, depth)]
    if key in _MAPS:
        return [(inner, f"{path}/{name}"[:_LONGEST_PATH], True, depth + 1) for name, inner in value.items()]
    if key in _LISTS or (key == "items" and isinstance(value, list | tuple)):
        return [(inner, path, True, depth + 1) for inner in value]
    return [(value, path, key in _SCHEMAS, depth)]


def _check_keywords(schema: object, path: str) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise _wrong(path, "is no JSON Schema, which is an object")
    for key, value in schema.items():
        if not _fits(key, value):
            raise _wrong(path, f"has a {str(key)[:40]!r} that JSON Schema does not allow")


def _fits(key: object, value: Any) -> bool:
    """Whether a keyword has a value of the kind it must have."""
    if key == "type":
        names = [value] if isinstance(value, str) else value
        return isinstance(names, list | tuple) and bool(names) and all(name in TYPES for name in names)
    if key == "required":
        return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    if key == "enum":
        return isinstance(value, list | tuple) and bool(value)
    if key in _MAPS:
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    if key in _LISTS:
        return isinstance(value, list | tuple) and bool(value)
    if key in _COUNTS or key in _NUMBERS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (key in _NUMBERS or value >= 0)
    if key in _TEXTS:
        return isinstance(value, str)
    return isinstance(value, bool) if key in _FLAGS else True


def _wrong(path: str, words: str) -> InvalidRequest:
    where = f"The JSON Schema at {path}" if path else "The JSON Schema"
    return InvalidRequest(f"{where} {words}.", param="schema")
