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

import msgspec

from lollms_core.types import Message

__all__ = ["Lease", "SlotPool", "Trail", "trail_of"]

Trail: TypeAlias = tuple[int, ...]


def trail_of(messages: Sequence[Message]) -> Trail:
    """One number per message. Equal messages have equal numbers; only the choice of a slot depends on it."""
    return tuple(hash((message.role, message.parts, message.tool_call_id)) for message in messages)


class Lease(msgspec.Struct, frozen=True):
    """A slot, and how many messages at the beginning of the conversation it has read before."""

    slot: int
    known: int = 0


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
        self._waiting: deque[tuple[Future[Lease], Trail]] = deque()

    def lease(self, trail: Trail = ()) -> Future[Lease]:
        """A future for a slot: done already if a slot is free, else in the order of asking.

        Give a future that you no longer wait for to `abandon`, and a slot back with `release`.
        """
        future: Future[Lease] = Future()
        with self._lock:
            if not self._free:
                self._waiting.append((future, trail))
                return future
            lease = self._take(max(self._free, key=lambda slot: self._known(slot, trail)), trail)
            self._free.remove(lease.slot)
        future.set_running_or_notify_cancel()
        future.set_result(lease)
        return future

    def abandon(self, future: Future[Lease]) -> None:
        """Stop waiting; a slot that was handed over in the same moment goes back."""
        if not future.cancel():
            self.release(future.result().slot)
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
                lease = self._take(slot, trail) if running else None
            if lease is not None:
                future.set_result(lease)  # outside of the lock, because it runs the callbacks of those who wait
                return

    def position(self, future: Future[Lease]) -> int | None:
        """How many requests are before this one; None when it does not wait."""
        with self._lock:
            return next((place for place, (other, _) in enumerate(self._waiting) if other is future), None)

    def forget(self) -> None:
        """The server was started afresh: its caches are empty."""
        with self._lock:
            self._trails = [()] * self.count

    def _known(self, slot: int, trail: Trail) -> int:
        """How many messages of a conversation a slot has read, if it is the conversation that it worked on last."""
        old = self._trails[slot]
        return len(old) if old == trail[: len(old)] else 0

    def _take(self, slot: int, trail: Trail) -> Lease:
        lease = Lease(slot, self._known(slot, trail))
        self._trails[slot] = trail
        return lease
