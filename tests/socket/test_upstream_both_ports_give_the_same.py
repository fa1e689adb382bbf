"""The same server, whatever it does: the same events, the same reply, the same error with the same partial text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Timeouts
from lollms_core.types import TextDelta, Usage
from tests.support.chaos import ChaosServer, Connection, Seen, refused_url
from tests.support.chaos_modes import TEXT, answer_events, chunk, stream_head
from tests.support.upstreams import KINDS, QUICK, Outcome, answer_of, call, cancelled, fetch

GOOD = ["ok", "ok_json", "ok_sse", "one_packet", "slicer", "split_utf8", "until_close", "ok_gzip", "cookies"]

# mode -> the error, words of its message, whether something came before it
BAD: dict[str, tuple[type[errors.LollmsError], str, bool]] = {
    "never": (errors.FirstByteTimeout, "did not begin to answer", False),
    "slow_headers": (errors.FirstByteTimeout, "did not begin to answer", False),
    "stall": (errors.IdleTimeout, "stopped sending", True),
    "fin_before_headers": (errors.TruncatedStream, "closed the connection", False),
    "fin_chunked": (errors.TruncatedStream, "ended before its end", True),
    "fin_length": (errors.TruncatedStream, "ended before its end", False),
    "rst": (errors.TruncatedStream, "ended before its end", True),
    "no_terminator": (errors.TruncatedStream, "", True),
    "html": (errors.ProtocolError, "text/html", False),
    "broken_sse": (errors.ProtocolError, "", True),
    "bad_utf8": (errors.ProtocolError, "", True),
    "not_http": (errors.ProtocolError, "not valid HTTP", False),
    "deep_json": (errors.ProtocolError, "", False),
    "error_in_stream": (errors.UpstreamFailed, "The model fell over.", True),
    "error_first": (errors.UpstreamFailed, "The model fell over.", False),
    "endless_line": (errors.ReplyTooLarge, "", False),
    "redirect": (errors.RedirectRefused, "Redirects are not followed", False),
    "status-400": (errors.InvalidRequest, "Chaos says 400.", False),
    "status-401": (errors.AuthFailed, "", False),
    "status-403": (errors.AuthFailed, "", False),
    "status-404": (errors.LollmsError, "Chaos says 404.", False),
    "status-429-after-2": (errors.RateLimited, "", False),
    "status-500": (errors.UpstreamFailed, "", False),
    "status-502": (errors.UpstreamFailed, "", False),
    "status-503": (errors.Overloaded, "", False),
    "status-529": (errors.Overloaded, "", False),
    "long_error": (errors.UpstreamFailed, "", False),
}


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def same(url: str, stream: bool = True, **options: object) -> Outcome:
    """The outcome of both ports, which must be one."""
    first, second = (answer_of(kind, url, call(stream), **options) for kind in KINDS)  # type: ignore[arg-type]
    assert first.shown == second.shown
    assert first.reply == second.reply
    assert type(first.error) is type(second.error)
    if first.error is not None and second.error is not None:
        for field in ("message", "partial", "status", "retry_after", "upstream_code", "provider", "param", "code"):
            assert getattr(first.error, field) == getattr(second.error, field)
    return first


@pytest.mark.parametrize("mode", GOOD)
def test_a_good_answer(chaos: ChaosServer, mode: str) -> None:
    outcome = same(chaos.url(mode), stream=mode != "ok_json")
    assert outcome.text == TEXT
    assert outcome.reply is not None
    assert (outcome.reply.finish_reason, outcome.reply.usage) == ("stop", Usage(7, 5, 12))
    assert "".join(event.text for event in outcome.shown if isinstance(event, TextDelta)) == TEXT
    body = chaos.requests[0].json()
    assert body.get("stream", False) is (mode != "ok_json")
    assert chaos.requests[0].headers["authorization"] == "Bearer sk-canary"
    assert chaos.requests[0].body == chaos.requests[1].body


@pytest.mark.parametrize("mode", BAD)
def test_a_bad_answer(chaos: ChaosServer, mode: str) -> None:
    kind, words, something = BAD[mode]
    chaos.with_elsewhere()
    outcome = same(chaos.url(mode))
    error = outcome.error
    assert isinstance(error, errors.LollmsError)
    assert type(error) is kind or kind is errors.LollmsError
    assert words in error.message
    assert error.provider == "chaos"
    assert mode == "html" or "canary" not in str(error)  # this page shows a key of its own
    assert error.partial is not None
    assert TEXT.startswith(outcome.text)
    assert bool(outcome.text) == something
    assert len(chaos.requests) == len(KINDS), "nothing was tried again"


def test_nobody_there() -> None:
    outcome = same(refused_url())
    assert type(outcome.error) is errors.Refused
    assert outcome.shown == ()


@pytest.mark.parametrize("mode", ["fin_chunked", "rst", "stall", "error_in_stream", "no_terminator"])
def test_the_partial_text_is_all_that_came(chaos: ChaosServer, mode: str) -> None:
    whole = [event for event in same(chaos.url("ok_sse")).shown if isinstance(event, TextDelta) and event.text]
    part = [event for event in same(chaos.url(mode)).shown if isinstance(event, TextDelta) and event.text]
    assert part == whole[: len(part)]
    assert len(part) == len(answer_events()) // 2 - 1


def test_an_answer_that_is_complete_is_not_waited_for(chaos: ChaosServer) -> None:
    async def lingers(connection: Connection, seen: Seen) -> None:
        await connection.send(stream_head() + b"".join(chunk(each) for each in answer_events()))
        await connection.forever()

    async def breaks(connection: Connection, seen: Seen) -> None:
        await connection.send(stream_head() + b"".join(chunk(each) for each in answer_events()))
        connection.fin()

    for mode in (lingers, breaks):
        outcome = same(chaos.add(mode.__name__, mode), timeouts=Timeouts(idle=20))
        assert outcome.text == TEXT
        assert outcome.error is None
    assert chaos.connections[0].closed_after() < 0.25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["drip", "endless_stream"])
def test_a_reader_that_leaves_closes_the_connection(chaos: ChaosServer, kind: str, mode: str) -> None:
    seconds: list[float] = []
    outcome = answer_of(
        kind, chaos.url(mode), until=3, then=lambda: seconds.append(chaos.connections[0].closed_after())
    )
    assert len(outcome.shown) >= 3
    assert seconds[0] < 0.25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["never", "stall", "drip", "stall_json"])
def test_a_cancelled_answer_closes_the_connection(chaos: ChaosServer, kind: str, mode: str) -> None:
    def when() -> None:
        chaos.wait_request()
        assert mode == "never" or chaos.connections[0].sent_something(5)

    assert cancelled(kind, chaos.url(mode), when, lambda: _closed_at_once(chaos)) < 0.25


def _closed_at_once(chaos: ChaosServer) -> None:
    assert chaos.connections[0].closed_after() < 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_request_is_answered_whole_or_with_the_backends_error(chaos: ChaosServer, kind: str) -> None:
    response = fetch(kind, HttpRequest("GET", chaos.url("echo") + "/models", timeouts=QUICK))
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert b'"path": "/echo/models"' in response.body
    with pytest.raises(errors.AuthFailed) as caught:
        fetch(kind, HttpRequest("GET", chaos.url("status-401"), timeouts=QUICK))
    assert caught.value.provider == "chaos"
    with pytest.raises(errors.TruncatedStream):
        fetch(kind, HttpRequest("GET", chaos.url("fin_length"), timeouts=QUICK))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_whose_body_breaks_is_still_that_error(chaos: ChaosServer, kind: str) -> None:
    async def breaks(connection: Connection, seen: Seen) -> None:
        await connection.send(b"HTTP/1.1 503 Busy\r\ncontent-length: 1000\r\ncontent-type: text/plain\r\n\r\nbusy")
        connection.fin()

    outcome = answer_of(kind, chaos.add("breaks", breaks))
    assert type(outcome.error) is errors.Overloaded
