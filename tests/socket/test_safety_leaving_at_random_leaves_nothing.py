"""A hundred callers leave at random: while they send, wait, load a model, read, run a script or a function.

Nothing of them stays: no request, lease, task, thread or socket, here and at the backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.types import Batch, Embeddings, GenerationCall, Reply, TextDelta, ToolCall
from lollms_runtime.scripted import AsyncScriptedPorts
from tests.support.full_house import EchoBinding, House, full_house
from tests.support.media_files import b64, png
from tests.support.raw_http import ask, prompt
from tests.support.server import Served

CLIENTS = 100
KEPT = ("sockets", "at the backend")
"""Connections to the backend may be kept for the next request, and need not be."""


class Waiting(EchoBinding):
    """A model that begins to speak and never ends, or calls a function that never ends. Its two places are soon taken.

    `inside` counts the callers that it has now.
    """

    def __init__(self) -> None:
        super().__init__(places=2)
        self.inside = 0

    @override
    @asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        async def speak() -> AsyncIterator[Batch]:
            self.inside += 1
            try:
                yield (TextDelta("One moment"),)
                if "wait" in call.messages[-1].text:
                    await asyncio.Event().wait()
            finally:
                self.inside -= 1

        if call.tools:
            asked = Reply("", tool_calls=(ToolCall("c1", "own_tools__waits", {}),), model=call.model)
            async with AsyncScriptedPorts([asked]).open(call) as batches:
                yield batches
        else:
            async with contextlib.aclosing(speak()) as batches:
                yield batches

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        self.inside += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.inside -= 1
        return []

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return dict(enumerate(await self.list_available_models()))

    @override
    async def embed(self, texts: Any, model_name: str | None = None) -> Embeddings:
        self.inside += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.inside -= 1
        raise AssertionError


IMAGE = {"type": "image", "role": "input_image", "data": b64(png(600, 600, split=64)), "mime_type": "image/png"}

BODIES: list[tuple[str, dict[str, Any] | None]] = [
    ("/api/v1/generate", prompt("wait", binding_name="main")),
    ("/api/v1/generate", prompt("wait", binding_name="own")),
    ("/api/v1/generate", prompt("wait", binding_name="own", model_name="slow")),
    ("/api/v1/generate", prompt("wait a moment", binding_name="ollama")),
    ("/api/v1/generate", prompt("wait", personality="Script", binding_name="own")),
    ("/api/v1/generate", prompt("wait", personality="Script")),
    ("/api/v1/generate", prompt("wait", personality="Plain")),
    ("/api/v1/generate", prompt("wait", functions=["own_tools.waits"])),
    ("/api/v1/generate", {"input_data": [*prompt("wait")["input_data"], IMAGE], "binding_name": "own"}),
    ("/api/v1/embed", {"input": ["wait"]}),
    ("/api/v1/list_available_models/main", None),
    ("/api/v1/get_model_info/main", None),
]


async def visit(server: Served, number: int, rng: random.Random) -> None:
    """Ask for something and leave at some moment, politely or not."""
    path, body = BODIES[number % len(BODIES)]
    if path.endswith("generate") and body is not None:
        body = {**body, "stream": rng.random() < 0.7}
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{'POST' if data else 'GET'} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    whole = head.encode() + data
    sent = whole if rng.random() < 0.8 else whole[: rng.randrange(len(whole))]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(rng.random() * 0.3):
            while await reader.read(rng.choice((1, 64, 4096))):
                pass
    if rng.random() < 0.3:
        writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
    else:
        writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def left(house: House, main: Waiting) -> dict[str, Any]:
    """What there is of requests now; to be called on the server's loop."""
    services = house.server.services
    own: Any = services.manager._slots["own"].binding
    inner = getattr(own, "_inner", own)
    return {
        "registered": len(services.registry),
        "leases": dict(services.scheduler.status().in_use),
        "idle": services.scheduler.idle,
        "in main": main.inside,
        "in own": getattr(inner, "inside", None),
        "tasks": sorted(task.get_name() if "Task-" not in task.get_name() else "" for task in asyncio.all_tasks()),
        "threads": sorted(thread.name for thread in threading.enumerate() if "script of" in thread.name),
        "script threads": services.personalities.threads.running,
        "functions": len(services.functions._runs._left),
        "sockets": sockets(),
        "at the backend": sum(each.is_open() for each in house.ollama.connections),
    }


def sockets() -> int:
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return found


def busy(house: House, main: Waiting) -> dict[str, int]:
    """How many are in each of the states from which they leave; to be called on the server's loop."""
    now = left(house, main)
    return {
        "waiting": len(house.server.services.scheduler.status().waiting),
        "in main": now["in main"],
        "in own": now["in own"],
        "in a function": now["tasks"].count("function own_tools.waits"),
        "on a thread": now["script threads"],
        "at the backend": now["at the backend"],
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_callers_that_leave_leave_nothing(seed: int) -> None:
    main = Waiting()
    with full_house(main) as house:
        server = house.server
        warm_up = [prompt("x", binding_name="ollama"), prompt("x", personality="Plain")]
        for body in warm_up:  # a connection that is kept for the next request is there before and after
            assert ask(server.port, "POST", "/api/v1/generate", body, server.headers).status == 200
        server.wait_idle()
        before = server.on_loop(lambda: left(house, main))
        house.ollama.hold()
        most: Counter[str] = Counter()

        async def all_at_once() -> None:
            nonlocal most
            rng = random.Random(seed)
            visits = asyncio.gather(*(visit(server, number, rng) for number in range(CLIENTS)))
            while not visits.done():
                await asyncio.wait([visits], timeout=0.01)
                most |= Counter(await asyncio.to_thread(server.on_loop, lambda: busy(house, main)))
            await visits

        asyncio.run(all_at_once())
        house.ollama.release()
        assert len(most) == 6, most  # they left from everywhere
        now: dict[str, Any] = {}

        def as_before() -> bool:
            now.update(left(house, main))
            return all(now[name] == before[name] or (name in KEPT and now[name] < before[name]) for name in before)

        with contextlib.suppress(AssertionError):
            server.wait_until(as_before, 10)
        assert {**now, **{name: before[name] for name in KEPT if now[name] < before[name]}} == before
        for body in warm_up:
            assert ask(server.port, "POST", "/api/v1/generate", body, server.headers).status == 200
