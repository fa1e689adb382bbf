"""When to let the chunks of a body gather.

A model of this machine may send thousands of tokens in a second, each in a packet of its own, and each would cost
system calls and a turn of the thread or loop. So when small chunks come fast, reading rests for a moment that nobody
can see and then takes all that has come; a slower body is not delayed.
"""

from __future__ import annotations

__all__ = ["GATHER", "Pace"]

GATHER = 0.02  # seconds to rest when small chunks come faster than `_FAST`
_FAST = 0.005
_AT_ONCE = 0.001  # seconds of waiting that show that some had come meanwhile
_SMALL = 4096  # bytes of a chunk that is worth gathering
_GATHERED = 65536  # bytes of several, after which gathering goes on


class Pace:
    """How fast the reads of one body come; `fast` says that the next one should rest for `GATHER` seconds first."""

    __slots__ = ("_last", "fast")

    def __init__(self) -> None:
        self.fast = False
        self._last = 0.0  # when the last chunk came

    def took(self, size: int, began: float, now: float, *, rested: bool) -> None:
        """A read that began at `began` gave so many bytes `now`, after a rest or not; seconds of one clock."""
        if rested:
            self.fast = size < _GATHERED and now - began < _AT_ONCE
        else:
            self.fast = size < _SMALL and now - self._last < _FAST
        self._last = now
