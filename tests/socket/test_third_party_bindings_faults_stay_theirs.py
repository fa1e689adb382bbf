"""A binding that ends, hangs or blocks costs its own request: the server answers on, and stops when it is told to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_server.core.bindings.adapter import Adapter
from lollms_server.core.watchdog import Watchdog
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import Served
from tests.support.third_party_binding.folder import CODE, server_with_folders

PLAIN_METHODS = """
    def generate(self, prompt, params, request_info, multimodal_data=None):
        import sys
        if prompt == "exit":
            sys.exit(3)
        faults = {"interrupt": KeyboardInterrupt, "stop": StopIteration, "memory": MemoryError}
        if prompt in faults:
            raise faults[prompt]
        if prompt == "secret":
            raise RuntimeError("/home/somebody/key=abc")
        return "ok"
"""
LEAVING = """
    def get_supported_output_modalities(self):
        raise SystemExit(4)
"""
STUBBORN = """
    async def generate_stream(self, prompt, params, request_info, multimodal_data=None):
        yield {"type": "chunk", "content": "so far"}
        while True:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.config["told"] = True
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    codes = {"faulty": CODE + PLAIN_METHODS, "leaving": CODE + LEAVING, "stubborn": CODE + STUBBORN}
    with server_with_folders(codes) as served:
        yield served


def generate(server: Served, text: str, **more: Any) -> Any:
    return ask(server.port, "POST", "/api/v1/generate", prompt(text, **more), server.headers)


@pytest.mark.parametrize("fault", ["exit", "interrupt", "stop", "memory", "secret"])
def test_whatever_a_worker_raises_is_a_status_and_the_next_request_is_served(server: Served, fault: str) -> None:
    answer = generate(server, fault)
    assert (answer.status, answer.json()["code"]) == (500, "engine_error")
    assert b"somebody" not in answer.body
    assert b"somebody" not in generate(server, fault, stream=True).body
    assert generate(server, "fine").json()["output"][0]["data"] == "ok"


def test_a_binding_that_exits_when_asked_what_it_can_do_is_an_error(server: Served) -> None:
    answer = generate(server, "x", binding_name="my_leaving")
    assert (answer.status, answer.json()["code"]) == (500, "engine_error")
    assert ask(server.port, "GET", "/health").status == 200


def test_a_stream_that_ignores_its_end_is_cut_off_and_the_instance_serves_on(server: Served) -> None:
    getting = asyncio.run_coroutine_threadsafe(server.services.manager.get("my_stubborn"), server.loop)
    instance: Any = getting.result(10)
    instance._adapter = Adapter(instance, grace=0.1)
    body = prompt("x", stream=True, binding_name="my_stubborn")
    with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers) as request:
        request.read_head()
        next(request.pieces())
    server.wait_idle()
    assert instance.config["told"]
    assert generate(server, "str", binding_name="my_stubborn", model_name="large").status == 200


BLOCKING = """
    async def generate(self, prompt, params, request_info, multimodal_data=None):
        import time
        self.blocks_here(time)
        return "ok"

    def blocks_here(self, time):
        while not self.config.get("enough"):
            time.sleep(0.005)
"""


def test_who_blocks_the_whole_server_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with server_with_folders({"blocking": CODE + BLOCKING}) as server, caplog.at_level(logging.ERROR):
        binding: Any = asyncio.run_coroutine_threadsafe(server.services.manager.get("my_blocking"), server.loop).result(
            9
        )
        watchdog = Watchdog(0.1)
        server.on_loop(watchdog.start)
        with RawRequest(server.port, "POST", "/api/v1/generate", body=prompt("x"), headers=server.headers) as request:
            deadline = time.monotonic() + 5
            while "blocks_here" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.01)
            binding.config["enough"] = True
            assert request.whole().status == 200
        server.on_loop(watchdog.stop)
    assert "blocking/__init__.py" in caplog.text
