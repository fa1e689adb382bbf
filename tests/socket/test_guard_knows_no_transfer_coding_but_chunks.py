"""A body in another transfer coding than chunks is refused: the parser would take it for the body that is meant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.guard_server import Server, connected, read_all, running
from tests.support.guarded import KEY, Recorder, guarded, settings

HEAD = f"POST /x HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n".encode()
BODY = b"\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Server, Recorder]]:
    app, recorder = guarded(config=settings())
    with running(app) as server:
        yield server, recorder


@pytest.mark.parametrize(
    "coding",
    [
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: deflate,chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x-mine;a=1, chunked\r\n",
        b"transfer-encoding: identity, chunked\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: gzip, chunked\r\n",
    ],
)
def test_other_codings_are_refused(served: tuple[Server, Recorder], coding: bytes) -> None:
    server, recorder = served
    recorder.scopes.clear()
    with connected(server) as client:
        client.sendall(HEAD + coding + BODY)
        reply = read_all(client)
    assert reply.split(b" ")[1] in (b"400", b"501"), reply
    assert reply.count(b"HTTP/1.1 ") == 1
    assert recorder.scopes == []


@pytest.mark.parametrize("coding", [b"Transfer-Encoding: chunked\r\n", b"TRANSFER-ENCODING:   Chunked  \r\n"])
def test_chunks_are_read(served: tuple[Server, Recorder], coding: bytes) -> None:
    server, recorder = served
    recorder.scopes.clear()
    with connected(server) as client:
        client.sendall(HEAD + b"Connection: close\r\n" + coding + BODY)
        assert read_all(client).startswith(b"HTTP/1.1 200 ")
    assert len(recorder.scopes) == 1
