"""The connections of one event loop, and the clock of the exchanges that use them.

aiohttp bounds the time to connect; what comes after that is bounded by a clock of ours, first the time to the headers,
then the time between two chunks. When it is over, the exchange is stopped: its connection is aborted, or the reader of
the body gets the error. No task is cancelled, and no time-out is held while the reader's own code runs between two
chunks (PEP 789). The connector tells the moment from which to wait for the headers, which is why it is a class of ours.

aiohttp's own time-out for reading begins anew with each byte of the headers, and costs a timer for each chunk of the
body. Ours is one timer for all exchanges, set to the earliest moment at which one of them can be late; it then looks
how long their readers have been waiting. So neither a request nor a chunk costs a timer.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from yarl import URL

from lollms_runtime.transport import failures
from lollms_runtime.transport.wire import split

if TYPE_CHECKING:
    from lollms_runtime.transport.aiohttp_exchange import Exchange

__all__ = ["Session"]

K = TypeVar("K")
V = TypeVar("V")

_KEEP_ALIVE = 30.0  # seconds for which an idle connection is kept
_REMEMBERED = 100  # addresses and times to connect


class Session:
    """The connections of one event loop, and the exchanges that use them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.running: set[Exchange] = set()
        self.current: contextvars.ContextVar[Exchange] = contextvars.ContextVar("exchange")
        self.client = aiohttp.ClientSession(
            connector=_Connector(self.current),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
            trust_env=False,
        )
        self._addresses: dict[str, URL] = {}
        self._connect_times: dict[float, aiohttp.ClientTimeout] = {}
        self._readers: weakref.WeakKeyDictionary[asyncio.Future[None], Exchange | None] = weakref.WeakKeyDictionary()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    async def close(self) -> None:
        """End what is running and close all connections."""
        for exchange in tuple(self.running):
            exchange.stop(failures.stopped())
        if self._alarm is not None:
            self._alarm.cancel()
        await self.client.close()

    def connect_time(self, seconds: float) -> aiohttp.ClientTimeout:
        """aiohttp's form of a time to connect, kept because there are few of them and making one is slow."""
        known = self._connect_times.get(seconds)
        if known is None:
            known = aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=math.inf)
            _remember(self._connect_times, seconds, known)
        return known

    def address(self, url: str) -> URL:
        """aiohttp's form of an address, kept for the same reason. Raises `InvalidRequest` for an unusable one."""
        known = self._addresses.get(url)
        if known is None:
            split(url)
            known = URL(url, encoded=True)
            _remember(self._addresses, url, known)
        return known

    # ---- time

    def look_at(self, moment: float) -> None:
        """Look at the exchanges at this moment of the loop's time, if not before."""
        if moment < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = moment
            self._alarm = self.loop.call_at(moment, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        self._alarm, self._alarm_at = None, math.inf
        for exchange in tuple(self.running):
            due = exchange.due(now)
            if due <= now:
                exchange.stop(exchange.late(now))
            elif due < math.inf:
                self.look_at(due)

    # ---- lost connections

    def watch(self, closed: asyncio.Future[None], exchange: Exchange | None) -> None:
        """Tell this exchange (and no earlier one) when the connection with this `closed` is lost.

        aiohttp's parser can give up a connection in the middle of a body without telling the body's reader.
        """
        if closed not in self._readers:
            closed.add_done_callback(self._lost)
        self._readers[closed] = exchange

    def _lost(self, closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()  # it has been looked at
        exchange = self._readers.pop(closed, None)
        if exchange is not None:
            exchange.lost()


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value


class _Connector(aiohttp.TCPConnector):
    """Tells the current exchange when it has a connection."""

    def __init__(self, current: contextvars.ContextVar[Exchange]) -> None:
        super().__init__(limit=0, keepalive_timeout=_KEEP_ALIVE, resolver=_Resolver())
        self._current = current
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()  # connections that have served before

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        kept = protocol in self._known
        if not kept:
            self._known.add(protocol)
        self._current.get().connected(connection.transport, kept=kept)
        return connection


class _Resolver(aiohttp.ThreadedResolver):
    """A name without addresses is unknown."""

    async def resolve(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().resolve(*args, **kwargs)
        if not found:
            raise OSError("the name has no addresses")
        return found
