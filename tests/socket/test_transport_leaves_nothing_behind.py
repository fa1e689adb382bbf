"""After any number of exchanges that ended in any way: no socket, no thread, no task; and a fork shares nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading

import psutil
import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Timeouts
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from tests.support.aio import CLIENTS
from tests.support.chaos import ChaosServer, refused_url
from tests.support.chaos_modes import answer_json

MODES = ["ok_json", "ok_sse", "stall", "never", "fin_chunked", "rst", "not_http", "bad_chunk", "redirect", "status-503"]
QUICK = Timeouts(connect=1, first_byte=0.03, idle=0.03, total=1)


@pytest.mark.parametrize("name", CLIENTS)
def test_sockets_and_threads_are_as_before(name: str) -> None:
    with ChaosServer() as chaos:
        requests = [HttpRequest("POST", chaos.url(mode), {}, b"{}", QUICK) for mode in MODES]
        requests.append(HttpRequest("POST", refused_url(), {}, b"{}", QUICK))
        CLIENTS[name].in_turn(requests[:1])  # what is opened once and for all, like an entropy source
        before = _descriptors()
        threads = threading.active_count()
        for _ in range(2):
            CLIENTS[name].at_once(requests)
            CLIENTS[name].in_turn(requests)
        for connection in chaos.connections:
            connection.closed_after()
        gc.collect()
        assert threading.active_count() == threads
    assert _descriptors() <= before


def _descriptors() -> int:
    """How many descriptors of this process are open, but those of a chaos server."""
    return sum(1 for each in psutil.Process().net_connections("inet") if each.status != psutil.CONN_LISTEN)


def test_one_transport_serves_several_event_loops_each_with_connections_of_its_own() -> None:
    with ChaosServer() as chaos:
        transport = AsyncHttpTransport()

        async def one() -> int:
            async with transport.open(HttpRequest("GET", chaos.url("ok_json"))) as response:
                assert b"".join([data async for data in response.chunks()]) == answer_json()
                return response.status

        with asyncio.Runner() as first:
            assert [first.run(one()), first.run(one())] == [200, 200]
            with asyncio.Runner() as second:
                assert second.run(one()) == 200
                assert first.run(one()) == 200
                second.run(transport.close())
            first.run(transport.close())
        assert [connection.requests for connection in chaos.connections] == [3, 1]


def test_a_slow_reader_of_a_complete_answer_is_never_late() -> None:
    short = Timeouts(connect=5, first_byte=0.05, idle=0.05, total=0.1)

    async def work(chaos: ChaosServer) -> None:
        transport = AsyncHttpTransport()
        async with transport.open(HttpRequest("GET", chaos.url("ok_json"), timeouts=short)) as first:
            async with transport.open(HttpRequest("GET", chaos.url("drip"))) as second:
                chunks = second.chunks()
                deadline = asyncio.get_running_loop().time() + 0.3
                while asyncio.get_running_loop().time() < deadline:
                    await anext(chunks)
                assert b"".join([data async for data in first.chunks()]) == answer_json()
                await anext(chunks)
        await transport.close()

    with ChaosServer() as chaos:
        asyncio.run(work(chaos))


def test_a_closed_transport_can_be_used_again() -> None:
    with ChaosServer() as chaos:
        transport = HttpTransport()
        for _ in range(2):
            with transport.open(HttpRequest("GET", chaos.url("ok_json")), Cancel()) as response:
                assert response.status == 200
            transport.close()


def test_an_exchange_that_was_cancelled_before_it_began_sends_nothing() -> None:
    with ChaosServer() as chaos:
        cancel = Cancel()
        cancel.set()
        transport = HttpTransport()
        with (
            pytest.raises(errors.Cancelled),
            transport.open(HttpRequest("GET", chaos.url("ok_json")), cancel),
        ):
            pass
        transport.close()
        assert not chaos.requests


def test_a_late_cancellation_does_not_touch_a_connection_that_serves_another() -> None:
    with ChaosServer() as chaos:
        transport, first = HttpTransport(), Cancel()
        with transport.open(HttpRequest("GET", chaos.url("ok_json")), first) as response:
            assert b"".join(response.chunks())
        with transport.open(HttpRequest("GET", chaos.url("ok_sse")), Cancel()) as response:
            first.set()
            assert b"".join(response.chunks()).endswith(b"[DONE]\n\n")
        transport.close()
        assert len(chaos.connections) == 1


FORK = """
import os, sys, warnings
from lollms_core.protocols.base import HttpRequest, Timeouts
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport.http_sync import HttpTransport

url = sys.argv[1]
transport = HttpTransport()

def get(mode):
    with transport.open(HttpRequest("GET", url + mode), Cancel()) as response:
        return b"".join(response.chunks())

get("ok_json")                                       # leaves an idle connection
with transport.open(HttpRequest("GET", url + "drip"), Cancel()) as response:
    chunks = response.chunks()
    next(chunks)
    child = os.fork()
    if child == 0:
        get("ok_json")                               # must not take its parent's connection
        transport.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(2):
        next(chunks)                                 # still the parent's
get("ok_json")
transport.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_connections_of_its_own() -> None:
    with ChaosServer() as chaos:
        subprocess.run([sys.executable, "-W", "error", "-c", FORK, chaos.url("")], check=True, timeout=30)
        kept, drip, child = chaos.connections
        assert [kept.requests, drip.requests, child.requests] == [2, 1, 1]


FORK_WITH_LOOPS = """
import asyncio, os, sys, threading
from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport.http_async import AsyncHttpTransport

url = sys.argv[1]
transport = AsyncHttpTransport()

async def get(mode):
    async with transport.open(HttpRequest("GET", url + mode)) as response:
        return [data async for data in response.chunks()]

loop = asyncio.new_event_loop()
thread = threading.Thread(target=loop.run_forever)
thread.start()

def in_thread(work):
    return asyncio.run_coroutine_threadsafe(work, loop).result(10)

async def in_child():
    await asyncio.wait_for(transport.close(), 5)
    await get("ok_json")                             # must not take its parent's connection
    await transport.close()

in_thread(get("ok_json"))                            # leaves an idle connection
with transport._lock:                                # as another thread may, just then
    child = os.fork()
    if child == 0:
        asyncio.run(in_child())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
in_thread(get("ok_json"))
in_thread(transport.close())
loop.call_soon_threadsafe(loop.stop)
thread.join()
loop.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_beside_an_event_loop_opens_connections_of_its_own() -> None:
    with ChaosServer() as chaos:
        subprocess.run([sys.executable, "-W", "error", "-c", FORK_WITH_LOOPS, chaos.url("")], check=True, timeout=30)
        assert [connection.requests for connection in chaos.connections] == [2, 1]


LAZY = """
import sys
import lollms_runtime.transport.http_sync, lollms_runtime.transport.http_async, lollms_runtime.upstream
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.transport.http_async import AsyncHttpTransport
HttpTransport(); AsyncHttpTransport()
heavy = {"httptools", "anyio", "requests"} & set(sys.modules)
assert not heavy, heavy
"""


def test_http_libraries_are_loaded_by_the_first_request_only() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True, timeout=30)
