"""No route answers without a key except the frozen public ones, whatever else the request says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from lollms_server.middleware.guard import PUBLIC_PATHS
from tests.support.raw_http import ask, prompt
from tests.support.server import PortsBinding, Served, running_server

PUBLIC = {"/", "/health", "/api/v1/health"}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with running_server({"main": PortsBinding(lambda call: "fine")}) as served:
        yield served


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
    return path.replace("{request_id}", "0123456789abcdef").replace("{binding_instance_name}", "main")


def test_the_public_set_is_what_it_is() -> None:
    assert PUBLIC_PATHS == PUBLIC


def test_every_route_but_the_public_ones_asks_for_a_key(server: Served) -> None:
    routes = list(all_routes(server.app.api.routes))
    assert {("POST", "/api/v1/generate"), ("DELETE", "/api/v1/requests/{request_id}"), ("GET", "/openapi.json")} <= set(
        routes
    )
    protected = 0
    for method, path in routes:
        body: Any = prompt("x") if method == "POST" else None
        bare = ask(server.port, method, filled(path), body)
        wrong = ask(server.port, method, filled(path), body, {"X-API-Key": "wrong-key-0123456789"})
        if path in PUBLIC:
            assert bare.status == 200, (method, path)
            continue
        protected += 1
        assert (bare.status, wrong.status) == (403, 401) or 429 in (bare.status, wrong.status), (method, path)
        assert b"detail" in bare.body or method == "HEAD"
    assert protected >= 8


def test_paths_without_a_route_ask_for_a_key_too(server: Served) -> None:
    for path in ("/nope", "/api/v1/nope", "/health/../api/v1/generate", "//health", "/HEALTH", "/health%2f", "/docs"):
        assert ask(server.port, "GET", path).status in (401, 403, 429), path


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


def test_without_keys_in_the_configuration_none_is_asked_for() -> None:
    config = {"security": {"allowed_api_keys": []}, "defaults": {"ttt_binding": "main"}}
    with running_server({"main": PortsBinding(lambda call: "fine")}, config) as server:
        assert ask(server.port, "POST", "/api/v1/generate", prompt("x")).status == 200
        assert ask(server.port, "GET", "/health").json()["api_key_required"] is False
