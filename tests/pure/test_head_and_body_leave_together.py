"""The transport of a reply: its head waits for the body, but never longer than the loop's next turn."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from lollms_server.core.http_protocol import HeadWithBody

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class _Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def _reply(loop: asyncio.AbstractEventLoop) -> tuple[HeadWithBody, _Transport]:
    transport = _Transport()
    return HeadWithBody(cast(Any, transport), loop), transport


def test_the_head_leaves_with_the_first_piece_of_the_body() -> None:
    async def play() -> list[bytes]:
        reply, transport = _reply(asyncio.get_running_loop())
        for piece in (HEAD, b"one", b"two"):
            reply.write(piece)
        await asyncio.sleep(0)
        return transport.written

    assert asyncio.run(play()) == [HEAD + b"one", b"two"]


def test_a_head_without_a_body_leaves_at_the_next_turn() -> None:
    async def play() -> None:
        reply, transport = _reply(asyncio.get_running_loop())
        reply.write(HEAD)
        assert transport.written == []
        await asyncio.sleep(0)
        assert transport.written == [HEAD]
        reply.write(b"one")
        assert transport.written == [HEAD, b"one"]

    asyncio.run(play())


def test_an_interim_answer_does_not_wait() -> None:
    async def play() -> list[bytes]:
        reply, transport = _reply(asyncio.get_running_loop())
        reply.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        reply.write(HEAD)
        reply.write(b"one")
        return transport.written[1:]

    assert asyncio.run(play()) == [HEAD + b"one"]


def test_closing_sends_the_head_first() -> None:
    async def play() -> None:
        reply, transport = _reply(asyncio.get_running_loop())
        reply.write(HEAD)
        reply.close()
        assert transport.written == [HEAD]
        assert reply.is_closing()
        await asyncio.sleep(0)
        assert transport.written == [HEAD]

    asyncio.run(play())
