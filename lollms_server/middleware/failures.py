"""Counting what went wrong per address, in a table that cannot grow."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["FailureTable"]

_WINDOW = 60.0


class FailureTable:
    """Counts failures per address in windows of a minute; the addresses heard of longest ago are forgotten first.

    `limit` failures per window are let pass. IPv6 addresses count by their /64, as one machine owns all of it.
    """

    def __init__(self, limit: int, clock: Callable[[], float], size: int = 4096) -> None:
        self.limit = limit
        self._clock = clock
        self._size = size
        self._rows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def record(self, address: str) -> tuple[int, float]:
        """Count one failure: how many in this window, and the seconds to wait when that is over the limit, else 0."""
        network = _network(address)
        now = self._clock()
        start, count = self._rows.pop(network, (now, 0))
        if now - start >= _WINDOW:
            start, count = now, 0
        self._rows[network] = (start, count + 1)
        if len(self._rows) > self._size:
            self._rows.popitem(last=False)
        return count + 1, (start + _WINDOW - now if count >= self.limit else 0.0)

    def __len__(self) -> int:
        return len(self._rows)


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address[:64]
