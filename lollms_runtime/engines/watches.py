"""Slots that should become idle: requests that were cancelled while the engine still works on them.

llama.cpp answers questions only between two steps of its work, and one step is a whole stage of a prompt where one is
read. A large model on a slow machine takes many seconds for that. So what counts against an engine is not the time
since the cancellation but the time in which it does answer, and says that it still works on the request: `cancel`
seconds, of which one answer brings at most a tenth, however long it took. An engine that gives no sign of life at all,
no answer and no event of any stream, has `silence` seconds.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing

import msgspec

from lollms_core.protocols.base import Target

__all__ = ["Watches", "asked"]

_ASK = 1.0  # seconds for a small question to the engine
_ANSWERS = 10  # after so many answers, at least, an engine is ended


class _Watch(msgspec.Struct):
    """One slot: what to do when it is idle, and how much of the patience with it is used up, as of `since`."""

    slot: int
    done: Callable[[], None]
    since: float
    used: float = 0.0


class Watches:
    """The slots of one engine that should become idle. Safe from any thread; `look` is for one thread alone."""

    def __init__(
        self, target: Target, *, cancel: float, silence: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._cancel = cancel
        self._silence = silence
        self._clock = clock
        self._heard = clock()
        self._lock = threading.Lock()
        self._watches: list[_Watch] = []
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._watches)

    def hear(self) -> None:
        """The engine has given a sign of life."""
        self._heard = self._clock()

    def add(self, slot: int, done: Callable[[], None]) -> bool:
        """Call `done` as soon as the engine has left the slot. False if the engine is gone: nothing will be done."""
        with self._lock:
            if not self._closed:
                if not self._watches:  # what it has not said before anybody asked is no silence
                    self.hear()
                self._watches.append(_Watch(slot, done, self._clock()))
            return not self._closed

    def close(self) -> None:
        """The engine is gone: all of its slots are idle."""
        with self._lock:
            self._closed = True
            watches, self._watches = self._watches, []
        for watch in watches:
            watch.done()

    def look(self) -> str:
        """Ask the engine and settle what is idle. Words for why it has to be ended, '' while it need not."""
        busy = _busy_slots(self._target)
        now = self._clock()
        if busy is None:
            if now - self._heard < self._silence:
                return ""
            return f"gave no sign of life for {self._silence:g} seconds after a request was cancelled"
        self._heard = now
        with self._lock:
            idle = [watch for watch in self._watches if watch.slot not in busy]
            self._watches = [watch for watch in self._watches if watch.slot in busy]
            for watch in self._watches:
                watch.used += min(now - watch.since, self._cancel / _ANSWERS)
                watch.since = now
            late = any(watch.used >= self._cancel for watch in self._watches)
        for watch in idle:
            watch.done()
        return f"did not let go of a cancelled request within {self._cancel:g} seconds" if late else ""


class _Everything(set[int]):
    """The slots of an engine that answers, but not the question."""

    def __contains__(self, slot: object) -> bool:
        return True


def _busy_slots(target: Target) -> set[int] | None:
    """The slots that work on something; None if the engine does not answer."""
    answer = asked(int(target.base_url.rsplit(":", 1)[1]), target.key, "/slots")
    if answer is None:
        return None
    try:
        slots = json.loads(answer[1])
        return {slot["id"] for slot in slots if slot["is_processing"]} if answer[0] == 200 else _Everything()
    except (ValueError, TypeError, KeyError):
        return _Everything()


def asked(port: int, key: str, path: str) -> tuple[int, bytes] | None:
    """Status and body of the answer to a small question to an engine; None if there is none in time."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK)) as connection:
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None
