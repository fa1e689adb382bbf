"""One guarded exchange: the ASGI `receive` and `send` of a request, with headers added and the body counted.

A refused request may still be sending its body. The reply then goes out at once with `Connection: close`, and what
the client sends is read and dropped for a moment before the connection closes: closing with unread data would make
the system reset the connection, and many clients would never see why they were refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

from lollms_core.errors import LollmsError, PayloadTooLarge, TooManyRequests
from lollms_server.core.responses import PIECE, WHOLE, Header, Send, send_error

__all__ = ["Bodies", "GuardedExchange", "Message", "Receive"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Whole: TypeAlias = Callable[[int, Sequence[Header], bytes], bool]
Piece: TypeAlias = Callable[[bytes], bool]

_CLOSE: Header = (b"connection", b"close")
_DRAIN_BYTES = 1 << 20
_DRAIN_SECONDS = 2.0


class Bodies:
    """What the bodies of all running requests may take together, in bytes."""

    __slots__ = ("left",)

    def __init__(self, limit: int) -> None:
        self.left = limit


class GuardedExchange:
    """`receive` and `send` for the application, and `refuse` for the guard.

    `has_body` tells whether a body, or more of one, is to come, `started` whether a reply has begun, and `closed` that
    the guard has answered and the application's messages go nowhere.
    """

    __slots__ = (
        "_bodies",
        "_left",
        "_limit",
        "_piece",
        "_receive",
        "_send",
        "_whole",
        "closed",
        "has_body",
        "headers",
        "request_id",
        "started",
    )

    def __init__(
        self, receive: Receive, send: Send, request_id: str, headers: list[Header], limit: int, bodies: Bodies
    ) -> None:
        self._receive = receive
        self._send = send
        self._limit = self._left = limit
        self._bodies = bodies
        self._whole: Whole | None = None
        self._piece: Piece | None = None
        self.request_id = request_id
        self.headers = headers
        self.has_body = False
        self.started = False
        self.closed = False

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one gets the guard's headers."""
        if self.closed:
            return
        if not self.started and message["type"] == "http.response.start":
            self.started = True
            # A new message, not a change of theirs: an application may send the same object for every request.
            message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
        await self._send(message)

    def extend(self, extensions: dict[str, Any]) -> None:
        """Stand in the way of the server's extensions, too."""
        self._whole = extensions.get(WHOLE)
        if self._whole is not None:
            extensions[WHOLE] = self._send_whole
        self._piece = extensions.get(PIECE)
        if self._piece is not None:
            extensions[PIECE] = self._send_piece

    def _send_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        if self.closed or self.started or self._whole is None:
            return False
        self.started = self._whole(status, [*headers, *self.headers], body)
        return self.started

    def _send_piece(self, body: bytes) -> bool:
        return self.started and not self.closed and self._piece is not None and self._piece(body)

    async def receive(self) -> Message:
        """The next part of the body. Over the limit the request is refused and the application sees a disconnect."""
        if self.closed:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request" and (body := message.get("body")):
            self._left -= len(body)
            self._bodies.left -= len(body)
            if self._left < 0 or self._bodies.left < 0:
                self.has_body = message.get("more_body", False)
                await self.refuse(self.too_large() if self._left < 0 else self.too_many())
                return {"type": "http.disconnect"}
        return message

    def too_large(self) -> PayloadTooLarge:
        """The error for a body over the limit."""
        return PayloadTooLarge(f"The request body is larger than the limit of {self._limit} bytes.")

    def too_many(self) -> TooManyRequests:
        """The error for a body that there is no room for now."""
        return TooManyRequests("The server is busy with other large requests; try again soon.", retry_after=1.0)

    def over(self) -> None:
        """The request has ended, and its body takes no more room."""
        self._bodies.left += self._limit - self._left

    async def refuse(self, error: LollmsError) -> None:
        """Answer with an error instead of the application; nothing is sent when a reply has begun already."""
        if self.started:
            self.closed = True
            return
        await send_error(
            self.send, error, self.request_id, headers=(_CLOSE,) if self.has_body else (), more_body=self.has_body
        )
        self.closed = True
        if self.has_body:
            await self._drain()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self) -> None:
        left = _DRAIN_BYTES
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return
