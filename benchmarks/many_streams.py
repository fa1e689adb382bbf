"""Two hundred streams at once in one coroutine client, paced and as fast as they come, against plain httpx2.

Both programs read the same streams of the mock, count what came and note when. What is made of those notes is not part
of the cost. Every token carries the moment at which the mock wrote it, so its delay is known, too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import plots
from benchmarks.table import Row, Table

STREAMS = 200
PACED = "N=40 DELAY=50"
BURST = "N=200"
RATIO = 1.2

COMMON = f"""
import asyncio, json, resource, sys, time
PORT, STREAMS = int(sys.argv[1]), {STREAMS}
BASE = f"http://127.0.0.1:{{PORT}}/v1"

def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] / 1e6

async def run(read, knobs):
    tokens = int(knobs.split()[0][2:])
    prompt = "Tell me a story. " + knobs
    notes = [[] for _ in range(STREAMS)]  # for each stream: when a piece of text came, and the text
    begun, used = time.monotonic_ns(), time.process_time()
    await asyncio.gather(*(read(prompt, each) for each in notes))
    used, wall = time.process_time() - used, time.monotonic_ns() - begun
    texts = ["".join(text for _, text in each) for each in notes]
    delays = [at - int(mark) for each in notes for at, text in each for mark in text.split("@")[1:]]
    first = [each[0][0] - begun for each in notes]
    return {{
        "token": used / STREAMS / tokens * 1e6,
        "missing": STREAMS * tokens - sum(text.count("@") for text in texts),
        "first_p50": percentile(first, 0.5),
        "first_p99": percentile(first, 0.99),
        "delay_p99": percentile(delays, 0.99),
        "seconds": wall / 1e9,
    }}

async def both(read):
    warm = [[] for _ in range(3)]
    await asyncio.gather(*(read("N=5", each) for each in warm))
    small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    paced = await run(read, "{PACED}")
    paced["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    paced["before"] = small
    burst = await run(read, "{BURST}")
    burst["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    burst["before"] = small
    print(json.dumps({{"paced": paced, "burst": burst}}))
"""

PLAIN = """
import httpx2

async def main():
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(limits=limits, timeout=60) as client:
        async def read(prompt, notes):
            asked = {"model": "mock", "messages": [{"role": "user", "content": prompt}], "stream": True}
            async with client.stream("POST", BASE + "/chat/completions", json=asked) as reply:
                async for line in reply.aiter_lines():
                    if line.startswith("data: {"):
                        choices = json.loads(line[6:])["choices"]
                        if choices and (text := choices[0]["delta"].get("content")):
                            notes.append((time.monotonic_ns(), text))
        await both(read)

asyncio.run(main())
"""

OURS = """
from lollms_client import AsyncLollmsClient
from lollms_core.types import TextDelta

async def main():
    async with AsyncLollmsClient("openai", BASE, service_key="x", model_name="mock") as client:
        async def read(prompt, notes):
            async with client.stream(prompt) as running:
                async for event in running:
                    if type(event) is TextDelta:
                        notes.append((time.monotonic_ns(), event.text))
        await both(read)

asyncio.run(main())
"""

PROGRAMS = {"httpx2": COMMON + PLAIN, "ours": COMMON + OURS}
MANNERS = {"paced": f"{STREAMS} paced streams (a token each 50 ms)", "burst": f"{STREAMS} streams at full speed"}

Run = dict[str, dict[str, float]]


def measure(options: Any, run: Callable[[str], Any]) -> list[Table]:
    """Both programs in turn, in every round; `run` starts a program and gives what it prints."""
    found: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    for turn in range(options.rounds):
        for name in list(PROGRAMS) if turn % 2 else reversed(PROGRAMS):
            found[name].append(run(PROGRAMS[name]))
    tables = [
        _table(manner, {name: [each[manner] for each in runs] for name, runs in found.items()}) for manner in MANNERS
    ]
    for manner, table in zip(MANNERS, tables, strict=True):
        path = plots.folder() / f"client_{manner}.svg"
        limit = RATIO * statistics.median(table.rows[0].values)
        plots.bars(path, table.title, table.rows, unit="µs per token", budget=limit)
    return tables


def _table(manner: str, found: dict[str, list[dict[str, float]]]) -> Table:
    rows = [Row(name, [each["token"] for each in runs], _notes(runs)) for name, runs in found.items()]
    table = Table(f"asynchronous client, {MANNERS[manner]}: CPU per token, µs", rows)
    plain, ours = found["httpx2"], found["ours"]
    table.budget("ours / plain httpx2", _median(ours, "token") / _median(plain, "token"), RATIO)
    table.budget("tokens that did not come", sum(each["missing"] for each in ours), 0.0)
    table.budget(
        "first token p99, ours / plain httpx2", _median(ours, "first_p99") / _median(plain, "first_p99"), RATIO
    )
    if manner == "paced":
        table.budget("first token p99 / p50", _median(ours, "first_p99") / _median(ours, "first_p50"), 2.0)
        table.budget("delay p99, ours / plain httpx2", _median(ours, "delay_p99") / _median(plain, "delay_p99"), RATIO)
    table.budget("memory, ours / plain httpx2", _median(ours, "memory") / _median(plain, "memory"), RATIO)
    return table


def _median(runs: list[dict[str, float]], what: str) -> float:
    return statistics.median(each[what] for each in runs)


def _notes(runs: list[dict[str, float]]) -> str:
    first = f"first token p50 {_median(runs, 'first_p50'):.0f} ms, p99 {_median(runs, 'first_p99'):.0f} ms"
    memory = f"{_median(runs, 'memory'):.0f} MB at most, {_median(runs, 'before'):.0f} MB before"
    return f"{first}, delay p99 {_median(runs, 'delay_p99'):.1f} ms, {memory}"
