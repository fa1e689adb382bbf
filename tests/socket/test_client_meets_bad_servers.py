"""A server that refuses, hangs, lies or breaks gives a typed error in words, soon, with what came before it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_core.errors import (
    AuthFailed,
    FirstByteTimeout,
    IdleTimeout,
    LollmsError,
    Overloaded,
    ProtocolError,
    RateLimited,
    RedirectRefused,
    Refused,
    ReplyTooLarge,
    TransportError,
    TruncatedStream,
    UnknownModel,
    UpstreamError,
)
from tests.support.chaos import ChaosServer, refused_url

QUICK = {"timeouts": {"connect": 1.0, "first_byte": 0.3, "idle": 0.3}}

BAD_DAYS: list[tuple[str, type[LollmsError]]] = [
    ("never", FirstByteTimeout),
    ("slow_headers", FirstByteTimeout),
    ("stall", IdleTimeout),
    ("fin_before_headers", TransportError),
    ("rst_before_headers", TransportError),
    ("fin_chunked", TruncatedStream),
    ("rst", TruncatedStream),
    ("no_terminator", TruncatedStream),
    ("html", ProtocolError),
    ("broken_sse", ProtocolError),
    ("bad_utf8", ProtocolError),
    ("not_http", ProtocolError),
    ("bad_chunk", ProtocolError),
    ("gzip_bomb", ReplyTooLarge),
    ("endless_line", ReplyTooLarge),
    ("error_in_stream", UpstreamError),
    ("redirect", RedirectRefused),
    ("status-401", AuthFailed),
    ("status-429-after-90", RateLimited),
    ("status-503-after-90", Overloaded),
]


def client_of(chaos: ChaosServer, mode: str) -> LollmsClient:
    return LollmsClient("openai", chaos.url(mode), model_name="m", service_key="canary-key", llm_binding_config=QUICK)


@pytest.mark.parametrize(("mode", "kind"), BAD_DAYS)
def test_a_bad_day_is_a_typed_error(mode: str, kind: type[LollmsError]) -> None:
    with ChaosServer() as chaos, client_of(chaos, mode) as client:
        if mode == "redirect":
            chaos.with_elsewhere()
        start = time.monotonic()
        with pytest.raises(kind) as caught, client.stream("Hi") as stream:
            list(stream)
        assert time.monotonic() - start < 10
        message = str(caught.value)
        assert len(message) > 20
        assert "canary-key" not in message
        if mode in ("stall", "fin_chunked", "rst", "no_terminator", "error_in_stream"):
            assert caught.value.partial is not None
            assert caught.value.partial.text
            assert caught.value.partial.finish_reason == "error"
        if chaos.elsewhere is not None:
            assert chaos.elsewhere.requests == []


@pytest.mark.parametrize("mode", ["stall", "html", "status-401"])
def test_the_documented_way_is_an_event_and_a_dictionary(mode: str) -> None:
    with ChaosServer() as chaos, client_of(chaos, mode) as client:
        events: list[Any] = []
        result = client.generate_text("Hi", streaming_callback=lambda *event: events.append(event))
        assert isinstance(result, dict)
        assert result["status"] is False
        assert result["error"] == result["message"]
        assert events[-1] == (result["error"], MSG_TYPE.MSG_TYPE_EXCEPTION)
        assert all(chunk for chunk, _ in events)


def test_no_lollms_server_names_both_ports_and_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOLLMS_API_KEY", "k")
    address = refused_url()
    client = LollmsClient(binding_name="lollms", host_address=address)
    result = client.generate_text("Hi")
    assert isinstance(result, dict)
    for part in (address, "9600", "9601", "lollms serve"):
        assert part in result["error"]
    assert result["code"] == "connection_refused"
    with pytest.raises(ConnectionRefusedError, match="9601"):
        client.complete("Hi")
    with pytest.raises(Refused, match="9601"):
        client.list_models()


def test_a_refused_address_of_another_server() -> None:
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        LollmsClient("openai", refused_url()).complete("Hi")


def test_an_unknown_model_is_one() -> None:
    with ChaosServer() as chaos:
        from tests.support.chaos_modes import reply

        async def unknown(connection: Any, seen: Any) -> None:
            body = b'{"error": {"message": "No such model.", "code": "model_not_found"}}'
            await reply(connection, body, 404, "Not Found")

        with LollmsClient("openai", chaos.add("unknown", unknown)) as client, pytest.raises(UnknownModel):
            client.complete("Hi", model="x")


def test_a_wrong_address_is_said_when_something_is_asked() -> None:
    for address in ("ftp://localhost", "http://localhost:99999", "http://[::", "http://a b"):
        result = LollmsClient("openai", address).generate_text("Hi")
        assert isinstance(result, dict), address
        assert result["code"] in ("invalid_request", "config_error"), result
    for address in ("http://", "/", " "):
        with pytest.raises(ValueError, match="host_address"):
            LollmsClient("openai", address)


def test_no_cookie_is_kept() -> None:
    with ChaosServer() as chaos, client_of(chaos, "cookies") as client:
        client.complete("Hi")
        client.complete("Hi")
        assert all("cookie" not in seen.headers for seen in chaos.requests)
