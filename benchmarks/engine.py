"""llama.cpp through us: what we add to a token, and what is left of its own speed.

The embedded model is so quick that nearly all of the time between two tokens is somebody's overhead: it measures the
CPU that our process adds. A model of random weights, slow enough to be typical, measures what of the speed of
llama.cpp's own server is left behind ours. That server is the same child process that our engine starts, with the same
settings, asked directly.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.others import Others
from benchmarks.streams import Answer, Place, Stream, llama_server, ours
from benchmarks.table import Row, Table
from lollms_runtime.engines.llamacpp_launch import STAGE

TOKENS = 1000  # of one answer of the embedded model, whose context holds little more
ANSWERS = 8  # of one round
PROMPT = "Count from one to one hundred."


def measure(options: Any) -> list[Table]:
    """Everything about the local engine."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        return [added_cpu(folder, options), *slow_model(folder, options)]


# ---- CPU of our process for a token of the embedded model


def added_cpu(folder: Path, options: Any) -> Table:
    """The server and both clients of the library, in turn; the engine is another process and not counted."""
    rows = [Row("server, stream", []), Row("LollmsClient", []), Row("AsyncLollmsClient", [])]
    with _engine_server(folder, "default_model: lollms-nano\n", "local") as (port, pid):
        until_ready(port)
        place = ours(port)
        Stream(place, PROMPT, TOKENS).whole()
        for _ in range(options.rounds):
            before = cpu_of(pid)
            for _ in range(ANSWERS):
                Stream(place, PROMPT, TOKENS).whole()
            rows[0].values.append(1e6 * (cpu_of(pid) - before) / ANSWERS / TOKENS)
            for row, program in zip(rows[1:], (SYNC, ASYNC), strict=True):
                row.values.append(_library(program))
    table = Table("embedded model: CPU of our process per streamed token, µs", rows)
    for row in rows:
        table.budget(row.name, statistics.median(row.values), 15)
    return table


def _engine_server(folder: Path, settings: str, name: str) -> AbstractContextManager[tuple[int, int]]:
    """Our server with one local model, on no particular core: the engine must not share one with us."""
    return processes.ours(folder, settings, binding="llamacpp_binding", name=name, core=None)


SYNC = """
import json, sys, time
from lollms_client import LollmsClient
TOKENS, ANSWERS, PROMPT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
client = LollmsClient("llamacpp", model_name="lollms-nano")
def stream():
    with client.stream(PROMPT, n_predict=TOKENS, ignore_eos=True, temperature=0) as running:
        for event in running:
            pass
        reply = running.result()
    assert reply.usage.completion_tokens == TOKENS, reply
stream()
start = time.process_time()
for _ in range(ANSWERS):
    stream()
print(json.dumps(1e6 * (time.process_time() - start) / ANSWERS / TOKENS))
client.close()
"""

ASYNC = """
import asyncio, json, sys, time
from lollms_client import AsyncLollmsClient
TOKENS, ANSWERS, PROMPT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
async def main():
    async with AsyncLollmsClient("llamacpp", model_name="lollms-nano") as client:
        async def stream():
            async with client.stream(PROMPT, n_predict=TOKENS, ignore_eos=True, temperature=0) as running:
                async for event in running:
                    pass
                reply = await running.result()
            assert reply.usage.completion_tokens == TOKENS, reply
        await stream()
        start = time.process_time()
        for _ in range(ANSWERS):
            await stream()
        print(json.dumps(1e6 * (time.process_time() - start) / ANSWERS / TOKENS))
asyncio.run(main())
"""


def _library(program: str) -> float:
    """Microseconds of CPU per token of a program that streams with the library."""
    environment = {**os.environ, "PYTHONPATH": str(processes.ROOT)}
    command = [sys.executable, "-c", program, str(TOKENS), str(ANSWERS), PROMPT]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(json.loads(done.stdout))


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, its children excluded; Linux names such a clock by the process."""
    return time.clock_gettime(~pid << 3 | 2)


def until_ready(port: int, seconds: float = 120) -> None:
    """Wait until the server's model is loaded. Raises `SystemExit` if it is not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = processes.get(f"http://127.0.0.1:{port}/health")
        if said and json.loads(said).get("models") == "ready":
            return
        time.sleep(0.05)
    raise SystemExit("the model was not ready in time")


# ---- what is left of the speed of llama.cpp's own server

LAYERS, WIDTH, FEED_FORWARD = 12, 768, 2048
CONTEXT = 4096
SLOTS = 4
SHARE = 120  # tokens of an answer
LEAST_MS = 5.0  # milliseconds of a token that the model must take
BEHIND = "one two three four five six seven eight nine ten. "
LONG = 220  # times: some three thousand tokens
HALF = 110


def slow_model(folder: Path, options: Any) -> list[Table]:
    """The share of its own speed, parallel streams, long prompts, and a short request behind one."""
    model = _random_model()
    settings = f"default_model: {model}\nn_ctx: {CONTEXT}\nn_parallel: {SLOTS}\n"
    with _own_server(model) as own, _engine_server(folder, settings, "slow") as (port, _):
        until_ready(port)
        through = ours(port)
        for place in (own, through):
            Stream(place, PROMPT, 20).whole()
        return [
            *alone(own, through, options.rounds),
            *together(own, through, options.rounds),
            prefill(own, through, options.rounds),
            behind(through, options.rounds),
        ]


def _random_model() -> Path:
    """A llama of random weights in the build folder, made if it is not there."""
    from tests.support.tiny_gguf import write_random_llama

    processes.BUILD.mkdir(exist_ok=True)
    path = processes.BUILD / f"random-{LAYERS}-{WIDTH}-{FEED_FORWARD}.gguf"
    if not path.exists():
        part = path.with_suffix(".part")
        write_random_llama(part, layers=LAYERS, width=WIDTH, feed_forward=FEED_FORWARD).replace(path)
    return path


@contextlib.contextmanager
def _own_server(model: Path) -> Iterator[Place]:
    """llama.cpp's own server as our engine starts it, with a port and a key of its own."""
    from lollms_runtime.engines.llamacpp import LlamaCppEngine, LlamaCppSettings

    engine = LlamaCppEngine(LlamaCppSettings(model=model, context_size=CONTEXT, parallel=SLOTS, gpu_layers=0))
    try:
        target = engine.ready().result(120)
        yield llama_server(int(target.base_url.rsplit(":", 1)[1]), target.key)
    finally:
        engine.stop()


def alone(own: Place, through: Place, rounds: int) -> list[Table]:
    """One stream at a time, to each server in turn."""
    speeds: dict[str, list[float]] = {"its own server": [], "through us": []}
    others = Others()
    for turn in range(2 * rounds):
        others.begin()
        for name, place in _in_turn(own, through, turn):
            speeds[name].append(SHARE / Stream(place, PROMPT, SHARE).whole().seconds)
        others.end()
    table = Table("model of random weights, one stream: tokens/s (wall clock)", [*_rows(speeds), others.row()])
    table.budget(f"share of its own speed that is lost, %{others.remark()}", _lost(speeds), 3)
    slowness = 1000 / statistics.median(speeds["its own server"])
    table.goal(f"the model takes {slowness:.1f} ms a token; too quick by, ms", max(LEAST_MS - slowness, 0), 0)
    return [table]


def together(own: Place, through: Place, rounds: int) -> list[Table]:
    """As many streams at once as there are slots: their sum, and whether all of them get on."""
    speeds: dict[str, list[float]] = {"its own server": [], "through us": []}
    behind: dict[str, list[float]] = {"its own server": [], "through us": []}
    others = Others()
    for turn in range(rounds):
        others.begin()
        for name, place in _in_turn(own, through, turn):
            streams = [Stream(place, f"{number}: {PROMPT}", SHARE) for number in range(SLOTS)]
            answers = [stream.whole() for stream in streams]
            speeds[name].append(SLOTS * SHARE / max(answer.seconds for answer in answers))
            first = min(answer.seconds for answer in answers)
            written = [sum(at <= first for at in answer.times()) for answer in answers]
            behind[name].append(100 * (1 - min(written) / max(written)))
        others.end()
    rows = [*_rows(speeds), others.row()]
    total = Table(f"model of random weights, {SLOTS} streams at once: tokens/s of all (wall clock)", rows)
    total.budget(f"share of its own speed that is lost, %{others.remark()}", _lost(speeds), 3)
    even = Table("the same: how far the last stream is behind when the first one ends, %", _rows(behind))
    even.budget("through us, %", statistics.median(behind["through us"]), 10)
    return [total, even]


def prefill(own: Place, through: Place, rounds: int) -> Table:
    """A long prompt while nobody else asks: what it costs that it can be interrupted at any time."""
    seconds: dict[str, list[float]] = {"its own server": [], "through us": []}
    others = Others()
    for turn in range(rounds):
        others.begin()
        for name, place in _in_turn(own, through, turn):
            seconds[name].append(_first_token(place, f"{turn}, {name}. " + BEHIND * HALF))
        others.end()
    table = Table("a long prompt alone: seconds until its first token", [*_rows(seconds), others.row()])
    pairs = zip(seconds["through us"], seconds["its own server"], strict=True)
    lost = 100 * (statistics.median(ours / own for ours, own in pairs) - 1)
    table.goal(f"slower than its own server by, %{others.remark()}", lost, 3)
    return table


def _in_turn(own: Place, through: Place, turn: int) -> list[tuple[str, Place]]:
    """Both, beginning with the other one each time."""
    pair = [("its own server", own), ("through us", through)]
    return pair[::-1] if turn % 2 else pair


def _rows(found: dict[str, list[float]]) -> list[Row]:
    return [Row(name, values) for name, values in found.items()]


def _lost(speeds: dict[str, list[float]]) -> float:
    """The median over the rounds: what disturbs the machine disturbs both of a pair."""
    pairs = zip(speeds["through us"], speeds["its own server"], strict=True)
    return 100 * (1 - statistics.median(ours / own for ours, own in pairs))


def behind(through: Place, rounds: int) -> Table:
    """A short request while a long prompt is read: how many of its stages pass until its first token."""
    rows = [Row("a stage, ms", []), Row("first token alone, ms", []), Row("behind the long prompt, ms", [])]
    waits = []
    others = Others()
    for turn in range(3 * rounds):
        _first_token(through, "When this is answered, nothing of the last round is left.")
        others.begin()
        alone = _first_token(through, f"alone {turn}")
        stream = Stream(through, f"{turn}. " + BEHIND * LONG, 1)
        stream.until(lambda answer: len(answer.times(_STAGE)) >= 3)
        time.sleep(0.3 * turn % 1 * _stage(stream.answer))  # somewhere in the stage
        late = _first_token(through, f"behind {turn}")
        others.end()
        stage = _stage(stream.answer)
        stream.close()
        for row, seconds in zip(rows, (stage, alone, late), strict=True):
            row.values.append(1000 * seconds)
        waits.append((late - alone) / stage)
    rows += [Row("stages", waits), others.row()]
    table = Table(f"a short request while a long prompt is read in stages of {STAGE} tokens", rows)
    table.budget(f"stages until its first token, median{others.remark()}", statistics.median(waits), 1)
    table.goal("the same, longest", max(waits), 1)
    table.goal("tokens of the long prompt that are read until then, median", STAGE * statistics.median(waits), 256)
    return table


_STAGE = b'"kind":"prefill"'


def _stage(answer: Answer) -> float:
    """Seconds of a stage: the mean of the two between the first three reports, which come before anybody disturbs."""
    times = answer.times(_STAGE)
    return (times[2] - times[0]) / 2


def _first_token(place: Place, text: str) -> float:
    stream = Stream(place, text, 4)
    return stream.whole().times()[0]
