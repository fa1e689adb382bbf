"""No route answers without a key except the frozen public ones, whatever else the request says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from lollms_server.middleware.guard import PUBLIC_PATHS
from tests.support.full_house import House, full_house
from tests.support.raw_http import Answer, ask, prompt
from tests.support.server import PortsBinding, Served, running_server

PUBLIC = {"/", "/health", "/api/v1/health"}

NAMES = {"{binding_instance_name}": "main", "{personality_name}": "lollms", "{request_id}": "0123456789abcdef"}

BODIES: dict[str, Any] = {
    "/api/v1/generate": prompt("x"),
    "/api/v1/tokenize": {"text": "x"},
    "/api/v1/count_tokens": {"text": "x"},
    "/api/v1/detokenize": {"tokens": [1]},
    "/api/v1/embed": {"input": "x"},
    "/api/v1/reload": {},
}
"""Bodies that do their work where there is a key."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with full_house(limits={"failed_keys_per_minute": 100_000}, webui={"enable_ui": True}) as running:
        yield running


@pytest.fixture(scope="module")
def server(house: House) -> Served:
    return house.server


def all_routes(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route, those inside of mounts and routers included."""
    for route in routes:
        if isinstance(route, Route):
            for method in sorted(route.methods or {"GET"}):
                yield method, prefix + route.path
        elif isinstance(route, WebSocketRoute):
            yield "WEBSOCKET", prefix + route.path
        elif isinstance(route, Mount):
            yield from all_routes(list(route.routes), prefix + route.path)
        else:
            raise AssertionError(f"a kind of route that this test does not know: {route!r}")


def filled(path: str) -> str:
    for name, value in NAMES.items():
        path = path.replace(name, value)
    assert "{" not in path, f"say what stands for the parameter of {path}"
    return path


def routes_of(server: Served) -> list[tuple[str, str]]:
    """Every route but the public ones, with its parameters filled in."""
    found = [(method, path) for method, path in all_routes(server.app.api.routes) if path not in PUBLIC]
    assert {path for method, path in found if method == "POST"} == set(BODIES)
    return [(method, filled(path)) for method, path in found]


def try_with(server: Served, method: str, path: str, headers: dict[str, str]) -> Answer:
    return ask(server.port, method, path, BODIES.get(path), headers)


def test_the_public_set_is_what_it_is() -> None:
    assert PUBLIC_PATHS == PUBLIC


def test_the_public_routes_answer(server: Served) -> None:
    for path in PUBLIC:
        assert ask(server.port, "GET", path).status == 200, path


def test_every_route_but_the_public_ones_asks_for_a_key(server: Served) -> None:
    routes = routes_of(server)
    assert len(routes) >= 18
    asked = server.on_loop(lambda: len(server.services.registry))
    for method, path in routes:
        bare = try_with(server, method, path, {})
        wrong = try_with(server, method, path, {"X-API-Key": "wrong-key-0123456789"})
        assert (bare.status, wrong.status) == (403, 401), (method, path)
        if method != "HEAD":
            assert bare.json().keys() == wrong.json().keys() == {"detail", "code", "request_id"}
    assert asked == server.on_loop(lambda: len(server.services.registry)) == 0


def test_every_one_of_them_answers_with_a_key(server: Served) -> None:
    """Otherwise the test above might look at routes that refuse everybody."""
    for method, path in routes_of(server):
        answer = try_with(server, method, path, server.headers)
        assert answer.status in (200, 404 if method == "DELETE" else 200), (method, path, answer)


def test_a_key_in_the_query_the_body_or_another_header_opens_none(server: Served) -> None:
    key = server.key
    for method, path in routes_of(server):
        body = {**BODIES.get(path, {}), "api_key": key, "X-API-Key": key, "key": key} if method == "POST" else None
        for query in ("", f"?X-API-Key={key}&api_key={key}&key={key}&token={key}"):
            for headers in (
                {},
                {"Authorization": f"Bearer {key}"},
                {"X-Api-Keys": key, "Api-Key": key, "X_API_Key": key, "Cookie": f"X-API-Key={key}"},
                {"X-Original-URL": "/health", "X-HTTP-Method-Override": "GET", "X-Forwarded-For": "127.0.0.1"},
            ):
                answer = ask(server.port, method, path + query, body, headers)
                assert answer.status == 403, (method, path, query, headers)


def test_paths_without_a_route_ask_for_a_key_too(server: Served) -> None:
    for path in ("/nope", "/api/v1/nope", "/health/../api/v1/generate", "//health", "/HEALTH", "/health%2f", "/docs"):
        assert ask(server.port, "GET", path).status in (401, 403), path


@pytest.mark.parametrize("path", ["/", "/health", "/api/v1/generate", "/openapi.json", "/nope"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", ""]
)
def test_a_foreign_host_header_is_421_everywhere(server: Served, path: str, host: str) -> None:
    method, body = ("POST", prompt("x")) if path.endswith("generate") else ("GET", None)
    answer = ask(server.port, method, path, body, {**server.headers, "Host": host})
    assert answer.status == 421, answer
    assert answer.json()["code"] == "host_refused"


def test_there_are_no_websockets_and_no_mounts_yet(server: Served) -> None:
    assert not [path for method, path in all_routes(server.app.api.routes) if method == "WEBSOCKET"]
    assert not [route for route in server.app.api.routes if isinstance(route, Mount)]


def test_no_path_opens_a_websocket(server: Served) -> None:
    upgrade = {
        "Connection": "Upgrade, close",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for path in {path for _, path in routes_of(server)}:
        answer = ask(server.port, "GET", path, None, upgrade)
        assert answer.status == 403, (path, answer)
        assert ask(server.port, "GET", path, None, {**upgrade, **server.headers}).status != 101, path


def test_without_keys_in_the_configuration_none_is_asked_for() -> None:
    config = {"security": {"allowed_api_keys": []}, "defaults": {"ttt_binding": "main"}}
    with running_server({"main": PortsBinding(lambda call: "fine")}, config) as server:
        assert ask(server.port, "POST", "/api/v1/generate", prompt("x")).status == 200
        assert ask(server.port, "GET", "/health").json()["api_key_required"] is False
