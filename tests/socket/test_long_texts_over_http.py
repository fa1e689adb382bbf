"""A long text over a real socket: several requests at once, each with the context it needs, all ended by a stop."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import override

from lollms_client import LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_client.lollms_types import MSG_TYPE
from tests.support.chaos import Connection
from tests.support.ollama_server import OllamaServer

MODEL = "llama3.2"
CHUNKS = 8
TEXT = "".join(
    f"This is what chapter {number} says. " + "It goes on and on. " * 60 + "\n\n" for number in range(CHUNKS)
)


class Reader(OllamaServer):
    """An Ollama server whose models name the chapter that they read, or the chapters of all results."""

    def __init__(self) -> None:
        super().__init__()
        self.running = self.most = 0

    @override
    async def _chat(self, connection: Connection, body: dict[str, Any], model: dict[str, Any]) -> None:
        said = " ".join(re.findall(r"chapter \d+", body["messages"][-1]["content"]))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await super()._chat(connection, {**body, "messages": [{"role": "user", "content": said}]}, model)
        finally:
            self.running -= 1

    @property
    def contexts(self) -> list[int]:
        """The context that each request asked for."""
        return [seen.json()["options"]["num_ctx"] for seen in self.asked("/api/chat")]


def until(condition: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + 20, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def summarized(kind: str, server: Reader, callback: Any = None) -> str:
    sizes: dict[str, Any] = {"chunk_size_tokens": 400, "overlap_tokens": 0, "streaming_callback": callback}
    if kind == "sync":
        with LollmsClient("ollama", host_address=server.origin, model_name=MODEL) as client:
            return client.summarize(TEXT, **sizes)

    async def work() -> str:
        async with AsyncLollmsClient("ollama", host_address=server.origin, model_name=MODEL) as client:
            return await client.summarize(TEXT, **sizes)

    return asyncio.run(work())


def until_four(server: Reader) -> threading.Thread:
    """Lets the held answers go when four of them wait."""

    def watch() -> None:
        until(lambda: server.running == 4)
        server.release()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_four_requests_run_at_once_and_the_result_is_in_order(kind: str) -> None:
    with Reader() as server:
        server.hold()
        watcher = until_four(server)
        text = summarized(kind, server)
        watcher.join()
        assert text == " ".join(f"chapter {number}" for number in range(CHUNKS))
        assert server.most == 4
        assert len(server.asked("/api/chat")) == CHUNKS + 1
        assert len(set(server.contexts[:-1])) == 1
        assert 1_000 < server.contexts[0] < 131_072 // 8  # of what the model could have


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stop_ends_all_requests_and_gives_what_is_finished(kind: str) -> None:
    ended: list[str] = []

    def callback(chunk: str, kind: MSG_TYPE, params: dict[str, Any], **_: Any) -> bool:
        if kind == MSG_TYPE.MSG_TYPE_STEP_END:
            ended.append(params["id"])
            server.hold()
            return False
        return True

    with Reader() as server:
        text = summarized(kind, server, callback)  # it comes back although nobody lets the other answers go
        server.release()
    (first,) = ended
    assert f"chapter {int(first.removeprefix('chunk_')) - 1}" in text
    assert len(server.asked("/api/chat")) < CHUNKS + 1
