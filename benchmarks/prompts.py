"""What a request costs as its prompt grows from a kilobyte to a megabyte: through the server and through the client.

Linear means: a further byte of a prompt of a megabyte costs no more than one of a prompt of a hundred kilobytes. The
mock takes requests of 64 KB, so a copy of it with more room is built for this part alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, processes
from benchmarks.asking import cost, on_the_core_of_the_load, request
from benchmarks.crowd import Crowd, serving
from benchmarks.table import Row, Table

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ROOM = ("#define INMAX 65536", "#define INMAX 4194304")
SENTENCE = (
    'The old clock in the hall said "five", and nobody believed it;\nnot even the cat, who knew café hours well. '
)
LINEAR = 1.25
MOST = 400
"""Of requests in one measurement; large ones are fewer."""

CLIENT = """
import json, sys, time
from lollms_client import LollmsClient
port, texts = sys.argv[1], sys.stdin.read().split("\\0")
address = f"http://127.0.0.1:{port}/v1"
client = LollmsClient(binding_name="openai", host_address=address, service_key="x", model_name="mock")
costs = []
for _ in range(2):  # the first is to warm up
    costs.clear()
    for text in texts:
        times = max(5, min(100, 3_000_000 // len(text)))
        start = time.process_time()
        for _ in range(times):
            assert client.complete(text).text
        costs.append((time.process_time() - start) / times * 1e6)
print(json.dumps(costs))
client.close()
"""

Found = dict[str, dict[int, list[float]]]


def measure(options: Any) -> list[Table]:
    """Requests of all sizes, interleaved: the quick route, the documented route, the client."""
    found: Found = {name: {size: [] for size in SIZES} for name in ("quick route", "documented route", "client")}
    with tempfile.TemporaryDirectory() as scratch, roomy_mock() as mock, on_the_core_of_the_load():
        with serving(Path(scratch), Crowd(), mock, "prompts") as (port, pid):
            targets = _targets(port, pid)
            for turn in range(options.rounds + 1):
                for (name, size), target in targets.items():
                    used = target()
                    if turn:
                        found[name][size].append(used)
        for _ in range(options.rounds):
            for size, used in zip(SIZES, _client(mock), strict=True):
                found["client"][size].append(used)
    _plot(found)
    return [_table(name, curve) for name, curve in found.items()]


def prompt(size: int) -> str:
    """A text of so many characters, with what JSON must escape."""
    return (SENTENCE * (size // len(SENTENCE) + 1))[:size]


def _targets(port: int, pid: int) -> Mapping[tuple[str, int], Callable[[], float]]:
    targets: dict[tuple[str, int], Callable[[], float]] = {}
    for size in SIZES:
        asked = {"input_data": [{"type": "text", "role": "user_prompt", "data": prompt(size)}]}
        times = max(8, min(MOST, 8_000_000 // size))
        # A field that is null is read by the documented route only.
        for name, more in (("quick route", {}), ("documented route", {"personality": None})):
            whole = [request(json.dumps(asked | more, ensure_ascii=False).encode())]
            targets[name, size] = _cost(port, pid, whole, times)
    return targets


def _cost(port: int, pid: int, requests: Sequence[bytes], times: int) -> Callable[[], float]:
    return lambda: cost(port, pid, requests, times, clients=4)


def _client(mock: int) -> list[float]:
    environment = {**os.environ, "PYTHONPATH": str(processes.ROOT)}
    command = ["taskset", "-c", processes.GATEWAY_CORE, sys.executable, "-c", CLIENT, str(mock)]
    texts = "\0".join(map(prompt, SIZES))
    done = subprocess.run(command, input=texts, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=environment)
    costs: list[float] = json.loads(done.stdout)
    return costs


def _table(name: str, curve: Mapping[int, Sequence[float]]) -> Table:
    rows = []
    for size, values in curve.items():
        nanoseconds = 1000 * statistics.median(values) / size
        rows.append(Row(f"{size:,} bytes", list(values), f"{nanoseconds:.3g} ns per byte"))
    table = Table(f"growth: CPU per request, µs, by the size of the prompt: {name}", rows)
    table.budget("a further byte, at 1 MB / at 100 KB", _slope(curve, 2, 3) / _slope(curve, 0, 2), LINEAR)
    return table


def _slope(curve: Mapping[int, Sequence[float]], first: int, last: int) -> float:
    """Microseconds for a further byte between two sizes."""
    small, large = SIZES[first], SIZES[last]
    return (statistics.median(curve[large]) - statistics.median(curve[small])) / (large - small)


def _plot(found: Found) -> None:
    per_byte = {
        name: {size: [1000 * value / size for value in values] for size, values in curve.items()}
        for name, curve in found.items()
    }
    plots.curves(plots.folder() / "growth_prompts.svg", "CPU per byte of the prompt", per_byte, "bytes", "ns per byte")


@contextlib.contextmanager
def roomy_mock() -> Iterator[int]:
    """The mock upstream with room for requests of 4 MB; gives its port."""
    source = (processes.BUILD / "mock.c").read_text(encoding="utf-8")
    changed = source.replace(*ROOM)
    if changed == source:
        raise SystemExit("mock.c has changed: the patch of benchmarks/prompts.py does not fit it")
    (processes.BUILD / "mock_roomy.c").write_text(changed, encoding="utf-8")
    subprocess.run(["gcc", "-O2", "-o", "mock_roomy", "mock_roomy.c"], cwd=processes.BUILD, check=True)
    port = processes.free_port()
    with processes.running("mock_roomy", [processes.BUILD / "mock_roomy", str(port)], port, core=processes.LOAD_CORE):
        yield port
