"""What a request costs as everything around it grows: instances, personalities, functions, streams and prompts.

The servers of all sizes run side by side, and every round asks each of them, so that a busy machine slows all alike.
Each ratio is the median of the ratios within the rounds. A request that names nothing takes the quick route; one that
names an instance does too; one with a personality or a function takes the documented route.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, processes, prompts
from benchmarks.asking import ask_all, cpu_seconds, on_the_core_of_the_load, request
from benchmarks.crowd import Crowd, serving
from benchmarks.table import Row, Table

SIZES = (1, 10, 100, 1000)
KINDS = ("instances", "personalities", "functions")
MANNERS = ("nothing named", "an instance named", "a personality named", "a function named")
SLICE, SLICES = 200, 5
"""Requests in a row to one server, and how often that comes in a round, whose value is the median of them: so noise
meets all alike, and a burst of it counts once."""

STREAMS = (1_000, 10_000, 100_000)
PLAIN = b'{"input_data": [{"type": "text", "role": "user_prompt", "data": "Tell me a story."}]}'
FLAT = 1.15
"""How much more a request may cost with a thousand of something than with one."""

STARTS = {
    "health": ("growth: seconds from the start to an answer of /health (wall clock)", 1.5),
    "memory": ("growth: memory of the idle server, MB (proportional set size)", 90.0),
}

Found = dict[tuple[str, int], list[float]]


def measure(options: Any) -> list[Table]:
    """All curves, as tables; the plots go into benchmarks/plots."""
    processes.build()
    with tempfile.TemporaryDirectory() as scratch, processes.mock() as mock, on_the_core_of_the_load():
        folder = Path(scratch)
        tables = [crowds(folder, mock, options.rounds)]
        tables += starts(folder, mock, options.rounds)
        tables.append(streams(folder, mock, options.rounds))
    return tables + prompts.measure(options)


# ---- how many there are of everything


class _Target:
    """Requests of one manner to one server, in turn."""

    def __init__(self, port: int, pid: int, bodies: Sequence[bytes]) -> None:
        self._port = port
        self._pid = pid
        self._requests = [request(body) for body in bodies]
        self._at = 0

    @property
    def names(self) -> int:
        """After how many requests the first comes again."""
        return len(self._requests)

    def ask(self, count: int) -> float:
        """Send the next ones; gives the microseconds of CPU that the server took for each."""
        length = len(self._requests)
        following = [self._requests[(self._at + place) % length] for place in range(min(count, length))]
        before = cpu_seconds(self._pid)
        ask_all(self._port, following, count)
        used = cpu_seconds(self._pid) - before
        self._at = (self._at + count) % length
        return 1e6 * used / count


def crowds(folder: Path, mock: int, rounds: int) -> Table:
    """CPU per request on servers with 1, 10, 100 and 1,000 of each kind."""
    found: Found = {}
    with contextlib.ExitStack() as stack:
        targets = _targets(stack, folder, mock)
        for target in targets.values():  # to warm up: each instance has its codec and its connection then
            target.ask(max(SLICE, target.names))
        for turn in range(rounds):
            pieces: Found = {key: [] for key in targets}
            for piece in range(SLICES):
                for key in rotated(list(targets), turn * SLICES + piece):
                    pieces[key].append(targets[key].ask(SLICE))
            for key, costs in pieces.items():
                found.setdefault(key, []).append(statistics.median(costs))
    title = "growth: CPU of the server per request, µs, with so many instances, personalities and functions"
    table = Table(title, [Row(f"{manner}, {size:,} of each", found[manner, size]) for manner, size in targets])
    for manner in MANNERS:
        table.budget(f"{manner}: with 1,000 / with 1", ratio(found[manner, 1000], found[manner, 1]), FLAT)
    lines = {manner: {size: found[manner, size] for size in SIZES} for manner in MANNERS}
    plots.curves(plots.folder() / "growth_crowds.svg", title, lines, "of each", "µs per request")
    return table


def _targets(stack: contextlib.ExitStack, folder: Path, mock: int) -> dict[tuple[str, int], _Target]:
    found = {}
    for size in SIZES:
        crowd = Crowd(size, size, size)
        port, pid = stack.enter_context(serving(folder, crowd, mock, f"crowd_{size}"))
        until_ready(port)
        settled(pid)
        found["nothing named", size] = _Target(port, pid, [PLAIN])
        for kind in KINDS:
            found[MANNERS[1 + KINDS.index(kind)], size] = _Target(port, pid, crowd.bodies(kind))
    return {(manner, size): found[manner, size] for manner in MANNERS for size in SIZES}


def rotated(keys: list[Any], turn: int) -> list[Any]:
    """Another one is first each time."""
    at = turn * 3 % len(keys)
    return keys[at:] + keys[:at]


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios within the rounds."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


# ---- starting


def starts(folder: Path, mock: int, rounds: int) -> list[Table]:
    """How the server starts, and what it takes when idle, with one and with a thousand instances."""
    begun: dict[int, list[Mapping[str, float]]] = {1: [], SIZES[-1]: []}
    for turn in range(rounds):
        for size, runs in begun.items():
            runs.append(_start(folder / f"start_{turn}_{size}", Crowd(instances=size), mock))
    tables = []
    for what, (title, limit) in STARTS.items():
        rows = [
            Row(f"{size:,} instances", [run[what] for run in runs], _start_notes(runs)) for size, runs in begun.items()
        ]
        table = Table(title, rows)
        table.budget(f"with {SIZES[-1]:,} instances", statistics.median(rows[-1].values), limit)
        tables.append(table)
    return tables


def _start(folder: Path, crowd: Crowd, mock: int) -> Mapping[str, float]:
    begin = time.monotonic()
    with serving(folder, crowd, mock, "start") as (port, pid):
        while processes.get(f"http://127.0.0.1:{port}/health") is None:
            time.sleep(0.01)
        answered, cpu = time.monotonic() - begin, cpu_seconds(pid)
        until_ready(port)
        settled(pid)
        return {"health": answered, "cpu": cpu, "loaded": cpu_seconds(pid), "memory": memory_mb(pid)}


def _start_notes(runs: Sequence[Mapping[str, float]]) -> str:
    cpu, loaded = (statistics.median(run[what] for run in runs) for what in ("cpu", "loaded"))
    return f"{cpu:.2f} s of CPU until the answer, {loaded:.2f} s until all are loaded"


def until_ready(port: int, seconds: float = 120) -> None:
    """Wait until no model is loading."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = processes.get(f"http://127.0.0.1:{port}/health", timeout=30)
        if said and json.loads(said).get("models") == "ready":
            return
        time.sleep(0.05)
    raise SystemExit(f"the instances were not ready after {seconds:g} s")


def settled(pid: int, quiet: float = 0.01, seconds: float = 30) -> None:
    """Wait until a process does nothing any more: health checks follow the loading."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(0.3)
        if cpu_seconds(pid) - before < quiet:
            return
    raise SystemExit("the server does not come to rest")


def memory_mb(pid: int) -> float:
    """The proportional set size of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"the kernel does not say how much memory process {pid} has")


# ---- how long a stream is


def streams(folder: Path, mock: int, rounds: int) -> Table:
    """CPU per token of one stream of a thousand, ten thousand and a hundred thousand tokens."""
    found: dict[int, list[float]] = {size: [] for size in STREAMS}
    with serving(folder, Crowd(), mock, "streams") as (port, pid):
        until_ready(port)
        for turn in range(rounds + 1):
            for size in rotated(list(STREAMS), turn):
                used = _stream(folder, port, pid, size)
                if turn:
                    found[size].append(used)
    title = "growth: CPU of the server per token, µs, by the length of the stream"
    table = Table(title, [Row(f"{size:,} tokens", values) for size, values in found.items()])
    table.budget("100,000 / 1,000 tokens", ratio(found[STREAMS[-1]], found[STREAMS[0]]), FLAT)
    plots.curves(plots.folder() / "growth_streams.svg", title, {"server": found}, "tokens", "µs per token")
    return table


def _stream(folder: Path, port: int, pid: int, tokens: int) -> float:
    """Microseconds of CPU per token; short streams are read several times. Raises `SystemExit` when one is missing."""
    times = max(1, 20_000 // tokens)
    body = folder / "stream.body"
    prompt = f"Tell me a story. N={tokens}"
    asked = {"input_data": [{"type": "text", "role": "user_prompt", "data": prompt}], "stream": True}
    body.write_text(json.dumps(asked), encoding="utf-8")
    load = [processes.BUILD / "load", "-p", str(port), "-u", "/api/v1/generate", "-b", body, "-c", "1"]
    load += ["-r", str(times), "-n", str(tokens), "-T", "60", "-X", f"X-API-Key: {processes.KEY}"]
    before = cpu_seconds(pid)
    done = subprocess.run(list(map(str, load)), check=True, capture_output=True, encoding="utf-8")
    used = cpu_seconds(pid) - before
    said = json.loads(done.stdout)
    if said["errs"] or said["short"] or said["ok"] != times:
        raise SystemExit(f"a stream of {tokens} tokens was not whole: {said}")
    return 1e6 * used / times / tokens
