"""What a structured answer must look like: how it is asked for, how the prompt describes it, and who checks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lollms_core.errors import InvalidRequest
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.text.templates import is_json_schema, schema_of_template

__all__ = ["Shape", "shape_of"]


class Shape(msgspec.Struct, frozen=True):
    """`schema` is the JSON Schema; `told` describes it in a prompt; `read` makes the result of a decoded value.

    `read` raises `ValueError`, in a sentence for the model, for a value that is not of this shape.
    """

    schema: Mapping[str, Any]
    told: str
    read: Callable[[Any], Any]


def shape_of(given: Mapping[str, Any] | str) -> Shape:
    """The shape that a template or JSON Schema stands for, as a dictionary or as JSON text.

    A dictionary is a JSON Schema when it has `$schema`, or a JSON `type` together with `properties`, `items` or `enum`;
    else it is a template (see `lollms_core.text.templates`). Raises `InvalidRequest` for what is neither.
    """
    if isinstance(given, str):
        given = _decoded(given)
    if not isinstance(given, Mapping):
        raise InvalidRequest(
            f"The schema is a {type(given).__name__}; it must be a dictionary or a JSON text of one.", param="schema"
        )
    if is_json_schema(given):
        told = f"It must obey this JSON Schema:\n{json.dumps(given, ensure_ascii=False)}"
        return Shape(given, told, SchemaChecker(given).check)
    schema = schema_of_template(given)
    told = f"It must look like this, with real values in place of the types and descriptions:\n{_shown(given)}"
    return Shape(schema, told, SchemaChecker(schema).check)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The schema is not JSON: {error}.", param="schema") from error


def _shown(template: Mapping[str, Any]) -> str:
    try:
        return json.dumps(template, ensure_ascii=False, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The template holds what JSON has not: {error}.", param="schema") from error
