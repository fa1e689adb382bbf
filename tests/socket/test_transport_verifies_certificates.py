"""TLS certificates are verified unless a request says otherwise, which is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Timeouts
from tests.support.aio import CLIENTS, Client
from tests.support.chaos import CERTIFICATE, ChaosServer, refused_url
from tests.support.chaos_modes import answer_events

PATIENT = Timeouts(connect=5, first_byte=5, idle=5, total=20)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer(tls=True) as server:
        yield server


def ask(url: str, verify: bool = True, timeouts: Timeouts = PATIENT) -> HttpRequest:
    return HttpRequest("POST", url, {"authorization": "Bearer x"}, b"{}", timeouts, verify)


def test_a_certificate_that_nobody_signed_is_not_trusted(client: Client, chaos: ChaosServer) -> None:
    with pytest.raises(errors.ConnectFailed, match="is not trusted") as caught:
        client.exchange(ask(chaos.url("ok_sse")))
    assert caught.value.upstream_code == "tls"
    assert not chaos.requests


def test_a_request_that_says_so_is_not_verified_and_that_is_logged(
    client: Client, chaos: ChaosServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="lollms_runtime"):
        first, second = client.in_turn([ask(chaos.url("ok_sse"), verify=False), ask(chaos.url("ok_sse"))])
    assert isinstance(first, tuple)
    assert first.body == b"".join(answer_events())
    assert [record.getMessage() for record in caplog.records] == [
        f"TLS certificates are not verified for {chaos.origin}."
    ]
    # What one request waives is not waived for the next.
    assert isinstance(second, errors.ConnectFailed)
    assert len(chaos.requests) == 1


def test_a_trusted_certificate_is_accepted_for_its_own_name_only(
    client: Client, chaos: ChaosServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    url = chaos.url("ok_sse")
    assert client.exchange(ask(url.replace("127.0.0.1", "localhost"))).status == 200
    with pytest.raises(errors.ConnectFailed, match="is not trusted"):
        client.exchange(ask(url))


def test_plain_http_behind_an_https_address_is_said_to_be_that(client: Client) -> None:
    with ChaosServer() as plain, pytest.raises(errors.ConnectFailed, match="and not plain http") as caught:
        client.exchange(ask(plain.url("ok").replace("http:", "https:")))
    assert caught.value.upstream_code == "tls"


def test_nobody_behind_an_https_address_is_refused(client: Client) -> None:
    with pytest.raises(errors.Refused, match="Nothing is listening at https"):
        client.exchange(ask(refused_url().replace("http:", "https:")))


@pytest.mark.parametrize("mode", ["never", "stall"])
def test_cancelling_works_through_tls(client: Client, chaos: ChaosServer, mode: str) -> None:
    def when() -> None:
        chaos.wait_request()
        assert mode == "never" or chaos.connections[0].sent_something(5)

    def then() -> None:
        assert chaos.wait_connection().closed_after() < 0.25

    assert client.cancelled(ask(chaos.url(mode), verify=False), when, then) < 0.25


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("stall", errors.IdleTimeout),
        ("never", errors.FirstByteTimeout),
        ("fin_chunked", errors.TruncatedStream),
        ("rst", errors.TruncatedStream),
        ("fin_before_headers", errors.TruncatedStream),
    ],
)
def test_failures_are_the_same_through_tls(
    client: Client, chaos: ChaosServer, mode: str, kind: type[errors.LollmsError]
) -> None:
    with pytest.raises(kind) as caught:
        client.exchange(ask(chaos.url(mode), verify=False, timeouts=Timeouts(first_byte=0.12, idle=0.12)))
    assert type(caught.value) is kind


def test_a_handshake_that_hangs_ends_in_time_or_when_cancelled(client: Client) -> None:
    with ChaosServer(silent=True) as silent:
        url = silent.url("ok").replace("http:", "https:")
        with pytest.raises(errors.ConnectTimeout):
            client.exchange(ask(url, timeouts=Timeouts(connect=0.2)))
        number = len(silent.connections) + 1

        def then() -> None:
            assert silent.wait_connection(number).closed_after() < 0.25

        assert client.cancelled(ask(url), lambda: silent.wait_connection(number), then) < 0.25
