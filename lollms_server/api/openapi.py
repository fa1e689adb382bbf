"""The OpenAPI description: what FastAPI makes of the routes and models, and what only we know.

That is: which header carries the key and where none is asked for, the events of a stream, the id that every reply
carries, words and examples for every field and body, and the type of the two fields that the models leave open because
what they hold follows from another field. A description is made once, when it is first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from lollms_server.api import models
from lollms_server.api.examples import EXAMPLES
from lollms_server.api.field_words import OF_MODEL, WORDS
from lollms_server.api.models import StreamChunk

__all__ = ["REFERENCE", "describe", "operations"]

REFERENCE = "#/components/schemas/"
"""What the reference to a model begins with."""

_SECURITY = {
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "One of security.allowed_api_keys of the server's configuration.",
    }
}
_ID_HEADER = {
    "description": "The id of the request; a caller may choose it (16 to 64 of 0-9, a-z, A-Z and -).",
    "schema": {"type": "string"},
    "example": "a1b2c3d4e5f6a7b8a1b2c3d4e5f6a7b8",
}
_WAIT_HEADER = {"description": "Seconds after which it is worth asking again.", "schema": {"type": "integer"}}
_MAY_WAIT = ("408", "429", "503", "504")

_FUNCTION_CALL = {
    "type": "object",
    "description": "A call that the model asks for; whoever gave the tool runs it.",
    "properties": {
        "id": {"type": "string", "description": "Names the call in its tool_result."},
        "name": {"type": "string", "description": "The name of the tool."},
        "arguments": {
            "type": "object",
            "description": "As the parameters of the tool say.",
            "additionalProperties": True,
        },
    },
    "required": ["id", "name", "arguments"],
}
_EVENT = {
    "type": "object",
    "description": "One server-sent event.",
    "properties": {
        "data": {
            "type": "string",
            "description": "A StreamChunk as JSON.",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": REFERENCE + StreamChunk.__name__},
        }
    },
    "required": ["data"],
}
_ANY_OBJECT = {"type": "object", "additionalProperties": True}
_ANY_OF: dict[str, list[dict[str, Any]]] = {
    "OutputData.data": [
        {"type": "string"},
        _ANY_OBJECT,
        {"type": "array", "items": {}},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
    ],
    "StreamChunk.content": [
        {"type": "string"},
        {"type": "array", "items": {"$ref": REFERENCE + "OutputData"}},
        {"$ref": REFERENCE + "FunctionCall"},
        {"type": "null"},
    ],
}
_OR_NULL = ("GenerateRequest.stream", "GenerateRequest.parameters", "GenerateRequest.generation_type")
"""Fields of a request whose default is not null, and in which null counts as left out."""

_SHORTENED = ("ErrorResponse",)
"""Answers that leave fields out; all others have each of their fields, null where there is nothing to say."""

_SETTING = {
    "description": "A setting that the card of the type declares and does not mark as secret.",
    "anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
        {"type": "null"},
    ],
}


def describe(api: FastAPI) -> None:
    """Let `api.openapi` give the whole description."""
    plain = api.openapi
    made: dict[str, dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        description = plain()  # which keeps what it has made
        if description is not made.get("whole"):
            _complete(description)
            made["whole"] = description
        return description

    api.openapi = openapi  # type: ignore[method-assign]


def operations(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of a description."""
    for path in description["paths"].values():
        for method in ("get", "put", "post", "delete", "patch"):
            if method in path:
                yield path[method]


def _complete(description: dict[str, Any]) -> None:
    components = description["components"]
    components["securitySchemes"] = _SECURITY
    description["security"] = [{name: []} for name in _SECURITY]
    schemas = components["schemas"]
    _, events = models_json_schema([(StreamChunk, "serialization")], ref_template=REFERENCE + "{model}")
    for name, schema in (events["$defs"] | {"FunctionCall": _FUNCTION_CALL}).items():
        schemas.setdefault(name, schema)
    for name, schema in schemas.items():
        _complete_model(name, schema)
    _name_operations(description)
    for operation in operations(description):
        _complete_operation(operation)


def _complete_model(model: str, schema: dict[str, Any]) -> None:
    for name, field in schema.get("properties", {}).items():
        place = f"{model}.{name}"
        if place in _ANY_OF:
            field["anyOf"] = _ANY_OF[place]
        if place in _OR_NULL:
            _allow_null(field)
        if "description" not in field and (words := OF_MODEL.get(place) or WORDS.get(name)):
            field["description"] = words
    kind = getattr(models, model, None)
    if isinstance(kind, type) and issubclass(kind, models.Answer) and model not in _SHORTENED:
        schema["required"] = list(schema["properties"])
    if schema.get("additionalProperties") is True and "properties" in schema:
        schema["additionalProperties"] = _SETTING
    if model in EXAMPLES:
        schema["examples"] = [EXAMPLES[model]]


def _allow_null(field: dict[str, Any]) -> None:
    about: dict[str, Any] = {name: field.pop(name) for name in ("title", "description", "default") if name in field}
    kind: dict[str, Any] = dict(field)
    field.clear()
    field.update({**about, "anyOf": [kind, {"type": "null"}]})


def _name_operations(description: dict[str, Any]) -> None:
    """Name each operation after its function alone: generated clients take their names from there."""
    taken: set[str] = set()
    for path, item in description["paths"].items():
        for method, operation in item.items():
            place = re.sub(r"\W", "_", path)
            name = operation["operationId"].removesuffix(f"_{method}").removesuffix(place)
            operation["operationId"] = name + place if name in taken else name
            taken.add(name)


def _complete_operation(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        headers = response.setdefault("headers", {})
        headers["X-Request-ID"] = _ID_HEADER
        if status in _MAY_WAIT:
            headers["Retry-After"] = _WAIT_HEADER
        events = response.get("content", {}).get("text/event-stream")
        if events is not None:
            events["schema"] = _EVENT
