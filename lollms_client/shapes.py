"""The shapes that callers ask for: templates and schemas (see `lollms_core.flows.shapes`), and pydantic classes.

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


def any_shape(given: Any, *, describe: bool = True) -> Shape:
    """The shape of a template, a JSON Schema, JSON text of either, or a pydantic class, whose values are dictionaries.

    Without `describe` the prompt is not told of it. Raises `InvalidRequest` for what is no shape, and TypeError for
    what could not be one.
    """
    if _is_pydantic(given):
        shape = pydantic_shape(given)
        make = shape.read
        shape = msgspec.structs.replace(shape, read=lambda value: make(value).model_dump(mode="json", by_alias=True))
    elif isinstance(given, (Mapping, str)):
        shape = shape_of(given)
    else:
        kind = type(given).__name__
        raise TypeError(f"schema must be a dictionary, a JSON text or a pydantic class, not {kind}")
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
    return Shape(schema, told if describe else "", kind.model_validate)


def _is_pydantic(given: Any) -> bool:
    return isinstance(given, type) and hasattr(given, "model_json_schema") and hasattr(given, "model_validate")
