"""When a failed call is tried again, as a pure decision: the caller waits and tries, this module only says how long.

A generation may cost money and is not undone by repeating it, so the rules are strict: nothing that delivered anything
is repeated; a call that never reached the backend is repeated once; a backend that says "not now" (429, 500, 502, 503,
529) is asked again twice, after a random wait that doubles. A `Retry-After` is obeyed up to a minute; a longer one is
the caller's business. Refused keys, wrong requests, time-outs and broken protocols are never repeated.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Mapping

import msgspec

from lollms_core.errors import (
    ConnectFailed,
    ConnectTimeout,
    EngineCrashed,
    InstanceUnavailable,
    LollmsError,
    Overloaded,
    RateLimited,
    TooManyRequests,
    UpstreamFailed,
)

__all__ = ["NO_RETRY", "RetryPolicy", "parse_http_date", "parse_retry_after"]

_UNREACHED = (ConnectFailed, ConnectTimeout)
_NOT_NOW = (RateLimited, Overloaded, UpstreamFailed, TooManyRequests, InstanceUnavailable, EngineCrashed)

_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""Codes that come with status 429 although waiting changes nothing."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often and how long. Times in seconds.

    `connect` and `attempts` are numbers of repetitions, `base` is the middle of the first wait, `longest` bounds a wait
    of our own choice, `obey` a `Retry-After`, and `budget` all tries and waits of one call together. `not_now` are the
    errors after which a backend is asked again.
    """

    connect: int = 1
    attempts: int = 2
    base: float = 0.5
    longest: float = 8.0
    obey: float = 60.0
    budget: float = 120.0
    not_now: tuple[type[LollmsError], ...] = _NOT_NOW

    def delay(self, error: LollmsError, attempt: int, elapsed: float, delivered: bool, random: float) -> float | None:
        """Seconds to wait before the next try; None when `error` is final.

        `attempt` counts the tries made so far (1 after the first), `elapsed` is the time since the first began,
        `delivered` says whether any event reached the caller, `random` is a number from 0 to 1.
        """
        if delivered:
            return None
        allowed = self._allowed(error)
        if attempt > allowed:
            return None
        wait = min(self.base * 2.0 ** min(attempt - 1, 60), self.longest) * (0.5 + random)
        if error.retry_after is not None:
            if error.retry_after > self.obey:
                return None
            wait = max(wait, error.retry_after)
        return wait if elapsed + wait <= self.budget else None

    def _allowed(self, error: LollmsError) -> int:
        if isinstance(error, _UNREACHED):
            return self.connect
        if isinstance(error, self.not_now) and error.upstream_code not in _SPENT:
            return self.attempts
        return 0


NO_RETRY = RetryPolicy(connect=0, attempts=0)


# ---- Retry-After ---------------------------------------------------------------------------------------------------

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# The three forms of RFC 9110, 5.6.7: IMF-fixdate, RFC 850 with a two-digit year, asctime.
_DATES = (
    re.compile(r"\w{3}, (?P<d>\d{2}) (?P<m>\w{3}) (?P<y>\d{4}) (?P<t>\d\d:\d\d:\d\d) GMT", re.ASCII),
    re.compile(r"\w{6,9}, (?P<d>\d{2})-(?P<m>\w{3})-(?P<y>\d{2}) (?P<t>\d\d:\d\d:\d\d) GMT", re.ASCII),
    re.compile(r"\w{3} (?P<m>\w{3}) (?P<d>[ \d]\d) (?P<t>\d\d:\d\d:\d\d) (?P<y>\d{4})", re.ASCII),
)


def parse_http_date(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date (RFC 9110, 5.6.7); None if it is not one."""
    for form in _DATES:
        found = form.fullmatch(text.strip())
        if found is None:
            continue
        month = found["m"].lower()
        hour, minute, second = (int(part) for part in found["t"].split(":"))
        year = int(found["y"])
        if len(found["y"]) == 2:
            year += 2000 if year < 70 else 1900
        day = int(found["d"])
        if month not in _MONTHS or not (1 <= day <= 31 and hour < 24 and minute < 60 and second < 61 and year >= 1970):
            return None
        return float(timegm((year, _MONTHS.index(month) + 1, day, hour, minute, second, 0, 1, 0)))
    return None


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the backend asked us to wait, from headers with lower-case names; None if it did not say clearly.

    Reads `retry-after-ms` (milliseconds) and `retry-after` (seconds, or a date, which is compared with the response's
    own `date` where it has one, so that a wrong clock does no harm, else with `now`, seconds since 1970).
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until = parse_http_date(text)
    if until is None:
        return None
    there = parse_http_date(headers.get("date", ""))
    return max(0.0, until - (now if there is None else there))


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d{1,18}(?:\.\d{1,18})?\s*", text, re.ASCII) else None
