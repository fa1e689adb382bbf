"""What a structured answer must look like: how it is asked for, how the prompt describes it, and who checks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from lollms_core.errors import InvalidRequest
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.text.templates import is_json_schema, schema_of_template

__all__ = ["Shape", "object_schema", "object_shape", "shape_of"]


class Shape(msgspec.Struct, frozen=True):
    """`schema` is the JSON Schema; `told` describes it in a prompt; `read` makes the result of a decoded value.

    `read` raises `ValueError`, in a sentence for the model, for a value that is not of this shape.
    """

    schema: Mapping[str, Any]
    told: str
    read: Callable[[Any], Any]


def shape_of(given: Mapping[str, Any] | Sequence[Any] | str) -> Shape:
    """The shape that a template or JSON Schema stands for, also as JSON text.

    A dictionary is a JSON Schema when it has `$schema`, or a JSON `type` together with `properties`, `items` or `enum`
    (see `is_json_schema`); else it is a template, and so is a list. Raises `InvalidRequest` for what is neither.
    """
    if isinstance(given, str):
        given = _decoded(given)
    if not isinstance(given, (Mapping, list, tuple)):
        raise InvalidRequest(
            f"The schema is a {type(given).__name__}; it must be a dictionary, a list or a JSON text of one.",
            param="schema",
        )
    if isinstance(given, Mapping) and is_json_schema(given):
        told = f"It must obey this JSON Schema:\n{_shown(given)}"
        return Shape(given, told, SchemaChecker(given).check)
    schema = schema_of_template(given)
    told = (
        f"It must look like this, with real values in place of the types and descriptions:\n{_shown(given, indent=1)}"
    )
    return Shape(schema, told, SchemaChecker(schema).check)


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object that has all these properties and no others."""
    names = list(properties)
    return {"type": "object", "properties": dict(properties), "required": names, "additionalProperties": False}


def object_shape(properties: Mapping[str, Any], told: str, read: Callable[[Any], Any]) -> Shape:
    """The shape of an object that has all these properties and no others, with a reader of its own."""
    return Shape(object_schema(properties), told, read)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The schema is not JSON: {error}.", param="schema") from error


def _shown(given: object, indent: int | None = None) -> str:
    try:
        text = json.dumps(given, ensure_ascii=False, indent=indent, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"The schema holds what JSON has not: {error}.", param="schema") from error
    return text
