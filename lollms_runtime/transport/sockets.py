"""The sockets of the synchronous transport.

A thread that is blocked in `connect`, in a TLS handshake or in `recv` is woken only by shutting its socket down
(closing it from another thread does nothing), so a socket belongs to its exchange from the first moment on.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lollms_core.errors import LollmsError
from lollms_runtime.transport import failures
from lollms_runtime.transport.exchange import ThreadExchange
from lollms_runtime.transport.http11 import Head, Http11, NotHttp
from lollms_runtime.transport.idle import is_readable
from lollms_runtime.transport.wire import Place
from lollms_runtime.waiting import LOOK

__all__ = ["LookUp", "Wire", "connected", "look_up", "system_look_up"]

_PIECE = 64 * 1024  # bytes of one read

LookUp = Callable[[str, int], Sequence[tuple[Any, ...]]]
"""Host and port to addresses, in the form of `socket.getaddrinfo`. Raises `OSError`."""


def system_look_up(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """What the system says."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def look_up(host: str, port: int, exchange: ThreadExchange, ask: LookUp = system_look_up) -> list[tuple[Any, ...]]:
    """The addresses of a host. A look-up cannot be interrupted, so that of a name runs beside us.

    Raises `ConnectFailed`, the time-out of the exchange, and `Cancelled`.
    """
    with contextlib.suppress(OSError, UnicodeError):
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    found: list[tuple[Any, ...]] = []

    def run() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(ask(host, port))
        exchange.wake()

    threading.Thread(target=run, name="lollms-name-look-up", daemon=True).start()
    exchange.wait()
    if not found:
        raise failures.unknown_name(exchange.url)
    return found


def connected(addresses: Sequence[tuple[Any, ...]], exchange: ThreadExchange) -> Wire:
    """A connection to the first address that accepts one. Raises the errors of the exchange."""
    last = OSError()
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        # An address that swallows packets must leave time for the next one.
        seconds = exchange.patience() / (len(addresses) - index)
        wire = Wire(socket.socket(family, kind, protocol), exchange)
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


class Wire:
    """A connected socket, with or without TLS, and the exchange that uses it at the moment."""

    def __init__(self, sock: socket.socket, exchange: ThreadExchange) -> None:
        self.ended = False
        self.kept = False
        self.http = Http11()
        self.place: Place | None = None  # where it leads to, if it may be kept for another request
        self._sock = sock
        self._exchange = exchange
        self._lock = threading.Lock()
        self._timeout: float | None = None

    # ---- connecting

    def connect(self, address: Any, seconds: float) -> None:
        """Raises `OSError`, `Cancelled`."""
        self._exchange.uses(self)
        self._wait_at_most(seconds)
        self._sock.connect(address)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Raises the errors of the exchange; the socket is closed then."""
        exchange = self._exchange
        try:
            self._wait_at_most(exchange.patience())
            with self._lock:  # the old socket object loses its descriptor to the new one here
                self._sock = context.wrap_socket(self._sock, server_hostname=name, do_handshake_on_connect=False)
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

    # ---- one request and its answer

    def ask(self, exchange: ThreadExchange, method: str, request: bytes) -> Head:
        """Send a request and wait for the head of the answer. Raises the errors of the exchange."""
        self._exchange = exchange
        exchange.uses(self)
        exchange.sends()
        self.http.asked(method)
        self._write(request)
        with self._translated():
            while (head := self.http.head()) is None:
                self.http.feed(self._read())
            return head

    def body(self, exchange: ThreadExchange) -> Iterator[bytes]:
        """The body of the answer as it comes. Raises the errors of the exchange."""
        exchange.reads_body()
        http = self.http
        with self._translated():
            while True:
                if exchange is not self._exchange:
                    raise RuntimeError("the response is read after its block, and its connection serves another one")
                if data := http.body():
                    yield data  # a fault may stand behind it, which the next look finds
                elif http.complete:
                    return
                else:
                    http.feed(self._read())

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except NotHttp as error:
            raise self._exchange.failed(error) from error

    def _write(self, data: bytes) -> None:
        exchange = self._exchange
        try:
            self._wait_at_most(exchange.patience())
            self._sock.sendall(data)
        except TimeoutError as error:
            raise exchange.failed(error) from error
        except OSError:
            return  # the server may have answered before it had read everything; that answer is read then

    def _read(self) -> bytes:
        exchange = self._exchange
        if rest := exchange.should_rest:
            exchange.rest(rest)
        began = time.monotonic()
        data = self._receive(exchange, began + exchange.patience())
        if data:
            exchange.took(len(data), began, time.monotonic(), rested=rest > 0)
        else:
            self.ended = True
            exchange.check()
        return data

    def _receive(self, exchange: ThreadExchange, deadline: float) -> bytes:
        """What comes, waited for a moment at a time; see `waiting`."""
        while True:
            try:
                self._wait_at_most(max(min(deadline - time.monotonic(), LOOK), 0.001))
                return self._sock.recv(_PIECE)
            except TimeoutError as error:
                if error.errno is not None or time.monotonic() >= deadline:
                    raise exchange.failed(error) from error
            except OSError as error:
                raise exchange.failed(error) from error

    # ---- its end

    def shut_down(self) -> None:
        """Wake a thread that is blocked in any of the above."""
        with self._lock, contextlib.suppress(OSError):
            # Not `SSLSocket.shutdown`, which would take the TLS state away under the reader.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        self.http.close()
        with self._lock:
            self._sock.close()

    def drop(self) -> None:
        """Close this process's copy of the descriptor, without the lock, which a fork may have left locked."""
        self.http.close()
        self._sock.close()

    @property
    def is_readable(self) -> bool:
        """Whether `recv` would return at once; of an idle connection that means that the server has closed it."""
        return is_readable(self._sock)

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._timeout:  # setting it is a system call
            self._sock.settimeout(seconds)
            self._timeout = seconds
