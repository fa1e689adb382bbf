"""What the API accepts is written down here: another route or parameter needs a look at what it opens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_server.app import ServerApp
from lollms_server.core.config import load_config
from lollms_server.middleware.guard import PUBLIC_PATHS
from tests.support.asgi_calls import Answer, acall, request_scope
from tests.support.both_routes import create_app
from tests.support.server import KEY, write_config

SURFACE = {
    "GET /api/v1/get_default_bindings": [],
    "GET /api/v1/get_model_info/{binding_instance_name}": ["path binding_instance_name", "query model_name"],
    "GET /api/v1/health": [],
    "GET /api/v1/list_active_bindings": [],
    "GET /api/v1/list_available_models/{binding_instance_name}": ["path binding_instance_name"],
    "GET /api/v1/list_bindings": [],
    "GET /api/v1/list_functions": [],
    "GET /api/v1/list_models": [],
    "GET /api/v1/list_personalities": [],
    "GET /api/v1/personality_icon/{personality_name}": ["path personality_name"],
    "GET /api/v1/queue": [],
    "GET /health": [],
    "DELETE /api/v1/requests/{request_id}": ["path request_id"],
    "POST /api/v1/count_tokens": [
        "body add_bos",
        "body add_eos",
        "body binding_name",
        "body model_name",
        "body text",
    ],
    "POST /api/v1/detokenize": ["body binding_name", "body model_name", "body tokens"],
    "POST /api/v1/embed": ["body binding_name", "body input", "body model_name"],
    "POST /api/v1/generate": [
        "body binding_name",
        "body functions",
        "body generation_type",
        "body input_data",
        "body model_name",
        "body parameters",
        "body personality",
        "body response_schema",
        "body stream",
        "body text_prompt",
        "body tools",
    ],
    "POST /api/v1/reload": [],
    "POST /api/v1/tokenize": ["body add_bos", "body add_eos", "body binding_name", "body model_name", "body text"],
}

WRITING = {
    ("POST", "/api/v1/generate"),
    ("POST", "/api/v1/tokenize"),
    ("POST", "/api/v1/detokenize"),
    ("POST", "/api/v1/count_tokens"),
    ("POST", "/api/v1/embed"),
    ("POST", "/api/v1/reload"),
    ("DELETE", "/api/v1/requests/{request_id}"),
}

SETTINGS = {
    *("security", "api_key", "api_keys", "allowed_api_keys", "encryption_key", "allow_unauthenticated"),
    *("allow_runtime_installs", "allow_pickle", "trust_remote_code", "server", "host", "port", "allowed_origins"),
    *("allowed_hosts", "paths", "path", "folder", "file", "url", "base_url", "headers", "limits", "enabled", "script"),
    *("script_path", "code", "config", "settings", "bindings_map", "defaults", "install", "requirements", "command"),
}
"""Names of fields with which a request could change what is safe."""

BODY = b'{"input_data": [{"type": "text", "role": "user_prompt", "data": "x"}]}'

ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    ("another header", {"headers": [("authorization", f"Bearer {KEY}")]}),
    ("basic", {"headers": [("authorization", f"Basic {KEY}")]}),
    ("a name like it", {"headers": [("x_api_key", KEY), ("api-key", KEY), ("x-api-keys", KEY), ("x-apikey", KEY)]}),
    ("twice", {"headers": [("x-api-key", KEY), ("x-api-key", KEY)]}),
    ("twice, once wrong", {"headers": [("x-api-key", "wrong-0123456789"), ("x-api-key", KEY)]}),
    ("two in one", {"headers": [("x-api-key", f"{KEY}, {KEY}")]}),
    ("a word before it", {"headers": [("x-api-key", f"Bearer {KEY}")]}),
    ("in quotes", {"headers": [("x-api-key", f'"{KEY}"')]}),
    ("in another case", {"headers": [("x-api-key", KEY.upper())]}),
    ("its beginning", {"headers": [("x-api-key", KEY[:-1])]}),
    ("with more", {"headers": [("x-api-key", KEY + "\0")]}),
    ("empty", {"headers": [("x-api-key", "")]}),
    ("a cookie", {"headers": [("cookie", f"X-API-Key={KEY}; api_key={KEY}; session={KEY}")]}),
    ("the query", {"query": f"x-api-key={KEY}&api_key={KEY}&key={KEY}&token={KEY}".encode()}),
    ("the body", {"body": b'{"api_key": "%b", "X-API-Key": "%b"}' % (KEY.encode(), KEY.encode())}),
    ("a trusted address", {"headers": [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")]}),
    ("another method meant", {"headers": [("x-http-method-override", "GET")]}),
    ("another path meant", {"headers": [("x-original-url", "/health"), ("x-rewrite-url", "/health")]}),
    ("a mount point", {"headers": [("x-forwarded-prefix", "/health"), ("x-script-name", "/health")]}),
]


@pytest.fixture
def app(tmp_path: Path) -> ServerApp:
    config = write_config(tmp_path, {"limits": {"failed_keys_per_minute": 100_000}})
    return create_app(load_config(config, environ={}))


def accepted(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Every parameter of an operation, with the place where it is given."""
    for parameter in operation.get("parameters", ()):
        yield f"{parameter['in']} {parameter['name']}"
    for content in operation.get("requestBody", {}).get("content", {}).values():
        name = content["schema"]["$ref"].rsplit("/", 1)[1]
        yield from (f"body {field}" for field in schemas[name]["properties"])


def test_the_parameters_of_every_route_are_these(app: ServerApp) -> None:
    said = app.api.openapi()
    schemas = said["components"]["schemas"]
    surface = {
        f"{method.upper()} {path}": sorted(accepted(operation, schemas))
        for path, item in said["paths"].items()
        for method, operation in item.items()
    }
    assert surface == SURFACE


def fields(schema: dict[str, Any], schemas: dict[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names of all fields that a schema has, at any depth."""
    if (name := schema.get("$ref", "").rsplit("/", 1)[-1]) and name not in seen:
        yield from fields(schemas[name], schemas, seen | {name})
    for field, inner in schema.get("properties", {}).items():
        yield field
        yield from fields(inner, schemas, seen)
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for inner in schema.get(word, ()):
            yield from fields(inner, schemas, seen)
    for word in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(word), dict):
            yield from fields(inner, schemas, seen)


def test_no_field_that_can_be_sent_is_a_setting(app: ServerApp) -> None:
    said = app.api.openapi()
    sent = set()
    for item in said["paths"].values():
        for operation in item.values():
            sent |= {parameter["name"] for parameter in operation.get("parameters", ())}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                sent |= set(fields(content["schema"], said["components"]["schemas"]))
    assert {"input_data", "mime_type", "functions", "add_bos", "binding_instance_name"} <= sent  # it has looked
    assert not sent & SETTINGS


def test_nothing_can_be_written_but_a_prompt_and_the_end_of_a_request(app: ServerApp) -> None:
    writing = {
        (method, route.path)
        for route in app.api.routes
        for method in getattr(route, "methods", None) or ()
        if method not in ("GET", "HEAD")
    }
    assert writing == WRITING


@pytest.mark.parametrize(("place", "given"), ELSEWHERE, ids=[place for place, _ in ELSEWHERE])
def test_a_key_anywhere_else_opens_no_route(app: ServerApp, place: str, given: dict[str, Any]) -> None:
    async def main() -> list[tuple[str, Answer]]:
        answers = []
        for route in app.api.routes:
            path = str(getattr(route, "path", ""))
            for method in sorted(getattr(route, "methods", None) or ()):
                if path not in PUBLIC_PATHS:
                    scope = request_scope(path.replace("{", "").replace("}", ""), method, given.get("headers", ()))
                    scope["query_string"] = given.get("query", b"")
                    body = given.get("body", BODY)
                    scope["headers"] += [(b"content-length", str(len(body)).encode())]
                    scope["headers"] += [(b"content-type", b"application/json")]
                    answers.append((f"{method} {path}", await acall(app, scope, [body])))
        return answers

    answers = asyncio.run(main())
    assert len(answers) >= 18
    for what, answer in answers:
        assert answer.status in (401, 403), (what, place)
        assert answer.json().keys() == {"detail", "code", "request_id"}
        assert KEY not in answer.body.decode()
