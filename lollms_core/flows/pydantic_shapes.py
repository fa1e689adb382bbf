"""The shapes of pydantic classes, beside those of `lollms_core.flows.shapes`.

pydantic itself is not imported here: a class of its has all that is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from lollms_core.errors import InvalidRequest
from lollms_core.flows.shapes import Shape, shape_of

__all__ = ["any_shape", "pydantic_shape"]

_MOST = 8  # wrong fields that are told at once


def any_shape(given: Any, *, describe: bool = True) -> Shape:
    """The shape of a template, a JSON Schema, JSON text of either, or a pydantic class, whose values are dictionaries.

    Without `describe` the prompt is not told of it. Raises `InvalidRequest` for what is no shape, and TypeError for
    what could not be one.
    """
    if isinstance(given, (Mapping, str, list, tuple)):
        shape = shape_of(given)
    elif _is_pydantic(given if isinstance(given, type) else type(given)):
        shape = pydantic_shape(given)
        make = shape.read
        shape = msgspec.structs.replace(shape, read=lambda value: make(value).model_dump(mode="json", by_alias=True))
    else:
        kind = type(given).__name__
        raise TypeError(f"schema must be a dictionary, a list, a JSON text or a pydantic class, not {kind}")
    return shape if describe else msgspec.structs.replace(shape, told="")


def pydantic_shape(model: Any, *, describe: bool = True) -> Shape:
    """The shape of a pydantic class, or of the class of an instance; its values are instances.

    Raises `InvalidRequest` for a class that JSON cannot describe, and TypeError for what is no such class.
    """
    kind: Any = model if isinstance(model, type) else type(model)
    if not _is_pydantic(kind):
        raise TypeError(f"a pydantic class is needed, and {kind.__name__} is none")
    try:
        schema = kind.model_json_schema()
    except Exception as error:
        raise InvalidRequest(f"{kind.__name__} has no JSON Schema: {error}", param="pydantic_model") from error
    told = f"It must obey this JSON Schema:\n{json.dumps(schema, ensure_ascii=False)}"
    return Shape(schema, told if describe else "", lambda value: _made(kind, value))


def _made(kind: Any, value: Any) -> Any:
    """The instance that a value describes. Raises `ValueError`, in a sentence for the model."""
    try:
        made = kind.model_validate_json(json.dumps(value, ensure_ascii=False))
    except Exception as error:  # the validators of a class may raise anything, and mean that the value is wrong
        raise ValueError(_words(error)) from error
    if isinstance(value, dict) and value and kind.model_fields and not made.model_fields_set and not made.model_extra:
        names = ", ".join(json.dumps(name, ensure_ascii=False) for name in list(value)[:_MOST])
        raise ValueError(f"{kind.__name__} has none of its properties: {names}")  # so that all would be defaults
    return made


def _words(error: Exception) -> str:
    """What pydantic says of a value, one wrong field after the other."""
    errors = getattr(error, "errors", None)
    if not callable(errors) or not hasattr(error, "error_count"):
        return f"{type(error).__name__}: {error}"
    told = errors(include_url=False, include_context=False, include_input=False)
    wrong = [(".".join(str(step) for step in each.get("loc", ())), each.get("msg", "")) for each in told[:_MOST]]
    return "; ".join(f"at {place}, {words}" if place else str(words) for place, words in wrong)


def _is_pydantic(given: Any) -> bool:
    return isinstance(given, type) and hasattr(given, "model_json_schema") and hasattr(given, "model_validate")
