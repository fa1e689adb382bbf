"""A URL that somebody named reaches only what it may: checked at every step, on the address that is connected to."""

from __future__ import annotations

import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core import errors
from lollms_core.protocols.base import Timeouts
from lollms_runtime.cancel import Cancel
from lollms_runtime.fetcher import MOST_REDIRECTS, Fetched, fetch, fetch_bytes
from tests.support.chaos import CERTIFICATE, ChaosServer, Connection, Seen, refused_url
from tests.support.chaos_modes import head, reply
from tests.support.model_server import pretended_internet, resolver

QUICK = Timeouts(connect=2, first_byte=0.3, idle=0.3, total=5)
SECRET = {"authorization": "Bearer hidden"}
HERE, THERE = "93.184.215.14", "8.8.8.8"


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


@pytest.fixture
def other() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        server.add("ok", answer)
        yield server


async def answer(connection: Connection, seen: Seen) -> None:
    await reply(connection, b"answer")


def redirecting(chaos: ChaosServer, to: str, status: int = 302) -> str:
    async def mode(connection: Connection, seen: Seen) -> None:
        await reply(connection, b"", status, "Found", **({"location": to} if to else {}))

    return chaos.add("moved", mode)


def refusal(url: str, **more: Any) -> errors.LollmsError:
    with pytest.raises(errors.LollmsError) as caught:
        fetch_bytes(url, **more)
    return caught.value


def test_this_machine_is_not_asked(chaos: ChaosServer) -> None:
    for url in (f"http://127.0.0.1:{chaos.port}/ok", f"http://localhost:{chaos.port}/ok"):
        assert isinstance(refusal(url), errors.InvalidRequest)
        assert refusal(url).upstream_code == "private"
    assert not chaos.connections


@pytest.mark.parametrize("ip", ["169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0", "[64:ff9b::7f00:1]", "224.0.0.1"])
@pytest.mark.parametrize("allow", [False, True])
def test_some_addresses_are_never_asked(ip: str, allow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_internet(monkeypatch, {}) as asked:
        error = refusal(f"http://{ip}/", allow_private=allow)
    assert isinstance(error, errors.InvalidRequest)
    assert "no request may go to" in error.message
    assert asked == []


def test_an_operator_may_name_an_address_of_his_own(chaos: ChaosServer) -> None:
    chaos.add("ok", answer)
    body, response = fetch_bytes(f"http://localhost:{chaos.port}/ok?a=b", allow_private=True)
    assert body == b"answer"
    assert chaos.requests[0].path == "/ok?a=b"
    assert chaos.requests[0].headers["host"] == f"localhost:{chaos.port}"
    assert response.url.host == "localhost"


def test_one_closed_address_among_several_closes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = resolver(mixed_example=[f"{HERE},10.0.0.1"])
    with pretended_internet(monkeypatch, {}) as asked:
        assert isinstance(refusal("http://mixed.example/", resolve=look_up), errors.InvalidRequest)
    assert asked == []


def test_a_name_server_that_changes_its_answer_gains_nothing(
    chaos: ChaosServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chaos.add("ok", answer)
    look_up = resolver(rebinding_example=[HERE, "127.0.0.1"])
    with pretended_internet(monkeypatch, {HERE: chaos.port}) as asked:
        body, _ = fetch_bytes("http://rebinding.example/ok", resolve=look_up)
    assert body == b"answer"
    assert asked == [HERE]
    assert look_up.asked == ["rebinding.example"]
    assert chaos.requests[0].headers["host"] == "rebinding.example"
    # Asked a second time, the name leads inside, and is refused.
    with pretended_internet(monkeypatch, {HERE: chaos.port}) as asked:
        assert isinstance(refusal("http://rebinding.example/ok", resolve=look_up), errors.InvalidRequest)
    assert asked == []


def test_a_redirect_is_looked_up_again(chaos: ChaosServer, monkeypatch: pytest.MonkeyPatch) -> None:
    redirecting(chaos, "http://rebinding.example/ok")
    look_up = resolver(rebinding_example=[HERE, "127.0.0.1"])
    with pretended_internet(monkeypatch, {HERE: chaos.port}) as asked:
        error = refusal("http://rebinding.example/moved", resolve=look_up)
    assert isinstance(error, errors.RedirectRefused)
    assert asked == [HERE]


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.7", "169.254.169.254"])
@pytest.mark.parametrize("allow", [False, True])
def test_no_redirect_leads_inside(
    chaos: ChaosServer, other: ChaosServer, inside: str, allow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirecting(chaos, f"http://{inside}:{other.port}/ok")
    look_up = resolver(outside_example=[HERE])
    with pretended_internet(monkeypatch, {HERE: chaos.port, "10.0.0.7": other.port}) as asked:
        error = refusal("http://outside.example/moved", resolve=look_up, allow_private=allow)
    assert isinstance(error, errors.RedirectRefused)
    assert asked == [HERE]
    assert not other.connections


def test_a_network_of_ones_own_does_not_lead_to_this_machine(
    chaos: ChaosServer, other: ChaosServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirecting(chaos, other.url("ok"))
    with pretended_internet(monkeypatch, {"10.0.0.7": chaos.port}):
        error = refusal("http://10.0.0.7/moved", allow_private=True)
    assert isinstance(error, errors.RedirectRefused)
    assert not other.connections


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_no_credentials_along(chaos: ChaosServer, other: ChaosServer, status: int) -> None:
    redirecting(chaos, other.url("ok"), status)
    body, response = fetch_bytes(
        chaos.url("moved"), allow_private=True, credentials=SECRET, headers={"x-harmless": "1"}
    )
    assert body == b"answer"
    assert [hop.status for hop in response.hops] == [status, 200]
    assert chaos.requests[0].headers["authorization"] == "Bearer hidden"
    assert other.requests[0].headers["x-harmless"] == "1"
    assert "authorization" not in other.requests[0].headers
    assert b"hidden" not in repr(other.requests[0].raw_headers).encode()


def test_credentials_do_not_come_back_either(chaos: ChaosServer, other: ChaosServer) -> None:
    chaos.add("ok", answer)
    redirecting(chaos, other.url("back"))

    async def back(connection: Connection, seen: Seen) -> None:
        await reply(connection, b"", 302, "Found", location=chaos.url("ok"))

    other.add("back", back)
    fetch_bytes(chaos.url("moved"), allow_private=True, credentials=SECRET)
    assert ["authorization" in seen.headers for seen in chaos.requests] == [True, False]


def test_redirects_within_an_origin_keep_them(chaos: ChaosServer) -> None:
    chaos.add("ok", answer)
    redirecting(chaos, "/ok")
    fetch_bytes(chaos.url("moved"), allow_private=True, credentials=SECRET)
    assert [seen.headers["authorization"] for seen in chaos.requests] == ["Bearer hidden"] * 2


def test_encryption_is_not_given_up(other: ChaosServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with ChaosServer(tls=True) as secure:
        redirecting(secure, other.url("ok"))
        error = refusal(f"https://localhost:{secure.port}/moved", allow_private=True)
    assert isinstance(error, errors.RedirectRefused)
    assert "not encrypted" in error.message
    assert not other.connections


def test_the_certificate_is_that_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with ChaosServer(tls=True) as secure:
        secure.add("ok", answer)
        with pretended_internet(monkeypatch, {HERE: secure.port, THERE: secure.port}) as asked:
            look_up = resolver(localhost=[HERE], outside_example=[THERE])
            assert fetch_bytes("https://localhost/ok", resolve=look_up)[0] == b"answer"
            error = refusal("https://outside.example/ok", resolve=look_up)
    assert secure.requests[0].headers["host"] == "localhost"
    assert asked == [HERE, THERE]
    assert error.upstream_code == "tls"
    assert len(secure.requests) == 1


def test_redirects_end(chaos: ChaosServer) -> None:
    async def onward(connection: Connection, seen: Seen) -> None:
        await reply(connection, b"", 302, "Found", location=seen.path + "x")

    chaos.add("onward", onward)
    error = refusal(chaos.url("onward/"), allow_private=True)
    assert isinstance(error, errors.RedirectRefused)
    assert len(chaos.requests) == MOST_REDIRECTS + 1
    error = refusal(redirecting(chaos, "/moved"), allow_private=True)
    assert "circle" in error.message


@pytest.mark.parametrize("to", ["", "file:///etc/passwd", "http://a@127.0.0.1/", "//127.1/", "javascript:1", "http://"])
def test_a_redirect_to_something_odd_is_not_followed(chaos: ChaosServer, to: str) -> None:
    assert isinstance(refusal(redirecting(chaos, to), allow_private=True), errors.RedirectRefused)


def test_the_body_stops_at_the_limit(chaos: ChaosServer) -> None:
    async def endless(connection: Connection, seen: Seen) -> None:
        await connection.send(head(200, "OK", content_type="x/y"))
        while True:
            await connection.send(bytes(65536))

    chaos.add("endless", endless)
    error = refusal(chaos.url("endless"), allow_private=True, max_bytes=1_000_000)
    assert isinstance(error, errors.ReplyTooLarge)
    assert chaos.requests[0].connection.closed_after() < 2


def test_a_bomb_stops_at_the_limit(chaos: ChaosServer) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()

    async def packed(connection: Connection, seen: Seen) -> None:
        await reply(connection, bomb, content_encoding="gzip")

    chaos.add("bomb", packed)
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    try:
        error = refusal(chaos.url("bomb"), allow_private=True, max_bytes=2_000_000)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
    assert isinstance(error, errors.ReplyTooLarge)
    assert chaos.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("never", errors.FirstByteTimeout),
        ("slow_headers", errors.FirstByteTimeout),
        ("stall_json", errors.IdleTimeout),
        ("fin_before_headers", errors.TruncatedStream),
        ("rst_before_headers", errors.TruncatedStream),
        ("fin_length", errors.TruncatedStream),
        ("rst", errors.TruncatedStream),
        ("not_http", errors.ProtocolError),
        ("brotli", errors.ProtocolError),
        ("status-401", errors.AuthFailed),
        ("status-403", errors.AuthFailed),
        ("status-404", errors.NotFound),
        ("status-429-after-7", errors.RateLimited),
        ("status-500", errors.UpstreamFailed),
        ("status-503", errors.Overloaded),
        ("status-418", errors.UpstreamError),
    ],
)
def test_bad_servers_give_typed_errors(chaos: ChaosServer, mode: str, kind: type[errors.LollmsError]) -> None:
    error = refusal(chaos.url(mode), allow_private=True, timeouts=QUICK, credentials=SECRET)
    assert isinstance(error, kind)
    assert "hidden" not in str(error)
    if mode.startswith("status-429"):
        assert error.retry_after == 7


def test_nobody_there() -> None:
    assert isinstance(refusal(refused_url(), allow_private=True), errors.Refused)
    error = refusal("http://nowhere.example/", resolve=resolver())
    assert isinstance(error, errors.ConnectFailed)
    assert error.upstream_code == "dns"


def test_a_look_up_that_hangs_ends_in_time() -> None:
    never = threading.Event()

    def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
        never.wait(10)
        return []

    start = time.monotonic()
    error = refusal("http://slow.example/", resolve=look_up, timeouts=Timeouts(connect=0.2))
    never.set()
    assert isinstance(error, errors.ConnectTimeout)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("mode", ["never", "stall_json"])
def test_a_fetch_can_be_stopped(chaos: ChaosServer, mode: str) -> None:
    cancel, caught = Cancel(), list[BaseException]()

    def work() -> None:
        try:
            fetch_bytes(chaos.url(mode), allow_private=True, cancel=cancel)
        except errors.LollmsError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    seen = chaos.wait_request()
    cancel.set()
    assert seen.connection.closed_after() < 1
    thread.join(5)
    assert [type(error) for error in caught] == [errors.Cancelled]


def test_leaving_early_closes_the_connection(chaos: ChaosServer) -> None:
    with fetch(chaos.url("stall_json"), allow_private=True) as response:
        assert isinstance(response, Fetched)
        assert next(response.chunks())
    assert chaos.requests[0].connection.closed_after() < 1
