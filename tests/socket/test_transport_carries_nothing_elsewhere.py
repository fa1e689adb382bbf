"""A request goes to one server, with its key; nothing follows a redirect, no cookie is kept, no secret is shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Timeouts
from tests.support.aio import CLIENTS, Client
from tests.support.chaos import ChaosServer, Connection, Seen

QUICK = Timeouts(connect=2, first_byte=0.12, idle=0.12, total=2)


@pytest.fixture(params=["threads", "coroutines"])
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def with_key(url: str, method: str = "POST") -> HttpRequest:
    return HttpRequest(method, url, {"authorization": "Bearer sk-canary"}, b"{}", QUICK)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_refused_and_its_target_sees_nothing(client: Client, chaos: ChaosServer, method: str) -> None:
    elsewhere = chaos.with_elsewhere()
    with pytest.raises(errors.RedirectRefused, match="use that address") as caught:
        client.exchange(with_key(chaos.url("redirect"), method))
    assert caught.value.status == 307
    assert elsewhere.origin in caught.value.message
    assert "canary" not in caught.value.message
    assert not elsewhere.connections


@pytest.mark.parametrize("location", [None, "/other", "//evil.example/", "javascript:x", "http://[", "h ttp://a/"])
def test_every_status_of_300_is_refused_whatever_it_points_to(
    client: Client, chaos: ChaosServer, location: str | None
) -> None:
    line = "" if location is None else f"location: {location}\r\n"
    statuses = [300, 301, 302, 303, 304, 307, 308]

    async def moves(connection: Connection, seen: Seen) -> None:
        status = seen.path.rpartition("/")[2]
        await connection.send(f"HTTP/1.1 {status} Moved\r\n{line}content-length: 0\r\n\r\n".encode())

    url = chaos.add("moves", moves)
    results = client.in_turn([with_key(f"{url}/{status}") for status in statuses])
    for status, result in zip(statuses, results, strict=True):
        assert isinstance(result, errors.RedirectRefused)
        assert result.status == status
        assert result.message.isprintable()
    assert len(chaos.requests) == len(statuses)


def test_a_cookie_never_comes_back(client: Client, chaos: ChaosServer) -> None:
    client.in_turn([with_key(chaos.url("cookies")), with_key(chaos.url("ok_json")), with_key(chaos.url("cookies"))])
    assert len(chaos.requests) == 3
    assert all("cookie" not in seen.headers for seen in chaos.requests)


@pytest.mark.parametrize(
    "mode", ["never", "stall", "fin_before_headers", "not_http", "brotli", "redirect", "bad_gzip", "ok_json", "rst"]
)
def test_no_key_and_no_path_stands_in_an_error_or_a_log(
    client: Client, chaos: ChaosServer, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = with_key(chaos.url(mode) + "/v1/sk-canary?key=sk-canary")
    with caplog.at_level(logging.INFO):
        result = client.in_turn([request])[0]
    assert "canary" not in caplog.text
    if isinstance(result, Exception):
        assert "canary" not in str(result) + repr(result)
        assert isinstance(result, errors.LollmsError)
