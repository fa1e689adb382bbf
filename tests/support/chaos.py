"""A server on a real socket that misbehaves in every way a model provider can.

`with ChaosServer() as chaos:` starts it on 127.0.0.1 in a thread of its own. `chaos.url("stall")` is a base address:
the first part of the path chooses the mode, what comes after it does not matter, so the address serves any protocol.
What the server has seen stands in `chaos.requests` and `chaos.connections`; a connection knows when its peer closed.

    with ChaosServer() as chaos:
        ...                                        # start something that calls chaos.url("stall")
        request = chaos.wait_request()             # it has arrived
        ...                                        # cancel it
        assert request.connection.closed_after() < 0.25

The modes are in `chaos_modes`; there is also `status-503`, `status-429-after-2` and so on. Tests add modes of their own
with `chaos.add(name, function)`, and one that behaves differently with each request with
`chaos.sequence(name, "status-503", "ok_sse")`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.chaos_modes import MODES, Mode, deaf, redirect_to, status

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""A self-signed certificate for localhost, with its key."""

# ---- what the server has seen --------------------------------------------------------------------------------------


class Seen:
    """One request as it arrived. Header names are lower case."""

    def __init__(self, head: bytes, body: bytes, connection: Connection) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ", 2)
        self.raw_headers = [(name.lower(), value.strip()) for name, _, value in (s.partition(":") for s in lines[1:])]
        self.headers = dict(self.raw_headers)
        self.body = body
        self.connection = connection
        self.mode = self.path.split("?")[0].strip("/").split("/")[0]
        self.at = time.monotonic()

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.path}>"


class Connection(asyncio.Protocol):
    """One connection. `opened` and `closed` are `time.monotonic()`; `closed` is None while the peer is there."""

    def __init__(self, server: ChaosServer) -> None:
        self.opened = time.monotonic()
        self.closed: float | None = None
        self.requests = 0
        self._server = server
        self._buffer = b""
        self._gone = threading.Event()
        self._spoke = threading.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    # -- for tests, from any thread

    def closed_after(self, timeout: float = 5.0) -> float:
        """Wait until the peer has closed; seconds from now until then, 0 if it had before."""
        start = time.monotonic()
        assert self._gone.wait(timeout), f"the peer did not close within {timeout} s"
        assert self.closed is not None
        return max(0.0, self.closed - start)

    def is_open(self) -> bool:
        return not self._gone.is_set()

    def sent_something(self, timeout: float) -> bool:
        """Wait until a mode has begun to answer."""
        return self._spoke.wait(timeout)

    def listen(self) -> None:
        """Read again, after the mode `deaf`."""
        if self._transport is not None:
            self._server._loop.call_soon_threadsafe(self._transport.resume_reading)

    # -- for modes, on the server's loop

    async def send(self, data: bytes) -> None:
        """Write, and wait while the peer does not read."""
        await self._room.wait()
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(data)
        self._spoke.set()

    async def packet(self, data: bytes) -> None:
        """Write, so that it travels as a packet of its own as far as that can be arranged."""
        await self.send(data)
        await asyncio.sleep(0)

    def fin(self) -> None:
        """Close in the ordinary way."""
        if self._transport is not None:
            self._transport.close()

    def rst(self) -> None:
        """Break the connection."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def forever(self) -> None:
        """Do nothing until the peer leaves or the server ends."""
        await asyncio.Event().wait()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server._opened(self)

    def data_received(self, data: bytes) -> None:
        if self._server.silent:
            return
        self._buffer += data
        if self._buffer[:1] == b"\x16" and self._transport is not None:  # TLS, where none is spoken
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            self.fin()
        elif self._task is None:
            self._next()
        elif len(self._buffer) > 1 << 26:
            self._buffer = b""  # what `deaf` would not hear

    def eof_received(self) -> None:
        self._leave()

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _leave(self) -> None:
        if self.closed is None:
            self.closed = time.monotonic()
            self._gone.set()
        if self._task is not None:
            self._task.cancel()
        self._room.set()

    def _next(self) -> None:
        """Serve the next request if it is complete."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        mode = self._server._mode_of(head)
        if len(rest) < length and mode is not deaf:
            return
        body, self._buffer = rest[:length], rest[length:]
        self.requests += 1
        seen = Seen(head, body, self)
        self._server._arrived(seen)
        self._task = asyncio.get_running_loop().create_task(self._serve(mode, seen))
        self._task.add_done_callback(self._served)

    async def _serve(self, mode: Mode, seen: Seen) -> None:
        with contextlib.suppress(ConnectionError):
            await mode(self, seen)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._server.failures.append(error)
            self.fin()
        elif self._buffer:
            self._next()


class ChaosServer:
    """See the module. `tls` serves https with a certificate that nobody trusts; `silent` accepts and never answers."""

    def __init__(self, *, tls: bool = False, silent: bool = False) -> None:
        self.requests: list[Seen] = []
        self.connections: list[Connection] = []
        self.failures: list[BaseException] = []
        self.port = 0
        self.elsewhere: ChaosServer | None = None
        self.silent = silent
        self._tls = tls
        self._modes = dict(MODES)
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    def __enter__(self) -> ChaosServer:
        ready = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._listen(ready)))
        self._thread.start()
        assert ready.wait(5)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.elsewhere is not None:
            self.elsewhere.__exit__()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        assert not self._thread.is_alive()
        if exc[:1] in ((), (None,)):
            assert not self.failures, self.failures

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def url(self, mode: str) -> str:
        """The base address of a mode."""
        return f"{self.origin}/{mode}"

    def add(self, name: str, mode: Mode) -> str:
        """Add a mode of the test's own; returns its address."""
        self._modes[name] = mode
        return self.url(name)

    def sequence(self, name: str, *modes: str) -> str:
        """A mode that behaves like each of `modes` in turn, then like the last; returns its address."""
        left = list(modes)

        async def next_one(connection: Connection, seen: Seen) -> None:
            mode = left.pop(0) if len(left) > 1 else left[0]
            await self._find(mode)(connection, seen)

        return self.add(name, next_one)

    def with_elsewhere(self) -> ChaosServer:
        """Start the second server, to which the mode `redirect` points."""
        if self.elsewhere is None:
            self.elsewhere = ChaosServer().__enter__()
        return self.elsewhere

    def wait_request(self, number: int = 1, timeout: float = 5.0) -> Seen:
        """Wait until that many requests have arrived; the last of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= number, timeout), "no request arrived"
            return self.requests[number - 1]

    def wait_connection(self, number: int = 1, timeout: float = 5.0) -> Connection:
        """Wait until that many connections were opened; the last of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.connections) >= number, timeout), "nobody connected"
            return self.connections[number - 1]

    def open_connections(self) -> int:
        """How many peers are connected now."""
        return sum(connection.is_open() for connection in self.connections)

    # -- inside

    def _opened(self, connection: Connection) -> None:
        with self._changed:
            self.connections.append(connection)
            self._changed.notify_all()

    def _arrived(self, seen: Seen) -> None:
        with self._changed:
            self.requests.append(seen)
            self._changed.notify_all()

    def _mode_of(self, head: bytes) -> Mode:
        path = head.split(b" ", 2)[1].decode("latin-1")
        return self._find(path.split("?")[0].strip("/").split("/")[0])

    def _find(self, name: str) -> Mode:
        if name.startswith("status-"):
            code, _, after = name.removeprefix("status-").partition("-after-")
            return status(int(code), after)
        if name == "redirect":
            return redirect_to(self.elsewhere.url("ok") if self.elsewhere is not None else refused_url())
        return self._modes.get(name, status(404))

    async def _listen(self, ready: threading.Event) -> None:
        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
        server = await self._loop.create_server(lambda: Connection(self), "127.0.0.1", 0, ssl=context, backlog=500)
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        ready.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._server.close()
            for connection in self.connections:
                if connection._transport is not None:
                    connection._transport.abort()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(0))
            asyncio.set_event_loop(None)
            self._loop.close()


# ---- nobody there --------------------------------------------------------------------------------------------------


def refused_url() -> str:
    """An address of this machine at which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """An address at which connecting takes for ever: its queue of connections is full and nobody accepts."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
