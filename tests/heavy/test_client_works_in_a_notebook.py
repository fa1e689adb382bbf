"""Cells of a notebook kernel, whose event loop runs while they do: both clients answer, and the stop button stops."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import TEXT

pytestmark = pytest.mark.group("notebook")

SYNC = """
from lollms_client import LollmsClient
with LollmsClient(binding_name="openai", host_address={address!r}, model_name="m", service_key="k") as client:
    print(repr(client.generate_text("Hi", streaming_callback=lambda chunk, kind: None)))
    print(repr(client.complete("Hi").text))
"""
ASYNC = """
from lollms_client import AsyncLollmsClient
settings = dict(binding_name="openai", host_address={address!r}, model_name="m", service_key="k")
async with AsyncLollmsClient(**settings) as client:
    print(repr(await client.generate_text("Hi")))
    async with client.stream("Hi") as stream:
        print(repr("".join([event.text async for event in stream if hasattr(event, "text")])))
"""
STUCK = """
from lollms_client import LollmsClient
client = LollmsClient(binding_name="openai", host_address={address!r}, model_name="m", service_key="k")
print("asking", flush=True)
client.complete("Hi")
"""


class Kernel:
    """A kernel in a process of its own, asked over its sockets."""

    def __init__(self) -> None:
        from jupyter_client.manager import KernelManager

        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=40)

    def run(self, code: str, *, interrupt_at: str = "") -> tuple[str, str]:
        """What a cell prints, and the name of the error it ends with; the stop button is pressed after a text."""
        asked = self._client.execute(code)
        printed, error = "", ""
        while True:
            message = self._client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != asked:
                continue
            content: dict[str, Any] = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed += content["text"]
                if interrupt_at and interrupt_at in printed:
                    self._manager.interrupt_kernel()
                    interrupt_at = ""
            elif message["msg_type"] == "error":
                error = content["ename"]
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed, error

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    found = Kernel()
    yield found
    found.close()


@pytest.fixture(scope="module")
def service() -> Iterator[ChaosServer]:
    with ChaosServer() as found:
        yield found


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_a_cell_gets_its_answers(kernel: Kernel, service: ChaosServer, code: str) -> None:
    printed, error = kernel.run(code.format(address=service.url("ok")))
    assert (printed, error) == (f"{TEXT!r}\n{TEXT!r}\n", "")


def test_the_stop_button_stops_a_cell_at_once(kernel: Kernel, service: ChaosServer) -> None:
    began = time.monotonic()
    _, error = kernel.run(STUCK.format(address=service.url("never")), interrupt_at="asking")
    assert error == "KeyboardInterrupt"
    assert time.monotonic() - began < 10
    assert kernel.run("print(1 + 1)") == ("2\n", "")
