"""One client serves a thread pool, code inside of a running event loop, and a forked child."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lollms_client import LollmsClient
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import TEXT, answer_json, reply


async def parrot(connection: Any, seen: Any) -> None:
    """Answers with what was asked."""
    await reply(connection, answer_json(seen.json()["messages"][-1]["content"]))


def test_a_thread_pool() -> None:
    with ChaosServer() as chaos, LollmsClient("openai", chaos.add("parrot", parrot), model_name="m") as client:
        prompts = [f"canary {number}" for number in range(64)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(client.generate_text, prompts)) == prompts


def test_inside_of_a_running_event_loop() -> None:
    with ChaosServer() as chaos, LollmsClient("openai", chaos.url("ok"), model_name="m") as client:

        async def main() -> list[Any]:
            here = client.generate_text("Hi", streaming_callback=lambda *_: True)
            return [here, await asyncio.to_thread(client.generate_text, "Hi")]

        assert asyncio.run(main()) == [TEXT, TEXT]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # newer Pythons warn where threads run, as they do here
def test_a_forked_child_has_connections_of_its_own() -> None:
    with ChaosServer() as chaos, LollmsClient("openai", chaos.url("ok"), model_name="m") as client:
        assert client.generate_text("Hi") == TEXT
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if client.generate_text("Hi") == TEXT else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.generate_text("Hi") == TEXT
        assert len(chaos.connections) == 2  # the parent's own was left alone and served again
