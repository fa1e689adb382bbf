"""One request over aiohttp: the exchange, which is its response as well, and the body's chunks.

A connection whose exchange ends early is aborted, not closed: closing would first wait until everything that we still
meant to send has left, and the other side may have stopped reading.

This module imports the HTTP library; it is itself imported when the first request is opened.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, cast

import aiohttp

from lollms_core.errors import ConnectFailed, LollmsError
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.transport import failures
from lollms_runtime.transport.aiohttp_answer import Answer
from lollms_runtime.transport.aiohttp_session import Session
from lollms_runtime.transport.limits import Body, body_of
from lollms_runtime.transport.pace import GATHER, Pace
from lollms_runtime.transport.wire import joined

__all__ = ["Exchange"]


class Exchange:
    """One request: a context manager and, inside of it, the response; see `AsyncResponse`."""

    def __init__(self, session: Session, request: HttpRequest, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self.url = request.url
        self.loop = session.loop
        self.waits_since = math.inf  # when the reader began to wait for the next chunk
        self._session = session
        self._request = request
        self._limits = limits
        self._tls = tls
        self._times = request.timeouts
        self._end = math.inf if self._times.total is None else self.loop.time() + self._times.total
        self._phase: Literal["connect", "headers", "body"] = "connect"
        self._task: asyncio.Task[Any] | None = None  # set while it may be cancelled by `stop`
        self._deadline = math.inf  # for the headers, or for the end of a body that is complete but for its end
        self._socket: asyncio.Transport | None = None
        self._kept = False
        self._closed: asyncio.Future[None] | None = None
        self._response: Answer | None = None
        self._headers: Mapping[str, str] | None = None
        self.hurried = False
        self._stopped: LollmsError | None = None  # why we ended the exchange, if it was we who did

    # ---- the response

    @property
    def response(self) -> Answer:
        if self._response is None:
            raise RuntimeError("use `async with` before reading the response")
        return self._response

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = joined(self.response.headers.items())
        return self._headers

    def chunks(self) -> Chunks:
        """The body, unpacked, as it comes; see `AsyncResponse.chunks`."""
        response = self.response
        body = body_of(self.url, response.headers.get("content-encoding", ""), self._limits)
        return Chunks(self, response.content, body)

    # ---- the context manager

    async def __aenter__(self) -> Exchange:
        self._session.running.add(self)
        try:
            response = await self._send()
            if self._stopped is not None:
                raise self._stopped
            if not 200 <= response.status < 300:
                self._check(response.status)
        except BaseException:
            self._finish()
            raise
        if not response.content.is_eof():
            self._watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    async def _send(self) -> Answer:
        """Send the request and wait for the headers."""
        request, session, times = self._request, self._session, self._times
        route = session.route(self.url, self._tls)
        head = route.head(request)
        seconds = times.connect if times.total is None else min(times.connect, times.total)
        self._task = asyncio.current_task(self.loop)
        try:
            connection, kept = await session.connect(route, seconds)
            self._response = answer = Answer(connection)
            self.connected(connection.transport, kept=kept)
            await answer.begin(head, request.body, bodiless=request.method == "HEAD")
        except LollmsError:
            raise
        except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError) as error:
            failure = self.failed(error)
            if self._kept and isinstance(failure, ConnectFailed):
                session.forget_idle(route)
            raise failure from error
        except asyncio.CancelledError:
            if self._stopped is None or self._task is None or self._phase != "connect" or self._task.uncancel():
                raise
            raise self._stopped from None
        finally:
            self._task = None
        self._phase = "body"
        self._deadline = math.inf
        return answer

    def _check(self, status: int) -> None:
        if status < 200:
            raise failures.malformed(self.url, f"it begins with status {status}")
        if 300 <= status < 400:
            raise failures.redirected(self.url, status, self.headers.get("location", ""))

    def _watch(self) -> None:
        """The body is still to come: watch the clock and the connection."""
        self._session.look_at(min(self.loop.time() + self._times.idle, self._end))
        connection = self.response.connection
        protocol = None if connection is None else connection.protocol
        self._closed = None if protocol is None else protocol.closed
        if self._closed is None:
            self.lost()
        else:
            self._session.watch(self._closed, self)

    def _finish(self) -> None:
        """Give the connection back if the answer is complete, else abort it."""
        self._session.running.discard(self)
        if self._closed is not None:
            self._session.watch(self._closed, None)
        self._abort()
        if self._response is not None:
            self._response.close()

    def _abort(self) -> None:
        # When the answer is complete, the connection was given back at once, and it may serve others already.
        taken_back = self._response is not None and self._response.connection is None
        if self._socket is not None and not taken_back:
            self._socket.abort()

    # ---- time

    def connected(self, transport: asyncio.Transport | None, *, kept: bool) -> None:
        """There is a connection, perhaps a `kept` one: what counts now is the time until the headers have come."""
        self._socket = transport
        self._kept = kept
        if self._phase == "connect":
            self._phase = "headers"
            self._deadline = self.loop.time() + self._times.first_byte
            self._session.look_at(min(self._deadline, self._end))

    def due(self, now: float) -> float:
        """The moment at which the exchange is late, if nothing happens until then."""
        if self._phase == "connect" or (self._phase == "body" and self.response.content.is_eof()):
            return math.inf
        if self._phase == "body" and not self.hurried:
            return min(min(self.waits_since, now) + self._times.idle, self._end)
        return min(self._deadline, self._end)

    def late(self, now: float) -> LollmsError:
        """The error of an exchange that is late."""
        times = self._times
        if times.total is not None and now >= self._end:
            return failures.total_timeout(self.url, times.total)
        if self._phase == "connect":
            return failures.connect_timeout(self.url, times.connect)
        if self._phase == "headers":
            return failures.first_byte_timeout(self.url, times.first_byte)
        return failures.idle_timeout(self.url, times.idle)

    def hurry(self, seconds: float) -> None:
        """See `Response.hurry`."""
        if not self.hurried and not self.response.content.is_eof():
            self.hurried = True
            self._deadline = self.loop.time() + seconds
            self._session.look_at(self._deadline)

    async def rest(self, seconds: float) -> bool:
        """Read nothing for so long, and let the system gather what comes; whether that could be done."""
        if self._socket is None or self.hurried or self.gone():
            return False
        self._socket.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            if not self.gone():
                self._socket.resume_reading()
        return True

    # ---- errors

    def stop(self, error: LollmsError) -> None:
        """End the exchange from outside: whoever waits for it gets this error."""
        self._stopped = error
        if self._phase == "body":
            self.response.content.set_exception(error)
        elif self._phase == "connect" and self._task is not None:
            self._task.cancel()  # and `_send` turns that into the error
        self._abort()

    def gone(self) -> bool:
        """Whether the connection is closed."""
        return self._socket is None or self._socket.is_closing()

    def lost(self) -> None:
        """The connection is gone; a body that is neither complete nor failed by now was not understood."""
        content = self.response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(failures.malformed(self.url))

    def failed(self, error: Exception) -> LollmsError:
        """What an error of the HTTP library means for this exchange."""
        if self._stopped is not None:
            return self._stopped
        if isinstance(error, TimeoutError) and self._phase == "connect":
            return self.late(self.loop.time())
        if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
            return failures.bad_address(self.url)
        if isinstance(error, (aiohttp.ClientConnectorDNSError, UnicodeError)):
            return failures.unknown_name(self.url)
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return failures.untrusted(self.url, error.certificate_error)
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            return failures.untrusted(self.url, error)
        if isinstance(error, aiohttp.ClientConnectorError):
            if isinstance(error.os_error, ConnectionRefusedError):
                return failures.refused(self.url)
            return failures.unreachable(self.url, error.os_error)
        # aiohttp's way to say that a connection was lost, but neither ended nor failed, is a RuntimeError.
        if isinstance(error, (aiohttp.http_exceptions.HttpProcessingError, RuntimeError)):
            return failures.malformed(self.url)
        if self._phase == "body":
            return failures.truncated(self.url)
        partly = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)
        return failures.went_stale(self.url) if self._kept and not partly else failures.closed_early(self.url)


class Chunks:
    """The body as an async iterator; a class, because an abandoned async generator leaves a task behind."""

    __slots__ = ("_body", "_content", "_exchange", "_failure", "_pace", "_pieces", "_read", "_time")

    def __init__(self, exchange: Exchange, content: aiohttp.StreamReader, body: Body) -> None:
        self._exchange = exchange
        self._content = content
        self._body = body
        self._pieces: Iterator[bytes] | None = None
        self._failure: LollmsError | None = None
        self._read = content.readany
        self._time = exchange.loop.time
        self._pace = Pace()

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        exchange = self._exchange
        while True:
            if self._pieces is not None:
                await asyncio.sleep(0)  # unpacking takes time that others need too
                for piece in self._pieces:
                    return piece
                self._pieces = None
            if self._failure is not None:
                self._end()
                raise StopAsyncIteration
            try:
                if self._content.is_eof():
                    data = self._content.read_nowait()
                else:
                    rested = self._pace.fast and await exchange.rest(GATHER)
                    since = exchange.waits_since = self._time()
                    data = await self._read()
                    self._pace.took(len(data), since, self._time(), rested=rested)
            except (LollmsError, aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError) as error:
                data = self._keep(error)
            except RuntimeError as error:
                if not exchange.gone():
                    raise
                data = self._keep(error)
            finally:
                exchange.waits_since = math.inf
            if not data:
                self._end()
                raise StopAsyncIteration
            if not self._body.packed:
                self._body.count(data)
                return data
            self._pieces = self._body.unpack(data)

    def _keep(self, error: Exception) -> bytes:
        """Note the error, and return what had come before it: aiohttp puts the error in front of it."""
        if isinstance(error, LollmsError):
            self._failure = error
        else:
            self._failure = self._exchange.failed(error)
            self._failure.__cause__ = error
        self._content.set_exception(cast(Exception, None))
        data = self._content.read_nowait()
        self._content.set_exception(self._failure)
        return data

    def _end(self) -> None:
        """The body is over: in order, or with an error."""
        if self._exchange.hurried:
            return
        if self._failure is not None:
            raise self._failure
        self._body.end()
