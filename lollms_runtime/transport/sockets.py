"""The sockets of the synchronous transport: what httpx2's pool reads and writes through.

There are two reasons for sockets of our own. A thread that is blocked in `connect`, in a TLS handshake or in `recv` is
woken only by shutting its socket down (closing it from another thread does nothing), so a cancellation must know the
socket of an exchange at every moment, also before there is a response. And time-outs must be deadlines: a server that
sends one byte of its headers per second must not renew our patience with each.

An `Exchange` is one request on its way. The pool connects and writes on the thread that asked, so while it does, the
exchange stands in a `threading.local`; a socket that is connected or written to belongs to it from then on.

This module imports the HTTP library; it is itself imported when the first request is opened.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import httpcore2

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport import failures
from lollms_runtime.transport.pace import GATHER, Pace

__all__ = ["Backend", "Exchange", "Wire", "translated"]


class Line(Protocol):
    """A connection as its exchange sees it."""

    @property
    def ended(self) -> bool:
        """Whether the other side has closed it."""
        ...

    @property
    def kept(self) -> bool:
        """Whether it has served an earlier exchange."""
        ...

    def shut_down(self) -> None:
        """Break it: whoever waits for it is woken."""
        ...


class Exchange:
    """One request on its way: its clock, and the connection it uses. Both transports of the library have these."""

    def __init__(self, request: HttpRequest) -> None:
        self.url = request.url
        self._times = request.timeouts
        self._phase: Literal["connect", "headers", "body"] = "connect"
        self._lock = threading.Lock()
        self._wire: Line | None = None
        self._aborted = False
        self._answered = False
        self._woken = threading.Event()
        self._pace = Pace()
        start = time.monotonic()
        self._end = None if self._times.total is None else start + self._times.total
        self._deadline = start + self._times.connect
        self.hurried = False

    # ---- stopping

    def abort(self) -> None:
        """Wake the thread that works on this exchange; whatever it does next fails. Safe from any thread."""
        with self._lock:
            self._aborted = True
            if self._wire is not None:
                self._wire.shut_down()
        self.wake()

    def uses(self, wire: Line) -> None:
        """This is the connection to shut down from now on. Raises `Cancelled` if it is too late for that."""
        with self._lock:
            if self._aborted:
                raise failures.stopped()
            self._wire = wire

    def end(self) -> None:
        """The socket may serve others now, so `abort` must not touch it any more."""
        with self._lock:
            self._wire = None

    def wake(self) -> None:
        """Something has happened that `wait` waits for."""
        self._woken.set()

    def wait(self) -> None:
        """Wait for `wake`. Raises `Cancelled`, or the time-out of the phase."""
        while not self._woken.wait(self.patience()):
            pass
        self._woken.clear()
        if self._aborted:
            raise failures.stopped()

    # ---- time

    def sends(self) -> None:
        """There is a connection: what counts now is the time until the headers have come."""
        if self._phase == "connect":
            self._phase = "headers"
            self._deadline = time.monotonic() + self._times.first_byte

    def reads_body(self) -> None:
        """The headers have come: what counts now is the time between two reads."""
        self._phase = "body"

    def hurry(self, seconds: float) -> None:
        """The answer is complete: from now on only so many seconds count, for all that is still to be read."""
        if not self.hurried:
            self.hurried = True
            self._end = time.monotonic() + seconds

    @property
    def should_rest(self) -> bool:
        """Whether small chunks of the body come so fast that they should gather (see `pace`)."""
        return self._pace.fast and self._phase == "body" and not self.hurried

    def rest(self) -> None:
        """Let chunks gather. Raises `Cancelled`."""
        if self._woken.wait(GATHER) and self._aborted:
            raise failures.stopped()

    def took(self, size: int, began: float, *, rested: bool) -> None:
        """A read that began at `began`, by the monotonic clock, gave so many bytes."""
        self._pace.took(size, began, time.monotonic(), rested=rested)

    def patience(self) -> float:
        """Seconds that the next blocking call may take. Raises the time-out of the phase when none are left."""
        if self._phase == "body":
            if self._end is None:
                return self._times.idle
            left = min(self._times.idle, self._end - time.monotonic())
        else:
            last = self._deadline if self._end is None else min(self._deadline, self._end)
            left = last - time.monotonic()
        if left <= 0:
            raise self._expired()
        return left

    def _expired(self) -> LollmsError:
        times = self._times
        if self.hurried:
            return failures.idle_timeout(self.url, times.idle)
        if times.total is not None and self._end is not None and time.monotonic() >= self._end - 0.001:
            return failures.total_timeout(self.url, times.total)
        if self._phase == "connect":
            return failures.connect_timeout(self.url, times.connect)
        if self._phase == "headers":
            return failures.first_byte_timeout(self.url, times.first_byte)
        return failures.idle_timeout(self.url, times.idle)

    # ---- errors

    def failed(self, error: Exception) -> LollmsError:
        """What an error of the socket or of the HTTP parser means for this exchange."""
        if self._aborted:
            return failures.stopped()
        if isinstance(error, TimeoutError) and error.errno is None:  # ours; with a number it is the network's
            return self._expired()
        if isinstance(error, httpcore2.ProtocolError) and not (self._wire is None or self._wire.ended):
            return failures.malformed(self.url)
        if self._phase == "body":
            return failures.truncated(self.url)
        stale = self._wire is not None and self._wire.kept and not self._answered
        return failures.went_stale(self.url) if stale else failures.closed_early(self.url)

    def answered(self) -> None:
        """A first byte has come."""
        self._answered = True

    def not_connected(self, error: Exception) -> LollmsError:
        """The same for an error while the connection is made."""
        if self._aborted:
            return failures.stopped()
        if isinstance(error, TimeoutError) and getattr(error, "errno", None) is None:
            return self._expired()
        if isinstance(error, ConnectionRefusedError):
            return failures.refused(self.url)
        if isinstance(error, ssl.SSLError):
            return failures.untrusted(self.url, error)
        return failures.unreachable(self.url, error if isinstance(error, OSError) else None)


class Backend(httpcore2.NetworkBackend):
    """Connects for the exchange that stands in `local.exchange`; `wires` gets every socket."""

    def __init__(self, local: threading.local, wires: weakref.WeakSet[Wire]) -> None:
        self._local = local
        self._wires = wires

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Wire:
        """See `httpcore2`; the time that is left is the exchange's, so `timeout` is not used."""
        exchange: Exchange = self._local.exchange
        addresses = _resolve(host, port, exchange)
        last = OSError()
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            # An address that swallows packets must leave time for the next one.
            seconds = exchange.patience() / (len(addresses) - index)
            wire = Wire(socket.socket(family, kind, protocol), self._local)
            self._wires.add(wire)
            try:
                wire.connect(address, seconds)
                return wire
            except OSError as error:
                wire.close()
                last = error
            except BaseException:
                wire.close()
                raise
        raise exchange.not_connected(last) from last


def _resolve(host: str, port: int, exchange: Exchange) -> list[Any]:
    """The addresses of a host. The system's look-up cannot be interrupted, so that of a name runs beside us."""
    with contextlib.suppress(socket.gaierror, UnicodeError):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: list[Any] = []

    def look_up() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        exchange.wake()

    threading.Thread(target=look_up, name="lollms-name-look-up", daemon=True).start()
    exchange.wait()
    if not found:
        raise failures.unknown_name(exchange.url)
    return found


class Wire(httpcore2.NetworkStream):
    """A connected socket, with or without TLS, and the exchange that uses it at the moment."""

    def __init__(self, sock: socket.socket, local: threading.local) -> None:
        self.ended = False
        self.kept = False  # whether it has served an earlier exchange
        self._sock = sock
        self._local = local
        self._exchange: Exchange = local.exchange
        self._lock = threading.Lock()
        self._timeout: float | None = None

    def connect(self, address: Any, seconds: float) -> None:
        """Raises `OSError`, `Cancelled`."""
        self._exchange.uses(self)
        self._wait_at_most(seconds)
        self._sock.connect(address)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Wire:
        exchange = self._exchange
        try:
            self._wait_at_most(exchange.patience())
            with self._lock:  # the old socket object loses its descriptor to the new one here
                self._sock = ssl_context.wrap_socket(
                    self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
                )
            self._sock.do_handshake()
        except LollmsError:
            self.close()
            raise
        except (OSError, ValueError) as error:
            self.close()
            raise exchange.not_connected(error) from error
        except BaseException:
            self.close()
            raise
        return self

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        exchange: Exchange = self._local.exchange
        if exchange is not self._exchange:
            self._exchange, self.kept = exchange, True
        exchange.uses(self)
        exchange.sends()
        seconds = exchange.patience()
        try:
            self._wait_at_most(seconds)
            self._sock.sendall(buffer)
        except TimeoutError as error:
            raise exchange.failed(error) from error
        except OSError as error:
            # The server may have answered before it had read everything; the pool then reads that answer.
            raise httpcore2.WriteError(str(error)) from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = self._exchange
        if rested := exchange.should_rest:
            exchange.rest()
        seconds = exchange.patience()
        began = time.monotonic()
        try:
            self._wait_at_most(seconds)
            data = self._sock.recv(max_bytes)
        except OSError as error:
            raise exchange.failed(error) from error
        if data:
            exchange.answered()
            exchange.took(len(data), began, rested=rested)
        else:
            self.ended = True
        return data

    def shut_down(self) -> None:
        """Wake a thread that is blocked in any of the above."""
        with self._lock, contextlib.suppress(OSError):
            # Not `SSLSocket.shutdown`, which would take the TLS state away under the reader.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._sock.close()

    def drop(self) -> None:
        """Close this process's copy of the descriptor, without the lock, which a fork may have left locked."""
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._is_readable()
        if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket):
            return self._sock
        return None

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._timeout:  # setting it is a system call
            self._sock.settimeout(seconds)
            self._timeout = seconds

    def _is_readable(self) -> bool:
        """Whether `recv` would return at once; of an idle connection that means that the server has closed it."""
        number = self._sock.fileno()
        if number < 0:
            return True
        if sys.platform == "win32":  # which has no poll
            return bool(select.select([number], [], [], 0)[0])
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))


@contextlib.contextmanager
def translated(exchange: Exchange) -> Iterator[None]:
    """Errors of the HTTP library inside the block become ours."""
    try:
        yield
    except (httpcore2.ProtocolError, httpcore2.NetworkError) as error:
        raise exchange.failed(error) from error
