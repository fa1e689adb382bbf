"""Both Python clients on streams of the mock, against plain httpx2 reading the same streams."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from benchmarks import many_streams, processes
from benchmarks.table import Row, Table

COMMON = """
import json, sys, time
PORT, N, CALLS = int(sys.argv[1]), 1000, 40
BASE = f"http://127.0.0.1:{PORT}/v1"
def run(call, stream):
    for _ in range(3):
        assert call()
        assert stream() == N, "a token is missing"
    start = time.process_time()
    for _ in range(CALLS):
        call()
    per_call = (time.process_time() - start) / CALLS * 1e6
    start = time.process_time()
    for _ in range(5):
        stream()
    per_token = (time.process_time() - start) / 5 / N * 1e6
    print(json.dumps({"call": per_call, "token": per_token}))
"""

PLAIN = """
import httpx2
client = httpx2.Client()
def body(text, stream):
    return {"model": "mock", "messages": [{"role": "user", "content": text}], "stream": stream}
def call():
    reply = client.post(BASE + "/chat/completions", json=body("Tell me a story.", False))
    return reply.json()["choices"][0]["message"]["content"]
def stream():
    n = 0
    with client.stream("POST", BASE + "/chat/completions", json=body(f"Tell me a story. N={N}", True)) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    n += 1
    return n
run(call, stream)
"""

OURS = """
from lollms_client import LollmsClient
from lollms_core.types import TextDelta
client = LollmsClient(binding_name="openai", host_address=BASE, service_key="x", model_name="mock")
def call():
    return client.complete("Tell me a story.").text
def stream():
    n = 0
    with client.stream(f"Tell me a story. N={N}") as running:
        for event in running:
            if type(event) is TextDelta:
                n += event.text.count("@")  # one delta may hold the text of several tokens
    return n
run(call, stream)
client.close()
"""

ASYNC = """
import asyncio, json, sys, time
PORT, N, CALLS = int(sys.argv[1]), 1000, 40
BASE = f"http://127.0.0.1:{PORT}/v1"
async def run(call, stream):
    for _ in range(3):
        assert await call()
        assert await stream() == N, "a token is missing"
    start = time.process_time()
    for _ in range(CALLS):
        await call()
    per_call = (time.process_time() - start) / CALLS * 1e6
    start = time.process_time()
    for _ in range(5):
        await stream()
    per_token = (time.process_time() - start) / 5 / N * 1e6
    print(json.dumps({"call": per_call, "token": per_token}))
"""

PLAIN_ASYNC = """
import httpx2
def body(text, stream):
    return {"model": "mock", "messages": [{"role": "user", "content": text}], "stream": stream}
async def main():
    client = httpx2.AsyncClient()
    async def call():
        reply = await client.post(BASE + "/chat/completions", json=body("Tell me a story.", False))
        return reply.json()["choices"][0]["message"]["content"]
    async def stream():
        n, asked = 0, body(f"Tell me a story. N={N}", True)
        async with client.stream("POST", BASE + "/chat/completions", json=asked) as reply:
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:])["choices"]
                    if choices and choices[0]["delta"].get("content"):
                        n += 1
        return n
    await run(call, stream)
    await client.aclose()
asyncio.run(main())
"""

OURS_ASYNC = """
from lollms_client import AsyncLollmsClient
from lollms_core.types import TextDelta
async def main():
    async with AsyncLollmsClient("openai", BASE, service_key="x", model_name="mock") as client:
        async def call():
            return (await client.complete("Tell me a story.")).text
        async def stream():
            n = 0
            async with client.stream(f"Tell me a story. N={N}") as running:
                async for event in running:
                    if type(event) is TextDelta:
                        n += event.text.count("@")
            return n
        await run(call, stream)
asyncio.run(main())
"""

PROGRAMS = {
    "client": {"httpx2": COMMON + PLAIN, "ours": COMMON + OURS},
    "asynchronous client": {"httpx2": ASYNC + PLAIN_ASYNC, "ours": ASYNC + OURS_ASYNC},
}


def measure(options: Any) -> list[Table]:
    """All programs in turn, in every round."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with processes.mock() as port:
        for _ in range(options.rounds):
            for kind, programs in PROGRAMS.items():
                for name, code in programs.items():
                    found.setdefault((kind, name), []).append(_run(code, port))
        many = many_streams.measure(options, lambda code: _run(code, port))
    tables = []
    for kind, programs in PROGRAMS.items():
        for what in ("call", "token"):
            rows = [Row(name, [run[what] for run in found[kind, name]]) for name in programs]
            table = Table(f"{kind}: CPU per {'call' if what == 'call' else 'streamed token'}, µs", rows)
            plain, ours = (statistics.median(row.values) for row in rows)
            table.budget("ours / plain httpx2", ours / plain, 1.2)
            tables.append(table)
    return tables + many


def _run(code: str, port: int) -> Any:
    """What a program prints, on the core of what is measured."""
    environment = {**os.environ, "PYTHONPATH": str(processes.ROOT)}
    command = ["taskset", "-c", processes.GATEWAY_CORE, sys.executable, "-c", code, str(port)]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment)
    return json.loads(done.stdout)
