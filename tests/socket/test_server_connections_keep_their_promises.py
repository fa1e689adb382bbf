"""Every answer that was made arrives, alone and in its order, and every connection ends when it has nothing to do."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from lollms_runtime.cork import Cork
from lollms_server.core.http_protocol import LimitedHttpProtocol
from lollms_server.core.responses import WHOLE
from tests.support.guard_server import connected, eventually, read_all, read_reply, running

GET = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
BODY = b"an answer"


def http(**limits: Any) -> type[LimitedHttpProtocol]:
    return type("Limited", (LimitedHttpProtocol,), {"cork": Cork(), **limits})


async def at_once(scope: Any, receive: Any, send: Any) -> None:
    """Answer in one step, without a look at the body."""
    whole = scope["extensions"][WHOLE]
    assert whole(200, [(b"content-length", b"%d" % len(BODY))], BODY)


def test_nothing_but_line_ends_is_not_kept_for_ever() -> None:
    with running(at_once, http(head_seconds=0.2)) as server, connected(server) as connection:
        connection.sendall(b"\r\n")
        assert read_all(connection) == b""


def test_a_body_that_comes_after_its_answer_leaves_the_time_for_idle_connections() -> None:
    with running(at_once, http(), timeout_keep_alive=1) as server, connected(server) as connection:
        connection.sendall(GET[:-2] + b"content-length: 2\r\n\r\na")
        assert BODY in read_reply(connection)
        loop_has_looked = threading.Event()
        protocol: Any = next(iter(server.server_state.connections))
        look = protocol._look_idle

        def looked() -> None:
            look()
            loop_has_looked.set()

        protocol._look_idle = looked
        protocol.timeout_keep_alive_task.cancel()
        protocol.loop.call_soon_threadsafe(looked)  # as if the time was over while the body is still on its way
        assert loop_has_looked.wait(5)
        connection.sendall(b"b")
        assert read_all(connection) == b""


def test_an_answer_that_has_not_left_yet_survives_the_end_of_the_server() -> None:
    """All answers of a turn of the loop leave at its end, and the server may begin to stop in between."""
    protocols: list[LimitedHttpProtocol] = []
    both = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            await both.wait()
        await at_once(scope, receive, send)
        for protocol in protocols:
            protocol.shutdown()  # what uvicorn does with each connection
        both.set()

    class Noted(http()):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            protocols.append(self)

    with running(app, Noted) as server, connected(server) as waiting, connected(server) as connection:
        waiting.sendall(GET.replace(b"/", b"/wait", 1))
        eventually(lambda: len(server.server_state.tasks) == 1)
        connection.sendall(GET)
        assert read_all(connection).endswith(BODY)


def test_a_refusal_comes_behind_the_answer_before_it() -> None:
    release = asyncio.Event()
    protocols: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            await release.wait()
        await at_once(scope, receive, send)
        if scope["path"] != "/wait":
            protocols[-1]._late()  # the time of the next head is over in this very turn
            release.set()

    class Noted(http()):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            protocols.append(self)

        def _late(self) -> None:
            self._deadline = 0.0
            super()._late()

    with running(app, Noted) as server, connected(server) as waiting:
        waiting.sendall(GET.replace(b"/", b"/wait", 1))
        eventually(lambda: len(server.server_state.tasks) == 1)
        with connected(server) as connection:
            connection.sendall(GET + GET[:10])
            data = read_all(connection)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.index(BODY) < data.index(b"HTTP/1.1 408")


def test_no_continue_stands_behind_an_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await at_once(scope, receive, send)
        await receive()

    with running(app, http()) as server, connected(server) as connection:
        connection.sendall(GET[:-2] + b"expect: 100-continue\r\ncontent-length: 0\r\n\r\n")
        assert read_reply(connection).endswith(BODY)
        connection.sendall(GET[:-2] + b"connection: close\r\n\r\n")
        assert b"100 Continue" not in read_all(connection)


def test_a_request_is_let_go_without_the_collector() -> None:
    scopes: list[weakref.ref[Any]] = []

    class Marker:
        pass

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["marker"] = marker = Marker()
        scopes.append(weakref.ref(marker))
        await at_once(scope, receive, send)

    gc.collect()
    gc.disable()
    try:
        with running(app, http()) as server, connected(server) as connection:
            for _ in range(5):
                connection.sendall(GET)
                read_reply(connection)
            alive = sum(scope() is not None for scope in scopes)
    finally:
        gc.enable()
    assert alive <= 1  # the connection's last one


@pytest.mark.parametrize("cut", [1, len(GET) - 1, len(GET) + 5])
def test_pipelined_answers_come_once_each_and_in_order(cut: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["path"].encode()
        if not scope["path"].endswith(("3", "d")):
            assert scope["extensions"][WHOLE](200, [(b"content-length", b"%d" % len(body))], body)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": body})

    asked = b"".join(GET.replace(b"/", b"/%d" % number, 1) for number in range(8))
    asked += GET.replace(b"/", b"/end", 1)[:-2] + b"connection: close\r\n\r\n"
    with running(app, http()) as server, connected(server) as connection:
        connection.sendall(asked[:cut])
        connection.sendall(asked[cut:])
        data = read_all(connection)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in data.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    bodies[3], bodies[8] = bodies[3].split(b"\r\n")[1], bodies[8].split(b"\r\n")[1]
    assert bodies == [*(b"/%d" % number for number in range(8)), b"/end"]


def test_no_refusal_stands_in_the_middle_of_an_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    with running(app, http()) as server, connected(server) as connection:
        connection.sendall(GET)
        data = b""
        while not data.endswith(b"4\r\nhalf\r\n"):
            data += connection.recv(65536)
        connection.sendall(b"\0 this is no request\r\n\r\n")
        assert read_all(connection) == b""


def test_a_broken_body_is_told_so() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with running(app, http()) as server, connected(server) as connection:
        connection.sendall(GET[:-2] + b"transfer-encoding: chunked\r\n\r\nno size\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")
