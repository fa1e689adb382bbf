"""Ctrl-C in a call that waits for a server: KeyboardInterrupt at once, and the connection is closed by the client."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.support.chaos import ChaosServer

AT_ONCE = 1.0  # seconds
AS_SAID = ["complete", "stream", "generate_text", "callback", "list_models"]

CHILD = """
import asyncio, sys
from lollms_client import AsyncLollmsClient, LollmsClient

face, name, binding, address = sys.argv[1:]

async def later():
    global client
    client = AsyncLollmsClient(binding, address, model_name="m", service_key="k")
    if name == "stream":
        async with client.stream("Hi") as stream:
            async for event in stream:
                print("event", flush=True)
    elif name == "list_models":
        await client.list_models()
    elif name == "callback":
        await client.generate_text("Hi", streaming_callback=lambda *_: print("event", flush=True))
    else:
        await getattr(client, name)("Hi")

def now():
    global client
    client = LollmsClient(binding, address, model_name="m", service_key="k")
    if name == "stream":
        with client.stream("Hi") as stream:
            for event in stream:
                print("event", flush=True)
    elif name == "list_models":
        client.list_models()
    elif name == "callback":
        client.generate_text("Hi", streaming_callback=lambda *_: print("event", flush=True))
    else:
        getattr(client, name)("Hi")

try:
    now() if face == "threads" else asyncio.run(later())
    print("ended", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.read()  # so that it is not the end of the process that closes anything
"""


@pytest.mark.parametrize("face", ["threads", "coroutines"])
@pytest.mark.parametrize(
    ("name", "binding", "mode"),
    [
        *((name, "openai", "never") for name in AS_SAID),
        *((name, "openai", "stall") for name in ("stream", "callback")),
        ("complete", "lollms", "never"),
        ("generate_text", "ollama", "never"),
    ],
)
def test_ctrl_c(face: str, name: str, binding: str, mode: str) -> None:
    with ChaosServer() as chaos:
        child = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CHILD, face, name, binding, chaos.url(mode)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            asked = chaos.wait_request(timeout=10)
            if mode == "stall":
                assert child.stdout.readline() == "event\n"
            start = time.monotonic()
            child.send_signal(signal.SIGINT)
            said = next(line for line in child.stdout if line != "event\n")
            assert time.monotonic() - start < AT_ONCE
            assert said == "interrupted\n"
            assert asked.connection.closed_after(AT_ONCE) < AT_ONCE
            _, complaints = child.communicate("", timeout=10)
            assert complaints == ""
            assert child.returncode == 0
        finally:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()
