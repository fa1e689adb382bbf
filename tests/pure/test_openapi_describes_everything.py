"""The OpenAPI leaves nothing to guess: every field has its type and a sentence, every route examples and its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from lollms_core.errors import MEANINGS
from lollms_server.api import models
from lollms_server.api.examples import EXAMPLES
from lollms_server.api.field_words import OF_MODEL, WORDS
from lollms_server.api.openapi import REFERENCE, operations
from lollms_server.api.routes import ALWAYS
from lollms_server.app import create_app
from lollms_server.core.config import load_config
from lollms_server.middleware.guard import PUBLIC_PATHS
from tests.support.server import write_config

FREE = {
    "parameters",
    "metadata",
    "details",
    "response_schema",  # a JSON Schema
    "arguments",  # of a tool, as its own schema says
}
"""Names of fields that may hold any object."""

ANY_JSON = {"OutputData.data"}
"""Documented as Any; every JSON type is spelled out."""

EXTENSIONS = {
    ("post", "/api/v1/embed"),
    ("get", "/api/v1/queue"),
    ("post", "/api/v1/reload"),
    ("delete", "/api/v1/requests/{request_id}"),
    ("get", "/api/v1/personality_icon/{personality_name}"),
}

# Route -> the documented statuses of its errors, and the documented fields of what it answers.
DOCUMENTED: dict[tuple[str, str], tuple[tuple[int, ...], str]] = {
    ("get", "/api/v1/health"): ((500,), "status version api_key_required"),
    ("get", "/api/v1/list_bindings"): ((401, 403, 500, 503), "binding_types binding_instances"),
    ("get", "/api/v1/list_active_bindings"): ((401, 403, 500, 503), "bindings"),
    ("get", "/api/v1/list_personalities"): ((401, 403, 500, 503), "personalities"),
    ("get", "/api/v1/list_functions"): ((401, 403, 500, 503), "functions"),
    ("get", "/api/v1/list_models"): ((401, 403, 500), "models"),
    ("get", "/api/v1/list_available_models/{binding_instance_name}"): (
        (401, 403, 404, 500, 501, 503),
        "binding_instance_name models",
    ),
    ("get", "/api/v1/get_default_bindings"): ((401, 403, 500), "defaults"),
    ("get", "/api/v1/get_model_info/{binding_instance_name}"): (
        (401, 403, 404, 500, 501, 503),
        "binding_instance_name model_name model_type context_size max_output_tokens supports_vision supports_audio "
        "supports_streaming details",
    ),
    ("post", "/api/v1/generate"): (
        (400, 401, 403, 404, 408, 422, 500, 501, 503),
        "personality request_id output execution_time",
    ),
    ("post", "/api/v1/tokenize"): ((400, 401, 403, 404, 500, 501, 503), "tokens count"),
    ("post", "/api/v1/detokenize"): ((400, 401, 403, 404, 500, 501, 503), "text"),
    ("post", "/api/v1/count_tokens"): ((400, 401, 403, 404, 500, 501, 503), "count"),
}

FIELDS: dict[str, dict[str, str]] = {
    "InputData": {
        "type": "string",
        "role": "string",
        "data": "string",
        "mime_type": "null string",
        "metadata": "null object",
    },
    "OutputData": {
        "type": "string",
        "data": "array boolean null number object string",
        "mime_type": "null string",
        "thoughts": "null string",
        "metadata": "null object",
    },
    "GenerateRequest": {
        "input_data": "array",
        "personality": "null string",
        "binding_name": "null string",
        "model_name": "null string",
        "generation_type": "null string",
        "stream": "boolean null",
        "parameters": "null object",
    },
    "GenerateResponse": {
        "personality": "null string",
        "request_id": "string",
        "output": "array",
        "execution_time": "number",
    },
    "StreamChunk": {
        "type": "string",
        "content": "FunctionCall array null string",
        "thoughts": "null string",
        "metadata": "null object",
    },
    "TokenizeRequest": {
        "text": "string",
        "binding_name": "null string",
        "model_name": "null string",
        "add_bos": "boolean",
        "add_eos": "boolean",
    },
    "TokenizeResponse": {"tokens": "array", "count": "integer"},
    "DetokenizeRequest": {"tokens": "array", "binding_name": "null string", "model_name": "null string"},
    "CountTokensResponse": {"count": "integer", "exact": "boolean"},
    "HealthResponse": {"status": "string", "version": "string", "api_key_required": "boolean"},
    "GetModelInfoResponse": {
        "binding_instance_name": "string",
        "model_name": "null string",
        "model_type": "null string",
        "context_size": "integer null",
        "max_output_tokens": "integer null",
        "supports_vision": "boolean",
        "supports_audio": "boolean",
        "supports_streaming": "boolean",
        "details": "object",
    },
    "PersonalityInfo": {
        "name": "string",
        "author": "string",
        "version": "string",
        "description": "string",
        "category": "null string",
        "language": "null string",
        "tags": "array",
        "icon": "null string",
        "is_scripted": "boolean",
        "path": "string",
    },
    "DefaultBindings": {
        **{f"{kind}_binding": "null string" for kind in ("ttt", "tti", "tts", "stt", "ttv", "ttm")},
        "default_context_size": "integer",
        "default_max_output_tokens": "integer",
    },
}


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    loaded = load_config(write_config(tmp_path_factory.mktemp("home")), environ={})
    return create_app(loaded).api.openapi()


@cache
def statuses() -> frozenset[int]:
    return frozenset(row.http_status for row in MEANINGS.values())


def routes(description: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, item in description["paths"].items():
        for method, operation in item.items():
            yield (method, path), operation


def branches(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for key in ("anyOf", "oneOf", "allOf") for each in schema.get(key, ())] or [schema]


def types(schema: dict[str, Any]) -> set[str]:
    found = set()
    for branch in branches(schema):
        if "$ref" in branch:
            found.add(branch["$ref"].removeprefix(REFERENCE))
        elif "const" in branch:
            found.add("string")
        else:
            found.add(str(branch.get("type", "ANYTHING")))
    return found


def loose(schema: Any, place: str, name: str) -> Iterator[str]:
    """The places inside of a schema that may hold anything."""
    for branch in branches(schema):
        if "$ref" in branch or "const" in branch:
            continue
        kind = branch.get("type")
        if kind is None:
            yield f"{place}: any value"
        elif kind == "array":
            if place not in ANY_JSON:
                yield from loose(branch.get("items", {}), f"{place}[]", name)
        elif kind == "object" and "properties" not in branch:
            inner = branch.get("additionalProperties", True)
            if name in FREE or place in ANY_JSON:
                continue
            if isinstance(inner, dict) and inner:
                yield from loose(inner, f"{place}.*", name)
            else:
                yield f"{place}: any object"


def test_every_field_has_its_type(description: dict[str, Any]) -> None:
    found = [
        where
        for title, schema in description["components"]["schemas"].items()
        for name, field in schema.get("properties", {}).items()
        for where in loose(field, f"{title}.{name}", name)
    ]
    assert not found


@pytest.mark.parametrize("title", FIELDS)
def test_documented_fields_have_the_documented_type(description: dict[str, Any], title: str) -> None:
    properties = description["components"]["schemas"][title]["properties"]
    assert {name: " ".join(sorted(types(properties[name]))) for name in FIELDS[title]} == FIELDS[title]


def test_every_model_and_field_is_described(description: dict[str, Any]) -> None:
    nameless = []
    for title, schema in description["components"]["schemas"].items():
        if not schema.get("description"):
            nameless.append(title)
        for name, field in schema.get("properties", {}).items():
            if not field.get("description"):
                nameless.append(f"{title}.{name}")
    assert not nameless


def test_every_route_says_what_it_does_and_shows_an_example(description: dict[str, Any]) -> None:
    wanting = []
    for route, operation in routes(description):
        if not operation.get("summary") or not operation.get("description"):
            wanting.append(f"{route}: words")
        for parameter in operation.get("parameters", ()):
            if not parameter.get("description"):
                wanting.append(f"{route} {parameter['name']}: words")
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = resolved(description, content["schema"])
            if not (content.get("example") or content.get("examples") or schema.get("examples")):
                wanting.append(f"{route}: an example of what is sent")
        good = next(operation["responses"][status] for status in ("200", "204") if status in operation["responses"])
        for kind, content in good.get("content", {}).items():
            schema = resolved(description, content["schema"])
            shown = content.get("example") or content.get("examples") or schema.get("examples")
            if not shown and schema.get("format") != "binary":
                wanting.append(f"{route}: an example of {kind}")
    assert not wanting


def resolved(description: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    return dict(description["components"]["schemas"][schema["$ref"].removeprefix(REFERENCE)])


@pytest.mark.parametrize("route", DOCUMENTED, ids=lambda route: route[1])
def test_documented_routes_have_their_fields_and_statuses(description: dict[str, Any], route: tuple[str, str]) -> None:
    wanted, fields = DOCUMENTED[route]
    operation = description["paths"][route[1]][route[0]]
    assert "x-extension" not in operation
    missing = {str(status) for status in wanted} - set(operation["responses"])
    if route[1] in PUBLIC_PATHS:
        missing -= {"401"}
    assert not missing
    answer = resolved(description, operation["responses"]["200"]["content"]["application/json"]["schema"])
    assert set(fields.split()) <= set(answer["properties"])


def test_routes_that_are_not_documented_are_marked(description: dict[str, Any]) -> None:
    marked = {route for route, operation in routes(description) if operation.get("x-extension")}
    assert marked == EXTENSIONS
    assert {route for route, _ in routes(description)} == marked | set(DOCUMENTED) | {("get", "/health")}


def test_every_error_of_every_route_has_the_uniform_body(description: dict[str, Any]) -> None:
    for route, operation in routes(description):
        always = set(ALWAYS) - ({401} if route[1] in PUBLIC_PATHS else set())
        assert {str(status) for status in always} <= set(operation["responses"]), route
        for status, response in operation["responses"].items():
            if int(status) < 300:
                continue
            assert response["description"], (route, status)
            names = types(response["content"]["application/json"]["schema"])
            model_info = route[1].startswith("/api/v1/get_model_info") and status == "404"
            assert names == {"ErrorResponse"} | ({"ModelInfoError"} if model_info else set()), (route, status)


def test_every_status_of_the_table_can_come_from_generate(description: dict[str, Any]) -> None:
    said = {int(status) for status in description["paths"]["/api/v1/generate"]["post"]["responses"]}
    assert statuses() | {200} <= said


def test_a_stream_is_described_by_its_events(description: dict[str, Any]) -> None:
    content = description["paths"]["/api/v1/generate"]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    stream = content["text/event-stream"]
    data = stream["schema"]["properties"]["data"]
    assert data["contentMediaType"] == "application/json" and types(data["contentSchema"]) == {"StreamChunk"}
    assert re.search(r"^data: \{.*\}$", str(stream.get("example")), re.M)


def test_the_key_is_a_header_and_public_routes_need_none(description: dict[str, Any]) -> None:
    scheme = description["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")
    assert description["security"] == [{"key": []}]
    for (_, path), operation in routes(description):
        assert (operation.get("security") == []) == (path in PUBLIC_PATHS), path


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, each in value.items():
                if key == "$ref":
                    yield each
                elif key not in ("example", "examples"):
                    yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    found = set(references(description))
    assert all(each.startswith(REFERENCE) for each in found), found
    known = set(description["components"]["schemas"])
    assert {each.removeprefix(REFERENCE) for each in found} <= known
    assert "HTTPValidationError" not in known


def test_every_reply_carries_the_id_of_its_request(description: dict[str, Any]) -> None:
    for operation in operations(description):
        for status, response in operation["responses"].items():
            assert "X-Request-ID" in response["headers"]
            assert ("Retry-After" in response["headers"]) == (status in ("408", "429", "503", "504"))


def test_no_words_are_left_for_fields_that_are_gone(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    fields = {f"{title}.{name}" for title, schema in schemas.items() for name in schema.get("properties", {})}
    assert set(OF_MODEL) <= fields
    assert set(WORDS) <= {each.partition(".")[2] for each in fields}
    assert set(EXAMPLES) <= set(schemas)


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_examples_are_what_the_models_take(title: str) -> None:
    model = getattr(models, title)
    assert model.model_validate(EXAMPLES[title])
    if issubclass(model, models.Answer):
        assert set(EXAMPLES[title]) == set(model.model_fields)


def test_operations_have_short_names_of_their_own(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(description)]
    assert len(set(names)) == len(names)
    assert {"generate", "tokenize", "list_bindings", "get_model_info", "health", "queue", "reload"} <= set(names)


def test_answers_have_all_of_their_fields(description: dict[str, Any]) -> None:
    for title in ("OutputData", "GenerateResponse", "StreamChunk", "ModelDetails", "GetModelInfoResponse"):
        schema = description["components"]["schemas"][title]
        assert set(schema["required"]) == set(schema["properties"]), title
    assert description["components"]["schemas"]["ErrorResponse"]["required"] == ["detail", "code", "request_id"]
