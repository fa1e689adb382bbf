"""Time-outs for many waits with one timer: it is set to the earliest, and looks at the others when it fires.

A timer for each wait costs more than the wait itself where thousands begin and end in a second, nearly all of them
long before their time.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Protocol

__all__ = ["Alarm", "Waits"]


class Waits(Protocol):
    """Whoever waits."""

    def expire(self) -> None:
        """The time is over."""
        ...


class Alarm:
    """The time-outs of one event loop. Made for another loop, or after `close`, it begins anew."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waits: dict[Waits, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at = math.inf

    def set(self, who: Waits, moment: float, loop: asyncio.AbstractEventLoop) -> None:
        """Call `who.expire()` at this moment of the monotonic clock, unless it is cleared before."""
        if loop is not self._loop:
            self.close()
            self._waits.clear()
            self._loop = loop
        self._waits[who] = moment
        if moment < self._at:
            self._look_at(moment, time.monotonic())

    def clear(self, who: Waits) -> None:
        """The wait is over; nothing if there was none."""
        self._waits.pop(who, None)

    def close(self) -> None:
        """Forget the timer; those that wait are woken in another way."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._at = None, math.inf

    def _look_at(self, moment: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._at = moment
            self._timer = self._loop.call_later(moment - now, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self._timer, self._at = None, math.inf
        for who in [who for who, moment in self._waits.items() if moment <= now]:
            if self._waits.pop(who, None) is not None:  # else another one's end was its end, too
                who.expire()
        if self._waits and (first := min(self._waits.values())) < self._at:
            self._look_at(first, now)
