"""Both transports give the same bytes, the same errors and the same words for the same behaviour of a server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Timeouts
from tests.support.aio import CLIENTS, Client
from tests.support.chaos import ChaosServer, Connection, Seen, refused_url
from tests.support.chaos_modes import answer_events, answer_json, chunk, stream_head

QUICK = Timeouts(connect=2, first_byte=0.12, idle=0.12, total=5)

STREAM = b"".join(answer_events())

# mode -> the body that is delivered in the end
GOOD = {
    "ok_json": answer_json(),
    "ok_sse": STREAM,
    "one_packet": STREAM,
    "slicer": STREAM,
    "split_utf8": STREAM,
    "until_close": STREAM,
    "ok_gzip": STREAM,
}

# mode -> the error, and words that its message must hold
BAD: dict[str, tuple[type[errors.LollmsError], str]] = {
    "never": (errors.FirstByteTimeout, "did not begin to answer within 0.12 s"),
    "slow_headers": (errors.FirstByteTimeout, "did not begin to answer within 0.12 s"),
    "stall": (errors.IdleTimeout, "stopped sending in the middle"),
    "stall_json": (errors.IdleTimeout, "stopped sending in the middle"),
    "fin_before_headers": (errors.TruncatedStream, "closed the connection without an answer"),
    "rst_before_headers": (errors.TruncatedStream, "closed the connection without an answer"),
    "fin_in_headers": (errors.TruncatedStream, "closed the connection without an answer"),
    "fin_chunked": (errors.TruncatedStream, "ended before its end"),
    "fin_length": (errors.TruncatedStream, "ended before its end"),
    "rst": (errors.TruncatedStream, "ended before its end"),
    "short_gzip": (errors.TruncatedStream, "ended before its end"),
    "not_http": (errors.ProtocolError, "not valid HTTP"),
    "bad_chunk": (errors.ProtocolError, "not valid HTTP"),
    "bad_gzip": (errors.ProtocolError, "gzip data is damaged"),
    "brotli": (errors.ProtocolError, "not asked for"),
    "endless_header": (errors.ProtocolError, "not valid HTTP"),
    "redirect": (errors.RedirectRefused, "Redirects are not followed"),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def ask(url: str, timeouts: Timeouts = QUICK, **more: object) -> HttpRequest:
    return HttpRequest("POST", url, {"content-type": "application/json"}, b'{"a": 1}', timeouts)


@pytest.mark.parametrize("mode", GOOD)
def test_a_good_answer_arrives_whole(client: Client, chaos: ChaosServer, mode: str) -> None:
    result = client.exchange(ask(chaos.url(mode)))
    assert (result.status, result.body) == (200, GOOD[mode])
    assert result.headers["content-type"] in ("application/json", "text/event-stream")


@pytest.mark.parametrize("mode", BAD)
def test_a_bad_answer_is_a_typed_error_that_says_what_to_do(client: Client, chaos: ChaosServer, mode: str) -> None:
    kind, words = BAD[mode]
    with pytest.raises(errors.LollmsError) as caught:
        client.exchange(ask(chaos.url(mode)))
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert chaos.origin in caught.value.message
    assert caught.value.__cause__ is not caught.value


@pytest.mark.parametrize("mode", ["fin_chunked", "rst", "stall", "bad_chunk"])
def test_what_came_before_the_error_is_delivered_also_to_a_slow_reader(
    client: Client, chaos: ChaosServer, mode: str
) -> None:
    got, error = client.partly(ask(chaos.url(mode)))
    assert type(error) is BAD[mode][0]
    assert got and STREAM.find(got if mode != "bad_chunk" else answer_events()[1]) >= 0
    assert len(got) == {"bad_chunk": len(answer_events()[1])}.get(mode, len(STREAM.partition(answer_events()[5])[0]))
    if mode == "fin_chunked":
        assert client.partly(ask(chaos.url(mode)), pause=0.1)[0] == got


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 529])
def test_an_error_status_is_an_answer_like_any_other(client: Client, chaos: ChaosServer, status: int) -> None:
    result = client.exchange(ask(chaos.url(f"status-{status}-after-7")))
    assert result.status == status
    assert result.headers["retry-after"] == "7"
    assert json.loads(result.body)["error"]["message"] == f"Chaos says {status}."


def test_nobody_at_the_address_is_refused_at_once_and_says_so(client: Client) -> None:
    url = refused_url()
    with pytest.raises(errors.Refused, match="Nothing is listening at") as caught:
        client.exchange(ask(url))
    assert isinstance(caught.value, ConnectionRefusedError)
    with pytest.raises(errors.Refused, match="Nothing is listening at"):
        client.exchange(ask(url.replace("127.0.0.1", "localhost")))


@pytest.mark.parametrize("answer", [OSError("no such name"), []])
def test_a_name_that_is_not_known_fails_and_is_never_let_through(
    client: Client, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    import socket

    real = socket.getaddrinfo

    def look_up(host: str, *rest: object, **more: object) -> object:
        if host != "models.example":
            return real(host, *rest, **more)  # type: ignore[arg-type]
        if isinstance(answer, Exception) or more.get("flags", 0) == socket.AI_NUMERICHOST:
            raise socket.gaierror(-2, "Name or service not known")
        return answer

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(errors.ConnectFailed, match="was not found") as caught:
        client.exchange(ask("http://models.example:8080/v1"))
    assert caught.value.upstream_code == "dns"
    with pytest.raises(errors.ConnectFailed, match="was not found"):
        client.exchange(ask(f"http://{'a' * 70}.example/"))


@pytest.mark.parametrize("url", ["", "models", "ftp://127.0.0.1/", "http://", "http://a b/", "http://u:p@127.0.0.1/"])
def test_an_address_that_is_none_is_refused_before_anything_is_sent(client: Client, url: str) -> None:
    with pytest.raises(errors.InvalidRequest, match="must start with http") as caught:
        client.exchange(ask(url))
    assert "u:p" not in caught.value.message


@pytest.mark.parametrize("key", ["sk-canary\n", "sk-canary\r\nx: y", "sk-can…ary", " sk-canary", "\x00"])
def test_a_key_that_would_break_the_header_is_refused_without_showing_it(
    client: Client, chaos: ChaosServer, key: str
) -> None:
    request = HttpRequest("POST", chaos.url("ok"), {"authorization": key}, b"{}", QUICK)
    with pytest.raises(errors.InvalidRequest, match="authorization") as caught:
        client.exchange(request)
    assert "canary" not in str(caught.value) + repr(caught.value.__cause__)
    assert not chaos.requests


def test_the_request_arrives_as_it_was_written(client: Client, chaos: ChaosServer) -> None:
    path = "/v1/%7Emodel%2Fx/chat?q=a%20b&c=%E2%82%AC"
    headers = {"content-type": "text/x", "accept-encoding": "br", "transfer-encoding": "chunked", "x-one": "1"}
    request = HttpRequest("PUT", chaos.url("echo") + path, headers, b"body", QUICK)
    seen = json.loads(client.exchange(request).body)
    sent = dict(seen["headers"])
    assert (seen["method"], seen["path"], seen["body"]) == ("PUT", "/echo" + path, "body")
    assert len(sent) == len(seen["headers"]), "no header comes twice"
    assert sent.pop("host") == f"127.0.0.1:{chaos.port}"
    assert sent == {
        "content-type": "text/x",
        "content-length": "4",
        "accept-encoding": "identity, gzip",
        "user-agent": "lollms",
        "x-one": "1",
    }


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_a_body_of_any_size_arrives(client: Client, chaos: ChaosServer, size: int) -> None:
    request = HttpRequest("POST", chaos.url("echo"), {}, b"x" * size, QUICK)
    seen = json.loads(client.exchange(request).body)
    assert seen["length"] == size
    assert dict(seen["headers"])["content-length"] == str(size)


def test_a_request_without_a_body_has_no_length(client: Client, chaos: ChaosServer) -> None:
    seen = json.loads(client.exchange(HttpRequest("GET", chaos.url("echo"), timeouts=QUICK)).body)
    assert seen["method"] == "GET"
    assert "content-length" not in dict(seen["headers"])


def test_repeated_headers_are_joined_and_names_are_lower_case(client: Client, chaos: ChaosServer) -> None:
    async def twice(connection: Connection, seen: Seen) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nX-Twice: a\r\nx-twice: b\r\nContent-Length: 0\r\n\r\n")

    result = client.exchange(ask(chaos.add("twice", twice)))
    assert result.headers == {"x-twice": "a, b", "content-length": "0"}


def test_gzip_in_several_members_and_in_one_byte_packets_is_unpacked(client: Client, chaos: ChaosServer) -> None:
    data = gzip.compress(b"a" * 300_000) + gzip.compress(b"") + gzip.compress(answer_json())

    async def members(connection: Connection, seen: Seen) -> None:
        await connection.packet(stream_head(content_encoding="gzip"))
        for byte in data:
            await connection.packet(chunk(bytes([byte])))
        await connection.send(b"0\r\n\r\n")

    assert client.exchange(ask(chaos.add("members", members))).body == b"a" * 300_000 + answer_json()


def test_an_interim_status_is_skipped_and_a_switch_of_protocols_refused(client: Client, chaos: ChaosServer) -> None:
    async def hints(connection: Connection, seen: Seen) -> None:
        await connection.send(
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
        )

    async def switch(connection: Connection, seen: Seen) -> None:
        await connection.send(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nboo")

    assert client.exchange(ask(chaos.add("hints", hints))).body == b"hi"
    with pytest.raises(errors.ProtocolError):
        client.exchange(ask(chaos.add("switch", switch)))


def test_an_answer_before_the_whole_request_was_read_is_an_answer(client: Client, chaos: ChaosServer) -> None:
    async def refuses(connection: Connection, seen: Seen) -> None:
        await connection.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        connection.fin()

    request = HttpRequest("POST", chaos.add("refuses", refuses), {}, b"x" * 100, QUICK)
    assert client.exchange(request).status == 413


def test_a_connection_serves_one_request_after_the_other(client: Client, chaos: ChaosServer) -> None:
    results = client.in_turn([ask(chaos.url(mode)) for mode in ("ok_json", "ok_sse", "status-500", "ok_gzip", "echo")])
    assert [getattr(result, "status", result) for result in results] == [200, 200, 500, 200, 200]
    assert len(chaos.connections) == 1


def test_a_kept_connection_that_the_server_closed_is_not_used(client: Client, chaos: ChaosServer) -> None:
    async def once(connection: Connection, seen: Seen) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        connection.fin()

    first, *others = client.in_turn([ask(chaos.add("once", once)), *[ask(chaos.url("ok_json"))] * 2])
    assert isinstance(first, tuple) and first.body == b"hi"
    # Our request may cross the server's close; it is told apart, so that it can be sent again.
    assert all(isinstance(each, tuple) or type(each) is errors.ConnectFailed for each in others)


@pytest.mark.parametrize("mode", ["fin_before_headers", "rst_before_headers"])
def test_a_kept_connection_that_breaks_without_an_answer_never_reached_anybody(
    client: Client, chaos: ChaosServer, mode: str
) -> None:
    results = client.in_turn([ask(chaos.url("ok_json")), ask(chaos.url(mode)), ask(chaos.url("fin_in_headers"))])
    assert isinstance(results[0], tuple)
    assert type(results[1]) is errors.ConnectFailed
    assert "had been kept open" in str(results[1])
    assert type(results[2]) is errors.TruncatedStream


def test_many_exchanges_at_once_do_not_mix(client: Client, chaos: ChaosServer) -> None:
    requests = [HttpRequest("POST", chaos.url("echo") + f"/{n}", {}, str(n).encode() * 50, QUICK) for n in range(30)]
    for number, result in enumerate(client.at_once(requests)):
        assert isinstance(result, tuple), result
        seen = json.loads(result.body)
        assert (seen["path"], seen["body"]) == (f"/echo/{number}", str(number) * 50)


def test_no_setting_of_the_environment_is_read(
    client: Client, chaos: ChaosServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, refused_url())
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password sk-canary\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen = json.loads(client.exchange(ask(chaos.url("echo"))).body)
    assert "authorization" not in dict(seen["headers"])
