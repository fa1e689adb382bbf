"""A request that fails leaves nothing of its prompt behind for long, however seldom garbage is collected.

The server makes the collector's rounds rare, so what an error holds in a circle would stay for hundreds of requests.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from tests.support.raw_http import ask, prompt
from tests.support.server import Served, running_server

SIZE = 2 << 20
COUNT = 40
ROOM = 12 * SIZE


class Refusing(BaseHTTPRequestHandler):
    """Reads a request to its end, remembers nothing of it, and answers with an error or breaks off."""

    protocol_version = "HTTP/1.1"
    close_connection = True

    @override
    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_POST(self) -> None:
        left = int(self.headers["content-length"])
        while left and (data := self.rfile.read(min(left, 1 << 16))):
            left -= len(data)
        if self.path.startswith("/breaks"):
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b'data: {"choices": [{"index": 0, "delta": {"content": "so far"}}]}\n\n')
        else:
            self.send_response(400)
            self.send_header("content-length", "0")
            self.end_headers()
        self.close_connection = True


@contextlib.contextmanager
def backend() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def spared() -> Iterator[None]:
    """No garbage is collected because of what has been allocated."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


def resident_bytes() -> int:
    ctypes.CDLL(None).malloc_trim(0)  # what is free belongs to nobody
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


CASES: dict[str, tuple[Any, int]] = {
    "not JSON": (json.dumps(prompt("x" * SIZE)).encode()[:-2], 422),
    "refused": (prompt("x" * SIZE, binding_name="refuses"), 400),
    "refused before the stream": (prompt("x" * SIZE, binding_name="refuses", stream=True), 400),
    "broken off": (prompt("x" * SIZE, binding_name="breaks"), 502),
    "broken off in the stream": (prompt("x" * SIZE, binding_name="breaks", stream=True), 200),
}


@pytest.mark.parametrize(("body", "status"), CASES.values(), ids=CASES)
def test_memory_is_as_before(spared: None, body: Any, status: int) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with backend() as port:
        instances = {name: {"base_url": f"http://127.0.0.1:{port}/{name}"} for name in ("refuses", "breaks")}
        with running_server(
            config={"bindings_map": dict.fromkeys(instances, "openai_binding")}, instances=instances
        ) as s:
            for _ in range(3):  # what is loaded at the first use
                assert ask(s.port, "POST", "/api/v1/generate", raw, s.headers).status == status
            # What else goes on in this process may need memory of its own once; what a request leaves, each round does.
            assert min(grown(s, raw, status) for _ in range(3)) <= ROOM


def grown(server: Served, raw: bytes, status: int) -> int:
    """By how many bytes the process has grown after many requests."""
    gc.collect()
    before = resident_bytes()
    for _ in range(COUNT):
        assert ask(server.port, "POST", "/api/v1/generate", raw, server.headers).status == status
    deadline = time.monotonic() + 1
    while resident_bytes() - before > ROOM and time.monotonic() < deadline:
        assert ask(server.port, "GET", "/health").status == 200
    return resident_bytes() - before
