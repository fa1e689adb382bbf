"""No text of a request becomes a path: whatever it says, no file is opened and no folder is looked into.

Which texts a request can hold is read from the OpenAPI, so that a new parameter is tried as soon as it is there. Each
is tried on an application with shipped personalities, scripts and functions, an instance that answers, and one that
runs models from files.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typing_extensions import override

import lollms_server
from lollms_server.app import ServerApp
from lollms_server.core.bindings import Surroundings
from lollms_server.core.config import load_config
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.zoos.bindings.llamacpp_binding import LlamaCppBinding
from tests.support.asgi_calls import Answer, request_scope
from tests.support.both_routes import create_app
from tests.support.full_house import EchoBinding
from tests.support.path_payloads import PATH_PAYLOADS, SENTINEL
from tests.support.server import KEY, write_config

WATCHED = ("open", "os.listdir", "os.scandir", "os.open", "os.mkdir", "os.remove", "os.rename", "subprocess.Popen")
OUR_SOURCE = str(Path(lollms_server.__file__).parent / "api")  # FastAPI looks a route up for its error messages
NAMES = {"binding_instance_name": "main", "personality_name": "lollms", "request_id": "0123456789abcdef"}

BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/generate": {
        "input_data": [{"type": "text", "role": "user_prompt", "data": "x", "mime_type": "text/plain", "metadata": {}}],
        "text_prompt": "x",
        "personality": "lollms",
        "binding_name": "main",
        "model_name": "m",
        "generation_type": "ttt",
        "parameters": {},
        "functions": ["text.count"],
        "tools": [{"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}],
        "response_schema": None,
    },
    "/api/v1/tokenize": {"text": "x", "binding_name": "main", "model_name": "m"},
    "/api/v1/count_tokens": {"text": "x", "binding_name": "main", "model_name": "m"},
    "/api/v1/detokenize": {"tokens": [1], "binding_name": "main", "model_name": "m"},
    "/api/v1/embed": {"input": ["x"], "binding_name": "main", "model_name": "m"},
}
"""Complete bodies, in which one text after the other is replaced."""

Way = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a request can hold a text: `way` leads to it in a body; in a path or query it is one name."""

    method: str
    path: str
    kind: str
    way: Way

    @property
    def name(self) -> str:
        return f"{self.method} {self.path} {self.kind} {'.'.join(map(str, self.way))}"


class Watch:
    """The file events of this process while it is on. An audit hook cannot be taken away, so it is switched."""

    def __init__(self) -> None:
        for encoding in ("utf-16-le", "utf-16-be", "idna", "punycode"):  # modules that Python opens at first use
            "".encode(encoding)
        self.on = False
        self.seen: list[tuple[str, str]] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, details: tuple[Any, ...]) -> None:
        if self.on and event in WATCHED and not str(details[0]).startswith(OUR_SOURCE):
            self.seen.append((event, repr(details)[:200]))


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


class Sleeping(LlamaCppBinding):
    """The binding to local models, without starting one."""

    @override
    async def start(self) -> None:
        return


# ---- where texts can be ----------------------------------------------------------------------------------------------


def texts_in(schema: dict[str, Any], schemas: dict[str, Any], way: Way = ()) -> Iterator[Way]:
    """Where in a body texts, or objects with any names, can be."""
    if name := schema.get("$ref", "").rsplit("/", 1)[-1]:
        yield from texts_in(schemas[name], schemas, way)
    for word in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(word, ()):
            yield from texts_in(inner, schemas, way)
    if schema.get("type") == "string":
        yield way
    elif schema.get("type") == "array":
        yield from texts_in(schema["items"], schemas, (*way, 0))
    elif schema.get("type") == "object" and "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from texts_in(inner, schemas, (*way, name))
    elif schema.get("type") == "object":
        yield way


def places(description: dict[str, Any]) -> Iterator[Place]:
    """Every place of a text in every request that the OpenAPI describes."""
    schemas = description["components"]["schemas"]
    for path, item in description["paths"].items():
        for method, operation in item.items():
            for parameter in operation.get("parameters", ()):
                yield Place(method.upper(), path, parameter["in"], (parameter["name"],))
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for way in dict.fromkeys(texts_in(content["schema"], schemas)):
                    yield Place(method.upper(), path, "body", way)


ROUTES = [
    ("GET", "/api/v1/get_model_info/{binding_instance_name}"),
    ("GET", "/api/v1/list_available_models/{binding_instance_name}"),
    ("GET", "/api/v1/personality_icon/{personality_name}"),
    ("DELETE", "/api/v1/requests/{request_id}"),
    *(("POST", path) for path in BODIES),
]
FREE = {"data", "mime_type", "metadata", "text_prompt", "parameters", "description", "response_schema", "text", "input"}
"""Texts and objects that may be anything: a request with them can be answered."""


def app_of(folder: Path) -> tuple[ServerApp, Sleeping]:
    (folder / "sentinel.txt").write_text(SENTINEL, encoding="utf-8")
    (folder / "sentinel.gguf").write_text(SENTINEL, encoding="utf-8")
    sleeping = Sleeping({"default_model": "lollms-nano"}, ResourceManager())
    config = {"defaults": {"ttt_binding": "main"}, "webui": {"enable_ui": True}}
    loaded = load_config(write_config(folder, config), environ={}, further=("main", "local"))
    return create_app(loaded, bindings={"main": EchoBinding(), "local": sleeping}), sleeping


async def started(app: ServerApp, folder: Path) -> None:
    """Everything is loaded, so that what is opened later is opened for a request."""
    house = app.services
    await house.functions.start()
    await house.functions.settled()
    await house.personalities.start()
    await house.manager.start(Surroundings(folder))
    for name in ("main", "local"):
        await house.manager.get(name)
    for personality in house.personalities.personalities.values():
        if personality.is_scripted:
            await house.personalities.workflow_of(personality)


async def stopped(app: ServerApp) -> None:
    await app.services.manager.stop()
    await app.services.functions.stop()
    await app.services.personalities.stop()


def with_text(place: Place, text: str, instance: str) -> tuple[str, bytes, bytes]:
    """Path, query and body of a request that holds the text at this place."""
    names = {**NAMES, "binding_instance_name": instance}
    body = copy.deepcopy(BODIES.get(place.path))
    query = b""
    if place.kind == "path":
        names[str(place.way[0])] = text
    elif place.kind == "query":
        query = f"{place.way[0]}=".encode() + "".join(f"%{byte:02x}" for byte in text.encode()).encode()
    elif body is not None:
        if instance == "local":  # else a script and its own functions answer
            body = {name: each for name, each in body.items() if name not in ("personality", "functions")}
        body["binding_name"] = instance
        _put(body, place.way, text)
    path = place.path
    for name, value in names.items():
        path = path.replace("{" + name + "}", value)
    return path, query, b"" if body is None else json.dumps(body).encode()


def _put(body: dict[str, Any], way: Way, text: str) -> None:
    """Put a text where `way` leads to; in the place of an object, one with the text as name and value."""
    at: Any = body
    for step in way[:-1]:
        at = at[step]
    is_object = way[-1] in ("metadata", "parameters", "response_schema")
    at[way[-1]] = {"$ref": text, "file": text, "model_path": text, text: text} if is_object else text


async def ask(app: ServerApp, watch: Watch, method: str, path: str, query: bytes = b"", body: bytes = b"") -> Answer:
    """One request, of a caller that stays; files are watched meanwhile."""
    headers = {"x-api-key": KEY}
    if body:
        headers |= {"content-type": "application/json", "content-length": str(len(body))}
    scope = request_scope(path, method, headers)
    scope["query_string"] = query
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
    answer = Answer()

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    async def send(message: dict[str, Any]) -> None:
        answer.messages.append(dict(message))

    watch.on = True
    try:
        await app(scope, receive, send)
    finally:
        watch.on = False
    return answer


@pytest.fixture
def description(tmp_path: Path) -> dict[str, Any]:
    app, _ = app_of(tmp_path)
    return app.api.openapi()


def test_every_route_that_takes_a_text_is_tried(description: dict[str, Any]) -> None:
    found = list(places(description))
    assert {(place.method, place.path) for place in found} == set(ROUTES)
    ways = {place.name for place in found}
    for way in ("personality", "functions.0", "input_data.0.role", "input_data.0.mime_type", "tools.0.function.name"):
        assert f"POST /api/v1/generate body {way}" in ways
    assert "GET /api/v1/get_model_info/{binding_instance_name} query model_name" in ways
    assert len(PATH_PAYLOADS) >= 200


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[path.split("/")[3] for _, path in ROUTES])
def test_no_text_of_a_request_opens_a_file(
    tmp_path: Path, watch: Watch, description: dict[str, Any], method: str, path: str
) -> None:
    payloads = [*PATH_PAYLOADS, *(str(tmp_path / f"sentinel.{end}") for end in ("txt", "gguf")), "../sentinel.gguf"]
    app, sleeping = app_of(tmp_path)
    tried = [place for place in places(description) if (place.method, place.path) == (method, path)]

    async def main() -> None:
        await started(app, tmp_path)
        for place in tried:
            for instance in ("main", "local") if place.way[-1] == "model_name" else ("main",):
                # No name at all means the model that is configured, whose file may be opened.
                for text in payloads if instance == "main" else filter(None, payloads):
                    answer = await ask(app, watch, method, *with_text(place, text, instance))
                    case = (place.name, instance, text, answer.body[:300])
                    assert answer.status in (200, 400, 404, 405, 422, 501), case
                    assert SENTINEL.encode() not in answer.body, case
                    if answer.status != 200:
                        assert {"detail", "code", "request_id"} <= answer.json().keys(), case
        await stopped(app)

    watch.seen.clear()
    asyncio.run(main())
    assert not watch.seen
    assert sleeping.engine.state == "stopped"


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/ui/"), ("GET", "/api/v1/"), ("GET", "/openapi")])
def test_no_other_path_opens_a_file(tmp_path: Path, watch: Watch, method: str, path: str) -> None:
    app, _ = app_of(tmp_path)

    async def main() -> None:
        for text in [*PATH_PAYLOADS, str(tmp_path / "sentinel.txt"), "../sentinel.txt"]:
            answer = await ask(app, watch, method, path + text)
            assert answer.status in (200, 404, 405, 422), (text, answer.body)
            assert answer.status != 200 or path + text == "/"
            assert SENTINEL.encode() not in answer.body

    watch.seen.clear()
    asyncio.run(main())
    assert not watch.seen
