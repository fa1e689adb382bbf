"""The bodies of all requests together have a limit, so that a crowd of large ones cannot take the memory."""

from __future__ import annotations

import contextlib
import socket

from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY, PortsBinding, running_server

LIMIT = 1 << 20
HEAD = (
    f"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    f"Content-Length: {LIMIT}\r\n\r\n"
).encode()


def test_a_crowd_of_unfinished_bodies_is_told_to_come_back() -> None:
    config = {"limits": {"max_body_bytes": LIMIT}}
    with running_server({"main": PortsBinding(lambda call: "fine")}, config) as server:
        with contextlib.ExitStack() as stack:
            crowd = []
            for _ in range(24):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
                client.sendall(HEAD + b" " * (LIMIT - 10))
                crowd.append(client)
            refused = 0
            for client in crowd:
                client.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    refused += client.recv(100).startswith(b"HTTP/1.1 429 ")
            assert 8 <= refused < 24
            assert ask(server.port, "GET", "/health").status == 200
        server.wait_idle()
        big = prompt("x" * (LIMIT - 1000))
        for _ in range(20):
            with RawRequest(server.port, "POST", "/api/v1/generate", body=big, headers=server.headers) as request:
                assert request.whole().status == 200
