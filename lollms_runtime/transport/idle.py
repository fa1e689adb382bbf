"""Connections that wait for their next request, newest first.

The lock is one that its thread may take again: a forgotten stream that is collected while we hold it gives its
connection back. So the lists are changed in place, which such a change in between does not undo.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["Idle", "is_readable"]

_KEEP_ALIVE = 30.0  # seconds for which an idle connection is kept


def is_readable(sock: socket.socket) -> bool:
    """Whether reading from it would end at once, with data or with the end of the connection."""
    number = sock.fileno()
    if number < 0:
        return True
    if sys.platform == "win32":  # which has no poll
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


class _Idling(Protocol):
    @property
    def is_readable(self) -> bool:
        """Whether something came unasked; of an idle connection that means that the server has closed it."""
        ...

    def close(self) -> None: ...


C = TypeVar("C", bound=_Idling)


class Idle(Generic[C]):
    """Connections by the place they lead to. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: dict[Hashable, list[tuple[C, float]]] = {}

    def take(self, place: Hashable) -> C | None:
        """A connection that can be used; those that cannot are closed."""
        while True:
            with self._lock:
                waiting = self._kept.get(place)
                if not waiting:
                    return None
                connection, since = waiting.pop()
            if time.monotonic() - since <= _KEEP_ALIVE and not connection.is_readable:
                return connection
            connection.close()

    def give(self, place: Hashable, connection: C) -> None:
        """Keep a connection for the next request; those that have waited for too long are closed."""
        now = time.monotonic()
        old: list[C] = []
        with self._lock:
            waiting = self._kept.setdefault(place, [])
            waiting.append((connection, now))
            while now - waiting[0][1] > _KEEP_ALIVE:
                old.append(waiting.pop(0)[0])
        for each in old:
            each.close()

    def forget(self, place: Hashable) -> None:
        """Close the others that lead to a place: one of them was closed over there, so they are no better."""
        with self._lock:
            waiting = self._kept.pop(place, [])
        for connection, _ in waiting:
            connection.close()

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for waiting in kept.values():
            for connection, _ in waiting:
                connection.close()
