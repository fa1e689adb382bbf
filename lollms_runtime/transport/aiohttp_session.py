"""The connections of one event loop, and the clock of the exchanges that use them.

aiohttp bounds the time to connect; what comes after that is bounded by a clock of ours, first the time to the headers,
then the time between two chunks. When it is over, the exchange is stopped: its connection is aborted, or the reader of
the body gets the error. No task is cancelled, and no time-out is held while the reader's own code runs between two
chunks (PEP 789).

aiohttp's own time-out for reading begins anew with each byte of the headers, and costs a timer for each chunk of the
body. Ours is one timer for all exchanges, set to the earliest moment at which one of them can be late; it then looks
how long their readers have been waiting. So neither a request nor a chunk costs a timer.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from yarl import URL

from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport import failures
from lollms_runtime.transport.wire import headers_to_send, split

if TYPE_CHECKING:
    from aiohttp.connector import Connection

    from lollms_runtime.transport.aiohttp_exchange import Exchange

__all__ = ["Route", "Session"]

K = TypeVar("K")
V = TypeVar("V")

_KEEP_ALIVE = 30.0  # seconds for which an idle connection is kept
_REMEMBERED = 100  # addresses and times to connect


class Route:
    """The way to an address: aiohttp's description of it, which finds the connection, and the head of a request."""

    __slots__ = ("_host", "_path", "request")

    def __init__(self, request: aiohttp.ClientRequest) -> None:
        self.request = request
        self._path = request.url.raw_path_qs
        self._host = request.headers["Host"]

    def head(self, request: HttpRequest) -> bytes:
        """The head of a request on this way. Raises `InvalidRequest` for a header that cannot be sent."""
        headers = {"host": self._host, **headers_to_send(request)}
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        return f"{request.method} {self._path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("ascii")


class Session:
    """The connections of one event loop, and the exchanges that use them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.running: set[Exchange] = set()
        self.connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, resolver=_Resolver(), loop=loop)
        self._served: weakref.WeakSet[Any] = weakref.WeakSet()  # connections that have served before
        self._routes: dict[tuple[str, ssl.SSLContext | None], Route] = {}
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
        await self.connector.close()

    def connect_time(self, seconds: float) -> aiohttp.ClientTimeout:
        """aiohttp's form of a time to connect, kept because there are few of them and making one is slow."""
        known = self._connect_times.get(seconds)
        if known is None:
            known = aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=math.inf)
            _remember(self._connect_times, seconds, known)
        return known

    def route(self, url: str, tls: ssl.SSLContext | None) -> Route:
        """How to get to an address, kept for the same reason. Raises `InvalidRequest` for an unusable one."""
        known = self._routes.get((url, tls))
        if known is None:
            split(url)
            known = Route(aiohttp.ClientRequest("GET", URL(url, encoded=True), loop=self.loop, ssl=tls or True))
            _remember(self._routes, (url, tls), known)
        return known

    async def connect(self, route: Route, seconds: float) -> tuple[Connection, bool]:
        """A connection, and whether it has served before. Raises aiohttp's errors."""
        connection = await self.connector.connect(route.request, traces=[], timeout=self.connect_time(seconds))
        protocol = connection.protocol
        kept = protocol in self._served
        if not kept:
            self._served.add(protocol)
        return connection, kept

    def forget_idle(self, route: Route) -> None:
        """Close the idle connections to an address: one of them was closed over there, so the others are no better."""
        for protocol, _ in self.connector._conns.pop(route.request.connection_key, ()):
            protocol.close()

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


class _Resolver(aiohttp.ThreadedResolver):
    """A name without addresses is unknown."""

    async def resolve(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().resolve(*args, **kwargs)
        if not found:
            raise OSError("the name has no addresses")
        return found
