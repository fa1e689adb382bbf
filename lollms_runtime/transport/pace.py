"""When to let the chunks of a body gather.

A model of this machine may send thousands of tokens in a second, each in a packet of its own, and each would cost
system calls and a turn of the thread or loop. So when small chunks come fast, reading rests for a moment that nobody
can see and then takes all that has come; a slower body is not delayed. The rest is a tenth of the time that the body
has taken so far, within bounds: so an answer is never late by much more than a tenth.
"""

from __future__ import annotations

__all__ = ["Pace"]

_LEAST, _MOST = 0.025, 0.05  # seconds of a rest
_PART = 0.1
_FAST = 0.005  # seconds between chunks that come fast
_AT_ONCE = 0.001  # seconds of waiting that show that some had come meanwhile
_SMALL = 4096  # bytes of a chunk that is worth gathering
_GATHERED = 65536  # bytes of several, after which gathering goes on


class Pace:
    """How fast the reads of one body come; before the next one `rest` for so many seconds, or for none."""

    __slots__ = ("_begun", "_last", "rest")

    def __init__(self) -> None:
        self.rest = 0.0
        self._begun = 0.0  # when the first chunk came, and the last
        self._last = 0.0

    def took(self, size: int, began: float, now: float, *, rested: bool) -> None:
        """A read that began at `began` gave so many bytes `now`, after a rest or not; seconds of one clock."""
        if not self._begun:
            self._begun = now
        fast = size < _GATHERED and now - began < _AT_ONCE if rested else size < _SMALL and now - self._last < _FAST
        self.rest = min(_MOST, max(_LEAST, _PART * (now - self._begun))) if fast else 0.0
        self._last = now
