"""A finished answer that its caller does not read keeps neither its memory nor its connection."""

from __future__ import annotations

import contextlib

import pytest

from lollms_server.core.http_protocol import LimitedHttpProtocol
from tests.support.raw_http import RawRequest, prompt
from tests.support.server import PortsBinding, running_server

LONG = "x" * (8 << 20)


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_the_connection_of_one_who_does_not_read_is_broken(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    monkeypatch.setattr(LimitedHttpProtocol, "unread_seconds", 0.2, raising=False)
    config = {"limits": {"keep_alive_timeout": 1}}
    with running_server({"main": PortsBinding(lambda call: LONG)}, config) as server, contextlib.ExitStack() as stack:
        for _ in range(5):
            request = RawRequest(
                server.port,
                "POST",
                "/api/v1/generate",
                body=prompt("x"),
                headers={**server.headers, "connection": connection},
                receive_buffer=4096,
            )
            stack.enter_context(request)
        server.wait_until(lambda: server.server.server_state.total_requests == 5)
        server.wait_until(lambda: not server.server.server_state.connections, timeout=3)


def test_one_who_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedHttpProtocol, "unread_seconds", 0.1, raising=False)
    with running_server({"main": PortsBinding(lambda call: LONG)}) as server:
        with RawRequest(
            server.port, "POST", "/api/v1/generate", body=prompt("x"), headers=server.headers, receive_buffer=65536
        ) as request:
            request.read_head()
            server.wait_idle()
            assert b"".join(request.pieces()).count(b"x") >= len(LONG)
