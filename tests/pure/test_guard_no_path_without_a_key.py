"""Everything but the frozen public paths needs a key, in the one header where keys are accepted."""

from __future__ import annotations

import asyncio
import json

import pytest

from lollms_server.core.keyring import KeyRing
from lollms_server.middleware.guard import PUBLIC_PATHS, guard
from tests.support.asgi_calls import Answer, acall, call, request_scope
from tests.support.guarded import KEY, guarded, settings
from tests.support.path_payloads import PATH_PAYLOADS

PROTECTED = [
    "/api/v1/generate",
    "/api/v1/list_models",
    "/api/v1/nothing-here",
    "/docs",
    "/openapi.json",
    "/redoc",
    "/health/",
    "//health",
    "/./health",
    "/health/../api/v1/generate",
    "/Health",
    "/HEALTH",
    "/health ",
    "/health\x00",
    "/health;x",
    "/health?x",
    "/health#x",
    "/health%2e",
    "/api/v1/health/",
    "/api//v1/health",
    "/api/v1/health/x",
    "",
    "*",
    "http://localhost/health",
    "/\u2025/health",
    "/ui/",
    "/ui/index.html",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "X"]


def test_the_public_paths_are_these_three() -> None:
    assert sorted(PUBLIC_PATHS) == ["/", "/api/v1/health", "/health"]
    app, recorder = guarded()
    for path in PUBLIC_PATHS:
        for method in ("GET", "HEAD"):
            assert call(app, path, method).status == 200
    assert len(recorder.scopes) == 6
    assert {scope["state"]["key_id"] for scope in recorder.scopes} == {"-"}


@pytest.mark.parametrize("path", PROTECTED)
def test_every_other_path_asks_for_a_key_whatever_the_method(path: str) -> None:
    app, recorder = guarded()
    for number, method in enumerate(METHODS):
        answer = call(app, path, method, client=f"10.0.0.{number}")
        assert answer.status == 403
        assert answer.json() == {
            "detail": "API Key required but not provided.",
            "code": "key_missing",
            "request_id": answer.header("x-request-id"),
        }
    assert recorder.scopes == []


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("GET", "HEAD")])
def test_the_public_paths_are_public_for_reading_only(method: str) -> None:
    app, recorder = guarded()
    for path in PUBLIC_PATHS:
        assert call(app, path, method).status == 403
    assert recorder.scopes == []


@pytest.mark.parametrize("prefix", ["", "/", "/health", "/health/", "/api/v1/health/", "/ui", "/ui/", "/ui/assets/"])
def test_no_twisted_path_becomes_public(prefix: str) -> None:
    config = settings(webui={"enable_ui": True})
    app, recorder = guarded(config=config)
    for number, payload in enumerate(PATH_PAYLOADS):
        path = prefix + payload
        if path in PUBLIC_PATHS:
            continue
        status = call(app, path, client=f"10.0.{number // 250}.{number % 250}").status
        if status == 200:
            assert path.startswith("/ui/")
            assert not {"", ".", ".."} & set(path.strip("/").split("/"))
            assert path.isascii() and path.isprintable() and not set(path) & set("\\:%~$*?|;&`(){}[]<>' ")
        else:
            assert status == 403
    assert all(scope["path"].startswith("/ui/") for scope in recorder.scopes)


def test_the_files_of_the_interface_are_public_only_when_it_is_switched_on() -> None:
    off, _ = guarded()
    on, _ = guarded(config=settings(webui={"enable_ui": True}))
    for path in ("/ui/", "/ui/index.html", "/ui/assets/app-1a2b.js", "/ui/a/b/c.css"):
        assert call(off, path).status == 403
        assert call(on, path).status == 200
        assert call(on, path, "POST").status == 403
    for path in ("/ui", "/uix/a", "/ui/.env", "/ui//a", "/ui/a//b", "/ui/../x", "/ui/a/../../x", "/UI/a", "/ui/a\n"):
        assert call(on, path, client="10.1.1.1").status in (403, 429)


@pytest.mark.parametrize("name", ["X-API-Key", "x-api-key", "X-Api-KEY"])
def test_the_key_opens(name: str) -> None:
    app, recorder = guarded()
    assert call(app, "/api/v1/list_models", headers={name: KEY}).status == 200
    assert recorder.scopes[0]["state"]["key_id"] == KeyRing([KEY]).check(KEY.encode())


WRONG_KEYS = [
    "wrong",
    KEY[:-1],
    KEY + "x",
    KEY + " ",
    " " + KEY,
    KEY.upper(),
    f"Bearer {KEY}",
    f"{KEY},{KEY}",
    f"{KEY}\x00",
    "\x00twice",
    "é" * 10,
    "k" * 60_000,
    *[payload for payload in PATH_PAYLOADS if payload.isascii() and payload][:40],
]


def test_a_wrong_key_is_refused_and_not_repeated() -> None:
    app, recorder = guarded()
    for number, key in enumerate(WRONG_KEYS):
        answer = call(app, "/api/v1/generate", headers={"X-API-Key": key}, client=f"10.0.0.{number}")
        assert answer.status == 401
        assert answer.json()["detail"] == "Invalid API Key provided."
        assert answer.header("www-authenticate")
    assert recorder.scopes == []


def refused(answer: Answer) -> bool:
    return answer.status in (401, 403)


def test_a_key_anywhere_else_does_not_open() -> None:
    app, recorder = guarded()
    elsewhere = [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": KEY},
        {"X_API_Key": KEY},
        {"X-API-Key ": KEY},
        {"API-Key": KEY},
        {"X-APIKey": KEY},
        {"Cookie": f"X-API-Key={KEY}"},
        {"X-Forwarded-User": "admin"},
        {"X-Original-URL": "/health"},
        {"X-Rewrite-URL": "/health"},
        {"X-Forwarded-Prefix": "/health"},
        {"X-HTTP-Method-Override": "GET"},
        {"Referer": f"http://localhost/?key={KEY}"},
        {"Sec-WebSocket-Protocol": KEY},
        {"X-API-Key": ""},
    ]
    for number, headers in enumerate(elsewhere):
        assert refused(call(app, "/api/v1/generate", headers=headers, client=f"10.0.1.{number}")), headers
    scope = request_scope("/api/v1/generate")
    scope["query_string"] = f"X-API-Key={KEY}&api_key={KEY}&key={KEY}".encode()
    assert refused(asyncio.run(acall(app, scope)))
    body = json.dumps({"X-API-Key": KEY, "api_key": KEY}).encode()
    assert refused(call(app, "/api/v1/generate", "POST", {"Content-Type": "application/json"}, body))
    assert recorder.scopes == []


@pytest.mark.parametrize("values", [(KEY, KEY), (KEY, "wrong"), ("wrong", KEY), (KEY, ""), ("", KEY), (KEY, KEY, KEY)])
def test_a_repeated_key_header_is_refused(values: tuple[str, ...]) -> None:
    app, recorder = guarded()
    answer = call(app, "/api/v1/generate", headers=[("X-API-Key", value) for value in values])
    assert answer.status == 401
    assert recorder.scopes == []


@pytest.mark.parametrize("raw_path", [b"/health", b"/", b"/api/v1/health"])
def test_only_the_decoded_path_decides(raw_path: bytes) -> None:
    app, recorder = guarded()
    scope = request_scope("/api/v1/generate")
    scope["raw_path"] = raw_path
    scope["root_path"] = "/health"
    assert refused(asyncio.run(acall(app, scope)))
    assert recorder.scopes == []


def test_websockets_need_a_key_too() -> None:
    app, recorder = guarded()
    for path in ("/ws", "/health", "/", "/api/v1/health"):
        answer = asyncio.run(acall(app, request_scope(path, kind="websocket")))
        assert [message["type"] for message in answer.messages] == ["websocket.close"]
    scope = request_scope("/ws", kind="websocket")
    scope["extensions"] = {"websocket.http.response": {}}
    answer = asyncio.run(acall(app, scope))
    assert answer.messages[0]["status"] == 403
    assert b"key_missing" in answer.messages[1]["body"]
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        opened = request_scope("/ws", headers={"X-API-Key": KEY, **headers}, kind="websocket")
        assert asyncio.run(acall(app, opened)).messages[0]["type"] == "websocket.close"
    assert recorder.scopes == []
    opened = request_scope("/ws", headers={"X-API-Key": KEY}, kind="websocket")
    assert asyncio.run(acall(app, opened)).messages[0]["type"] == "websocket.accept"


def test_a_connection_of_an_unknown_kind_is_not_let_through() -> None:
    app, recorder = guarded()
    with pytest.raises(RuntimeError, match="does not know"):
        asyncio.run(acall(app, request_scope("/health", kind="webtransport")))
    assert recorder.scopes == []


def test_without_configured_keys_none_is_asked_for() -> None:
    config = settings(security={"allowed_api_keys": []})
    app, recorder = guarded(config=config)
    assert call(app, "/api/v1/list_models").status == 200
    assert recorder.scopes[0]["state"]["key_id"] == "-"


def test_keys_taken_away_while_running_close_the_door() -> None:
    config, keys = settings(), KeyRing([KEY])
    _, recorder = guarded()
    app = guard(recorder, config=config, keys=keys)
    assert call(app, "/x", headers={"X-API-Key": KEY}).status == 200
    keys.replace([])
    assert call(app, "/x", headers={"X-API-Key": KEY}).status == 401
    assert call(app, "/x").status == 403
