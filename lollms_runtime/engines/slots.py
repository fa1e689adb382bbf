"""The slots of a llama.cpp server, handed out by us.

A slot is a place in the server's key-value cache that works on one request at a time. The server could choose one
itself, but then nobody would know which slot a cancelled request leaves busy, and requests would wait inside the
server, where they cannot be cancelled. So each request leases a slot here first, in the order of asking, whether it
comes from a thread or a coroutine: a lease is a `concurrent.futures.Future`, which both can wait for and cancel.

Each slot remembers a trail, one number per message of its last conversation. A request whose conversation goes on from
there gets that slot if it is free, because the server then reads only the new messages. Otherwise the slot unused for
longest is taken, so that the caches of other conversations live on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TypeAlias

from lollms_core.types import Message

__all__ = ["SlotPool", "Trail", "trail_of"]

Trail: TypeAlias = tuple[int, ...]


def trail_of(messages: Sequence[Message]) -> Trail:
    """One number per message. Equal messages have equal numbers; only the choice of a slot depends on it."""
    return tuple(hash((message.role, message.parts, message.tool_call_id)) for message in messages)


class SlotPool:
    """Slots 0 to `count - 1`. Safe from any thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.begin_anew()

    def begin_anew(self) -> None:
        """All slots are free and empty, and nobody waits: for a forked child, to which the leases do not belong."""
        self._lock = threading.Lock()
        self._free = list(range(self.count))  # the one unused for longest comes first
        self._trails: list[Trail] = [()] * self.count
        self._waiting: deque[tuple[Future[int], Trail]] = deque()

    def lease(self, trail: Trail = ()) -> Future[int]:
        """A future for a slot number: done already if a slot is free, else in the order of asking.

        Give a future that you no longer wait for to `abandon`, and a slot back with `release`.
        """
        future: Future[int] = Future()
        with self._lock:
            if not self._free:
                self._waiting.append((future, trail))
                return future
            slot = self._best(trail)
        future.set_running_or_notify_cancel()
        future.set_result(slot)
        return future

    def abandon(self, future: Future[int]) -> None:
        """Stop waiting; a slot that was handed over in the same moment goes back."""
        if not future.cancel():
            self.release(future.result())
            return
        with self._lock:
            self._waiting = deque(waiter for waiter in self._waiting if waiter[0] is not future)

    def release(self, slot: int) -> None:
        """Give a slot back; the request that has waited longest gets it."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._free.append(slot)
                    return
                future, trail = self._waiting.popleft()
                running = future.set_running_or_notify_cancel()
                if running:
                    self._trails[slot] = trail
            if running:
                future.set_result(slot)  # outside of the lock, because it runs the callbacks of those who wait
                return

    def position(self, future: Future[int]) -> int | None:
        """How many requests are before this one; None when it does not wait."""
        with self._lock:
            return next((place for place, (other, _) in enumerate(self._waiting) if other is future), None)

    def forget(self) -> None:
        """The server was started afresh: its caches are empty."""
        with self._lock:
            self._trails = [()] * self.count

    def _best(self, trail: Trail) -> int:
        """Take the free slot that knows the most of this conversation, or the one unused for longest."""
        known = [len(old) if (old := self._trails[slot]) == trail[: len(old)] else 0 for slot in self._free]
        slot = self._free.pop(max(range(len(known)), key=lambda place: (known[place], -place)))
        self._trails[slot] = trail
        return slot
