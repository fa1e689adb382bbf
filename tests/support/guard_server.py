"""A real uvicorn with the guard and the limited HTTP protocol, in a thread, and raw sockets to talk to it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from lollms_server.core.http_protocol import LimitedHttpProtocol

DEADLINE = 10.0


class Server(uvicorn.Server):
    """uvicorn that tells when it listens, and on which port."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A thread has no signals to capture."""
        yield

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])

    @property
    def open_connections(self) -> int:
        return len(self.server_state.connections)


@contextlib.contextmanager
def running(app: Any, http: type[LimitedHttpProtocol] = LimitedHttpProtocol, **options: Any) -> Iterator[Server]:
    """Serve `app` on a free port of 127.0.0.1 until the block ends."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=http, ws="none", log_config=None, access_log=False, proxy_headers=False,
        lifespan="off", **options,
    )  # fmt: skip
    server = Server(config)
    thread = threading.Thread(target=server.run, name="guard-server")
    thread.start()
    try:
        assert server.listening.wait(DEADLINE)
        yield server
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive()


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    """A raw connection with a time limit on everything."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes; a reset counts as closing."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            data += part
    return data


def read_reply(connection: socket.socket) -> bytes:
    """One reply with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    while len(body) < length:
        part = connection.recv(65536)
        assert part, "the reply was cut off"
        body += part
    return head + b"\r\n\r\n" + body


def eventually(condition: Any) -> None:
    """Wait until the condition holds; fails after the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        threading.Event().wait(0.005)
