"""A web page of another origin, or a name that only points here, gets nothing: not the answer, not the effect."""

from __future__ import annotations

import pytest

from tests.support.asgi_calls import call
from tests.support.guarded import KEY, guarded, settings

AUTH = {"X-API-Key": KEY}
PATHS = ["/", "/health", "/api/v1/health", "/api/v1/generate", "/ui/index.html", "/nothing"]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:9601",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost\\.evil.example",
    "localhost:9601:9601",
    "localhost, evil.example",
    "localhost:port",
    "localhost:0",
    "[::1].evil.example",
    "[::1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "127.0.0.1.",
    "localhost.",
    "192.168.1.5",
    "0.0.0.0",
    "[::]",
    "example.org",
    " localhost",
    "localhost\t",
    "localhost\x00",
    "l\u00f6calhost",
]
OWN_HOSTS = ["localhost", "LOCALHOST:9601", "127.0.0.1", "127.0.0.1:1234", "[::1]", "[::1]:9601", "127.8.8.8"]
FOREIGN_ORIGINS = [
    "http://evil.example",
    "https://evil.example:9601",
    "null",
    "",
    "*",
    "http://localhost.evil.example",
    "http://localhost:9601.evil.example",
    "http://localhost:8001",
    "https://localhost:8000",
    "http://127.0.0.1:9602",
    "http://localhost:9601/",
    "http://user@localhost:9601",
    "HTTP://LOCALHOST",
    "file://",
    "chrome-extension://abc",
    "http://localhost http://evil.example",
]
OWN_ORIGINS = ["http://localhost", "http://localhost:8000", "http://127.0.0.1:5173", "http://localhost:9601"]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_host_that_is_not_ours_gets_421_on_every_path(host: str) -> None:
    app, recorder = guarded(config=settings(webui={"enable_ui": True}))
    for path in PATHS:
        answer = call(app, path, headers={"Host": host, **AUTH})
        assert (answer.status, answer.json()["code"]) == (421, "host_refused")
        assert answer.header("access-control-allow-origin") is None
    assert recorder.scopes == []


def test_no_host_or_two_of_them_get_421() -> None:
    app, recorder = guarded()
    assert call(app, "/health", headers=[("host", "")]).status == 421
    assert call(app, "/health", headers=[("host", "localhost"), ("host", "localhost")]).status == 421
    assert call(app, "/health", headers=[("host", "localhost"), ("host", "evil.example")]).status == 421
    assert recorder.scopes == []


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_our_own_names_are_served(host: str) -> None:
    app, _ = guarded()
    assert call(app, "/api/v1/list_models", headers={"Host": host, **AUTH}).status == 200


def test_a_hostile_host_does_not_make_a_path_public() -> None:
    app, recorder = guarded(config=settings(server={"host": "0.0.0.0"}))
    for host in ("10.0.0.1/health?", "localhost/health?x=", "localhost#", "localhost/"):
        assert call(app, "/api/v1/generate", headers={"Host": host}).status == 421
    assert call(app, "/api/v1/generate", headers={"Host": "localhost"}).status == 403
    assert recorder.scopes == []


def test_beyond_loopback_addresses_count_and_names_must_be_configured() -> None:
    config = settings(server={"host": "0.0.0.0", "allowed_hosts": ["chat.example.org", "MyBox"]})
    app, _ = guarded(config=config)
    for host in (
        "192.168.1.5:9601",
        "10.0.0.1",
        "[fe80::1]",
        "chat.example.org",
        "CHAT.example.org:443",
        "mybox",
        "localhost",
    ):
        assert call(app, "/health", headers={"Host": host}).status == 200, host
    for host in ("evil.example", "example.org", "x.chat.example.org", "chat.example.org.evil.example", "mybox.local"):
        assert call(app, "/health", headers={"Host": host}).status == 421, host


def test_the_memory_of_accepted_hosts_is_bounded() -> None:
    app, _ = guarded()
    for port in range(1, 2000):
        assert call(app, "/health", headers={"Host": f"localhost:{port}"}).status == 200
    assert len(app._hosts._accepted) <= 256


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_a_foreign_page_is_refused_everywhere_and_cannot_read_the_refusal(origin: str, method: str) -> None:
    app, recorder = guarded(config=settings(server={"allowed_origins": [*OWN_ORIGINS[:3], "null"]}))
    preflight = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
    for path in PATHS:
        answer = call(app, path, method, {"Origin": origin, **AUTH, **preflight})
        assert (answer.status, answer.json()["code"]) == (403, "origin_refused")
        for message in answer.messages:
            assert not any(name.startswith(b"access-control-") for name, _ in message.get("headers", ()))
    assert recorder.scopes == []


def test_two_origins_are_refused() -> None:
    app, _ = guarded()
    two = [("Origin", OWN_ORIGINS[0]), ("Origin", OWN_ORIGINS[0])]
    assert call(app, "/health", headers=two).status == 403


@pytest.mark.parametrize("origin", OWN_ORIGINS)
def test_an_allowed_page_is_served_without_credentials(origin: str) -> None:
    app, _ = guarded()
    for path, headers in (("/health", {}), ("/api/v1/x", AUTH), ("/api/v1/x", {})):
        answer = call(app, path, headers={"Origin": origin, "Sec-Fetch-Site": "same-site", **headers})
        assert answer.status == (403 if path != "/health" and not headers else 200)
        assert answer.header("vary") == "Origin"
        assert answer.header("access-control-allow-credentials") is None
        own = origin == "http://localhost:9601"  # our own page reads without CORS
        assert answer.header("access-control-allow-origin") == (None if own else origin)


def test_the_browser_is_told_what_an_allowed_page_may_send() -> None:
    app, recorder = guarded()
    asks = {
        "Origin": OWN_ORIGINS[1],
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    answer = call(app, "/api/v1/generate", "OPTIONS", asks)
    assert answer.status == 204 and answer.body == b""
    assert answer.header("access-control-allow-origin") == OWN_ORIGINS[1]
    assert "X-API-Key" in (answer.header("access-control-allow-headers") or "")
    assert "POST" in (answer.header("access-control-allow-methods") or "")
    assert recorder.scopes == []
    assert call(app, "/api/v1/generate", "OPTIONS", {"Origin": OWN_ORIGINS[1]}).status == 403


def test_without_an_origin_the_browser_still_tells_where_a_request_comes_from() -> None:
    app, recorder = guarded()
    for site in ("cross-site", "same-site", "CROSS-SITE", "other", ""):
        for path in ("/api/v1/generate", "/health"):
            assert call(app, path, headers={"Sec-Fetch-Site": site, **AUTH}).status == 403
    assert recorder.scopes == []
    for site in ("same-origin", "none"):
        assert call(app, "/api/v1/list_models", headers={"Sec-Fetch-Site": site, **AUTH}).status == 200


def test_a_link_to_a_public_page_may_be_followed() -> None:
    app, _ = guarded()
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert call(app, "/", headers=link).status == 200
    assert call(app, "/", "POST", link).status == 403
    assert call(app, "/api/v1/list_models", headers={**link, **AUTH}).status == 403


SIMPLE = [
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/plain; x=application/json",
]


@pytest.mark.parametrize(
    "kind", [*SIMPLE, "", "application/jsonx", "application/json, text/plain", "text/json", "json"]
)
def test_what_a_form_can_send_is_not_a_body(kind: str) -> None:
    app, recorder = guarded()
    for method in ("POST", "PUT", "PATCH"):
        answer = call(app, "/api/v1/generate", method, {**AUTH, "Content-Type": kind}, b"{}")
        assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")
    assert recorder.scopes == []


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "utf-7"])
def test_json_in_another_encoding_is_not_a_body(charset: str) -> None:
    app, _ = guarded()
    headers = {**AUTH, "Content-Type": f"application/json; charset={charset}"}
    assert call(app, "/api/v1/generate", "POST", headers, b"{}").status == 415


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_json_is_a_body(kind: str) -> None:
    app, _ = guarded()
    assert call(app, "/api/v1/generate", "POST", {**AUTH, "Content-Type": kind}, b"{}").status == 200


def test_a_missing_or_repeated_content_type_is_refused_and_no_body_needs_none() -> None:
    app, _ = guarded()
    assert call(app, "/x", "POST", AUTH, b"{}").status == 415
    twice = [*AUTH.items(), ("Content-Type", "application/json"), ("Content-Type", "application/json")]
    assert call(app, "/x", "POST", twice, b"{}").status == 415
    assert call(app, "/x", "POST", AUTH).status == 200
    assert call(app, "/x", "POST", AUTH, b"").status == 200
    assert call(app, "/x", "DELETE", AUTH, b"").status == 200
