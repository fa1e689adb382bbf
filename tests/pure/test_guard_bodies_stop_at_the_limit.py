"""A body over the limit is refused before or while it is read; the application never holds more than the limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lollms_server.middleware import exchange
from tests.support.asgi_calls import acall, call, request_scope
from tests.support.guarded import KEY, guarded, settings

LIMIT = 4096
JSON = {"X-API-Key": KEY, "Content-Type": "application/json"}
CONFIG = settings(limits={"max_body_bytes": LIMIT})


@pytest.mark.parametrize("length", [str(LIMIT + 1), "1000000000", "9" * 400])
def test_a_stated_length_over_the_limit_is_refused_unread(length: str) -> None:
    app, recorder = guarded(config=CONFIG)
    answer = call(app, "/api/v1/generate", "POST", {**JSON, "Content-Length": length}, b"{")
    assert (answer.status, answer.json()["code"]) == (413, "payload_too_large")
    assert str(LIMIT) in answer.json()["detail"]
    assert answer.header("connection") == "close"
    assert recorder.scopes == []


@pytest.mark.parametrize("length", ["-1", "+5", "0x10", "5.0", "1e3", "", " 5", "५", "5, 5"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    app, recorder = guarded(config=CONFIG)
    headers = {**JSON, "Content-Length": length.encode("utf-8").decode("latin-1")}
    assert call(app, "/api/v1/generate", "POST", headers, b"{}").status == 400
    twice = [*JSON.items(), ("content-length", "2"), ("content-length", "2")]
    assert call(app, "/api/v1/generate", "POST", twice, b"{}").status == 400
    assert recorder.scopes == []


@pytest.mark.parametrize("headers", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "10"}])
@pytest.mark.parametrize("part", [1, 100, LIMIT - 1, LIMIT + 1])
def test_an_unstated_or_wrong_length_is_counted(headers: dict[str, str], part: int) -> None:
    app, recorder = guarded(config=CONFIG)
    parts = [b"x" * part] * (4 * LIMIT // part)
    scope = request_scope("/api/v1/generate", "POST", {**JSON, **headers})
    answer = asyncio.run(acall(app, scope, parts))
    assert answer.status == 413
    assert answer.json()["code"] == "payload_too_large"
    assert recorder.received <= LIMIT
    assert recorder.disconnects == 1
    assert [m["type"] for m in answer.messages].count("http.response.start") == 1
    assert not answer.messages[-1].get("more_body", False)


def test_a_body_at_the_limit_passes_whole() -> None:
    app, recorder = guarded(config=CONFIG)
    assert call(app, "/x", "POST", JSON, b"x" * LIMIT).body == str(LIMIT).encode()
    scope = request_scope("/x", "POST", {**JSON, "Transfer-Encoding": "chunked"})
    assert asyncio.run(acall(app, scope, [b"x" * (LIMIT // 4)] * 4)).status == 200
    assert recorder.received == 2 * LIMIT


def test_an_endless_body_ends_with_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    app, recorder = guarded(config=CONFIG)
    asked = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(request_scope("/x", "POST", {**JSON, "Transfer-Encoding": "chunked"}), receive, send))
    assert sent[0]["status"] == 413
    assert asked <= 2 + exchange._DRAIN_BYTES // 65536
    assert recorder.received == 0


def test_a_client_that_stays_silent_after_a_refusal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_DRAIN_SECONDS", 0.01)
    app, _ = guarded(config=CONFIG)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: dict[str, Any]) -> None:
        sent.append(dict(message))

    scope = request_scope("/x", "POST", {**JSON, "Content-Length": str(LIMIT * 2)})
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))
    assert [sent[0]["status"], sent[-1]["more_body"]] == [413, False]


def test_a_refused_key_does_not_make_us_keep_the_body() -> None:
    app, recorder = guarded(config=CONFIG)
    scope = request_scope("/x", "POST", {**JSON, "X-API-Key": "wrong", "Content-Length": "1000"})
    answer = asyncio.run(acall(app, scope, [b"x" * 100] * 10))
    assert answer.status == 401
    assert answer.header("connection") == "close"
    assert recorder.received == 0


def test_a_reply_that_has_begun_is_broken_off_when_the_body_goes_over() -> None:
    async def eager(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    app, _ = guarded(eager, config=CONFIG)
    scope = request_scope("/x", "POST", {**JSON, "Transfer-Encoding": "chunked"})
    answer = asyncio.run(acall(app, scope, [b"x" * 1000] * 10))
    assert answer.status == 200
    assert answer.messages[-1].get("more_body") is True
    assert b"end" not in answer.body
