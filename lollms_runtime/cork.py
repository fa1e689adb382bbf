"""Writes that leave together, behind each other, at the end of a turn of the event loop.

To wake a process that sleeps costs several times what the write itself does, and between two writes of ours there is
time enough to fall asleep again. When many answers (or requests) are made in one turn, their readers wake once.
"""

from __future__ import annotations

import asyncio

__all__ = ["Cork"]


class Cork:
    """What the current turn of one event loop has to write."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.WriteTransport, bytes]] = []

    def write(self, transport: asyncio.WriteTransport, data: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Write to the transport soon; nothing if it is closing by then."""
        if not self._waiting:
            loop.call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        """Write all of it now."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
