"""HTTP on bare asyncio streams: for callers that must see bytes, leave in the middle, or break the rules."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Answer", "Line", "ask", "break_off", "connected", "head", "read_answer"]

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """A whole answer; status 0 means that the server closed without one."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The JSON of the `data:` events of a stream."""
        return [json.loads(line[6:]) for line in self.body.split(b"\n") if line.startswith(b"data: ")]


def head(method: str, path: str, length: int | None, headers: Mapping[str, str]) -> bytes:
    """The head of a request; `length` is that of its JSON, None without a body."""
    given = {"host": "127.0.0.1", "connection": "close", **headers}
    if length is not None:
        given |= {"content-type": "application/json", "content-length": str(length)}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Line]:
    """A connection, closed at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


def break_off(writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    sock = writer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """All of it, up to the end of the connection."""
    raw = await reader.read(-1)
    first, end, rest = raw.partition(b"\r\n\r\n")
    if not end:
        return Answer(0, raw)
    status = int(first.split(b" ", 2)[1])
    chunked = b"transfer-encoding: chunked" in first.lower()
    return Answer(status, _joined(rest) if chunked else rest)


def _joined(chunks: bytes) -> bytes:
    parts, at = [], 0
    while at < len(chunks):
        end = chunks.index(b"\r\n", at)
        size = int(chunks[at:end], 16)
        parts.append(chunks[end + 2 : end + 2 + size])
        at = end + size + 4
    return b"".join(parts)


async def ask(port: int, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
    """One request on a connection of its own, and its whole answer. Raises `OSError`."""
    data = None if body is None else json.dumps(body).encode()
    async with connected(port) as (reader, writer):
        writer.write(head(method, path, None if data is None else len(data), headers) + (data or b""))
        return await read_answer(reader)
