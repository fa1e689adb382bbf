"""A failed call is repeated only when that can do no harm and can help, and never for longer than was agreed."""

from __future__ import annotations

import pytest

from lollms_core.errors import (
    MEANINGS,
    ConnectFailed,
    ConnectTimeout,
    EngineCrashed,
    InstanceUnavailable,
    LollmsError,
    Overloaded,
    RateLimited,
    Refused,
    TooManyRequests,
    UpstreamFailed,
)
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.protocols.retry import NO_RETRY, RetryPolicy, parse_http_date, parse_retry_after

POLICY = RetryPolicy()
NOT_NOW = {RateLimited, Overloaded, UpstreamFailed, TooManyRequests, InstanceUnavailable, EngineCrashed}
UNREACHED = {ConnectFailed, Refused, ConnectTimeout}
DATE = "Fri, 21 Nov 2025 12:00:00 GMT"
NOON = 1763726400.0


def delay(error: LollmsError, attempt: int = 1, elapsed: float = 0, random: float = 0.5) -> float | None:
    return POLICY.delay(error, attempt, elapsed, False, random)


@pytest.mark.parametrize("kind", MEANINGS)
def test_how_often_each_kind_of_error_is_repeated(kind: type[LollmsError]) -> None:
    times = sum(delay(kind("x"), attempt) is not None for attempt in range(1, 9))
    assert times == (2 if kind in NOT_NOW else 1 if kind in UNREACHED else 0)
    assert POLICY.delay(kind("x"), 1, 0, True, 0.5) is None
    assert NO_RETRY.delay(kind("x"), 1, 0, False, 0.5) is None


def test_waits_double_and_are_spread() -> None:
    error = Overloaded("x")
    assert delay(error, 1, random=0.0) == 0.25
    assert delay(error, 1, random=0.999) == pytest.approx(0.75, abs=0.01)
    assert delay(error, 2, random=0.5) == 1.0
    many = RetryPolicy(attempts=2000)
    assert many.delay(error, 1500, 0, False, 0.5) == many.longest


def test_retry_after_is_obeyed_up_to_a_minute() -> None:
    assert delay(RateLimited("x", retry_after=7)) == 7
    assert delay(RateLimited("x", retry_after=60)) == 60
    assert delay(RateLimited("x", retry_after=60.5)) is None
    assert delay(RateLimited("x", retry_after=1e9)) is None
    assert delay(RateLimited("x", retry_after=0)) == 0.5


def test_the_budget_is_kept() -> None:
    assert delay(RateLimited("x", retry_after=50), elapsed=70) == 50
    assert delay(RateLimited("x", retry_after=50), elapsed=71) is None
    assert delay(Overloaded("x"), elapsed=120) is None


def test_a_spent_account_is_not_asked_again() -> None:
    assert delay(RateLimited("x", upstream_code="insufficient_quota")) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "1000000000"}, 1e9),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Fri, 21 Nov 2025 12:00:30 GMT"}, 30),
        ({"retry-after": "Friday, 21-Nov-25 12:00:30 GMT"}, 30),
        ({"retry-after": "Fri Nov 21 12:00:30 2025"}, 30),
        ({"retry-after": "Fri, 21 Nov 2025 11:00:00 GMT"}, 0),
        ({"retry-after": "Fri, 21 Nov 2031 12:00:30 GMT", "date": "Fri, 21 Nov 2031 12:00:00 GMT"}, 30),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Fri, 99 Nov 2025 12:00:30 GMT"}, None),
        ({"retry-after": "Fri, 21 Foo 2025 12:00:30 GMT"}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, NOON) == seconds


def test_http_dates() -> None:
    assert parse_http_date(DATE) == NOON
    assert parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT")
    assert parse_http_date("Sun Nov  6 08:49:37 1994") == 784111777
    assert parse_http_date("") is None


def test_what_failed_behind_a_lollms_server_was_tried_again_there() -> None:
    policy = LollmsCodec.retry
    for theirs in (RateLimited("x"), Overloaded("x"), UpstreamFailed("x")):
        assert policy.delay(theirs, 1, 0.0, False, 0.5) is None
    for own in (TooManyRequests("x"), InstanceUnavailable("x")):
        assert policy.delay(own, 1, 0.0, False, 0.5) is not None
