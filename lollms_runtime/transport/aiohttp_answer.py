"""One request and its answer on a connection of aiohttp's.

aiohttp finds, makes and keeps the connections and parses what comes. Its `ClientSession` and `ClientRequest` are not
used: with all that they can do, and we do not want (cookies, redirects, proxies, repetitions, a task for each body),
they cost three times as much as all the rest of a request. What they do with a connection is done here, in the same
order: set the parser up, write, read heads until one is final, and give the connection back when the body is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.connector import Connection

__all__ = ["Answer"]

_PIECE = 256 * 1024  # bytes of a request's body that are written at once; with TLS, others would wait for more


class Answer:
    """The answer that comes over a connection; `connection` is None once that has been given back or closed."""

    __slots__ = ("connection", "content", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection | None = connection
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.content: aiohttp.StreamReader = aiohttp.streams.EMPTY_PAYLOAD

    async def begin(self, head: bytes, body: bytes, *, bodiless: bool) -> None:
        """Send the request and wait for the head of the answer; `bodiless` says that it has no body by its method.

        Raises aiohttp's errors.
        """
        connection = self.connection
        protocol = None if connection is None else connection.protocol
        transport = None if connection is None else connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(skip_payload=bodiless, read_until_eof=True, auto_decompress=False)
        transport.write(head + body[:_PIECE])
        for start in range(_PIECE, len(body), _PIECE):
            await asyncio.sleep(0)
            if transport.is_closing():
                break
            transport.write(body[start : start + _PIECE])
        message: Any
        while True:
            message, content = await protocol.read()
            if message.code >= 200 or message.code == 101:
                break
        self.status, self.headers, self.content = message.code, message.headers, content
        if message.code >= 200:
            content.on_eof(self._complete)

    def _complete(self) -> None:
        """The body is over: others may use the connection, unless our request has not left entirely."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is None or transport.get_write_buffer_size():
            connection.close()
        else:
            connection.release()

    def close(self) -> None:
        """Whoever still reads gets an error, and the connection is closed."""
        connection, self.connection = self.connection, None
        if connection is not None:
            if not self.content.is_eof() and self.content.exception() is None:
                self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
            connection.close()
