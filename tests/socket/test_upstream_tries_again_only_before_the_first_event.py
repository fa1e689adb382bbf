"""A failed call is tried again as the policy says: never after an event, never when it would not help, not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, HttpResponse, Sleep, Target, Timeouts
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.retry import RetryPolicy
from lollms_core.types import GenerationCall
from tests.support.chaos import ChaosServer, refused_url
from tests.support.chaos_modes import TEXT
from tests.support.upstreams import KINDS, QUICK, answer_of, cancelled, fetch

FAST = RetryPolicy(base=0.01)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


@pytest.mark.parametrize("first", ["status-429", "status-500", "status-502", "status-503", "status-529", "error_first"])
def test_a_backend_that_is_busy_is_asked_again(kind: str, chaos: ChaosServer, first: str) -> None:
    url = chaos.sequence("flaky", first, first, "ok_sse")
    outcome = answer_of(kind, url, retry=FAST)
    assert outcome.text == TEXT
    assert len(chaos.requests) == 3


def test_but_not_more_than_twice(kind: str, chaos: ChaosServer) -> None:
    outcome = answer_of(kind, chaos.url("status-503"), retry=FAST)
    assert type(outcome.error) is errors.Overloaded
    assert len(chaos.requests) == 3


@pytest.mark.parametrize(
    "mode",
    [
        "status-400",
        "status-401",
        "status-403",
        "status-404",
        "never",
        "stall",
        "fin_chunked",
        "rst",
        "html",
        "error_in_stream",
        "redirect",
        "broken_sse",
        "not_http",
    ],
)
def test_what_would_not_help_or_has_begun_is_not_repeated(kind: str, chaos: ChaosServer, mode: str) -> None:
    assert answer_of(kind, chaos.url(mode), retry=FAST).error is not None
    assert len(chaos.requests) == 1


def test_a_connection_that_cannot_be_made_is_tried_once_more(kind: str, chaos: ChaosServer) -> None:
    start = time.monotonic()
    outcome = answer_of(kind, refused_url(), retry=RetryPolicy(base=0.1))
    assert type(outcome.error) is errors.Refused
    assert 0.05 <= time.monotonic() - start < 1


def test_the_wait_that_the_backend_asks_for_is_kept(kind: str, chaos: ChaosServer) -> None:
    url = chaos.sequence("flaky", "status-429-after-0.3", "ok_sse")
    assert answer_of(kind, url, retry=FAST).text == TEXT
    assert chaos.requests[1].at - chaos.requests[0].at >= 0.3


def test_a_wait_that_is_too_long_is_the_callers_business(kind: str, chaos: ChaosServer) -> None:
    outcome = answer_of(kind, chaos.url("status-429-after-1000000000"), retry=FAST)
    assert type(outcome.error) is errors.RateLimited
    assert outcome.error.retry_after == 1_000_000_000
    assert len(chaos.requests) == 1


def test_waiting_for_the_next_try_can_be_cancelled(kind: str, chaos: ChaosServer) -> None:
    decided = threading.Event()

    class Watched(RetryPolicy, frozen=True):
        def delay(self, error: errors.LollmsError, *rest: Any) -> float | None:
            decided.set()
            return 50.0

    url = chaos.sequence("flaky", "status-503", "ok_sse")
    assert cancelled(kind, url, lambda: decided.wait(5), lambda: None, retry=Watched()) < 0.25
    assert len(chaos.requests) == 1


def test_a_small_request_is_tried_again_too(kind: str, chaos: ChaosServer) -> None:
    url = chaos.sequence("flaky", "status-503", "ok_json")
    assert fetch(kind, HttpRequest("GET", url, timeouts=QUICK), retry=FAST).status == 200
    assert len(chaos.requests) == 2


class StagedCodec(ChatCodec):
    """A chat codec that first makes two requests and a pause, and shows the last answer to nobody."""

    def prepare(
        self, call: GenerationCall, target: Target
    ) -> Generator[HttpRequest | Sleep, HttpResponse, HttpRequest]:
        first = yield HttpRequest("POST", target.base_url + "/first", {}, b"{}", target.timeouts)
        yield Sleep(0.05)
        yield HttpRequest("POST", target.base_url + f"/second/{first.status}", {}, b"{}", target.timeouts)
        return self.request(call, target)


def test_what_a_codec_must_do_first_is_done_in_order(kind: str, chaos: ChaosServer) -> None:
    outcome = answer_of(kind, chaos.url("ok"), codec=StagedCodec(OPENAI))
    assert outcome.text == TEXT
    assert [seen.path for seen in chaos.requests] == ["/ok/first", "/ok/second/200", "/ok/chat/completions"]
    assert chaos.requests[1].at - chaos.requests[0].at >= 0.05
    assert len(chaos.connections) == 1


def test_a_failed_try_begins_with_the_first_step_again(kind: str, chaos: ChaosServer) -> None:
    url = chaos.sequence("flaky", "ok_json", "ok_json", "status-503", "ok_json", "ok_json", "ok_sse")
    assert answer_of(kind, url, codec=StagedCodec(OPENAI), retry=FAST).text == TEXT
    assert len(chaos.requests) == 6


def test_cancelling_works_in_every_step(kind: str, chaos: ChaosServer) -> None:
    for number, modes in enumerate([["never"], ["ok_json", "never"], ["ok_json", "ok_json", "never"]]):
        before = len(chaos.requests)
        url = chaos.sequence(f"staged{number}", *modes)

        def when(last: int = before + len(modes)) -> None:
            chaos.wait_request(last)

        def then() -> None:
            assert chaos.requests[-1].connection.closed_after() < 0.25

        assert cancelled(kind, url, when, then, codec=StagedCodec(OPENAI)) < 0.25


@pytest.mark.parametrize("second", ["status-503-after-2", "stall"])
def test_all_tries_together_take_no_longer_than_the_call_may(kind: str, chaos: ChaosServer, second: str) -> None:
    url = chaos.sequence("slow", "status-503", second)
    start = time.monotonic()
    outcome = answer_of(kind, url, retry=FAST, timeouts=Timeouts(connect=2, first_byte=5, idle=5, total=0.5))
    assert time.monotonic() - start < 1.5
    assert isinstance(outcome.error, errors.Overloaded if "503" in second else errors.TotalTimeout)
