"""What it costs to be there: importing the client, starting the server, idle memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.engine import until_ready
from benchmarks.table import Row, Table

IMPORT = """
import json, sys, time
before = len(sys.modules)
start = time.process_time()
{statement}
took = time.process_time() - start
modules = len(sys.modules) - before
from importlib.metadata import packages_distributions
names = packages_distributions()
loaded = {{d for m in {{m.partition(".")[0] for m in sys.modules}} for d in names.get(m, ())}}
print(json.dumps({{"cpu_ms": took * 1000, "modules": modules, "distributions": sorted(loaded)}}))
"""


def measure(options: Any) -> list[Table]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        return [
            *(import_client(s, options.rounds) for s in IMPORTS),
            command_line(options.rounds),
            *start_and_idle(folder, options.rounds),
        ]


IMPORTS = ("import lollms_client", "from lollms_client import LollmsClient; LollmsClient()")


def import_client(statement: str, rounds: int) -> Table:
    """CPU of a statement in a fresh interpreter, and what it loads."""
    runs = [_python(IMPORT.format(statement=statement)) for _ in range(rounds + 1)][1:]  # the first may still compile
    table = Table(f"`{statement}`: CPU, ms", [Row("import", [run["cpu_ms"] for run in runs])])
    table.budget("CPU, ms", statistics.median(table.rows[0].values), 100)
    table.budget("modules", runs[0]["modules"], 250)
    table.budget("distributions loaded", len(runs[0]["distributions"]), 12)
    return table


def _python(code: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(processes.ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def command_line(rounds: int) -> Table:
    """CPU of `lollms --help`, the interpreter's own start included."""
    costs = []
    for _ in range(rounds + 1):
        command = [sys.executable, "-m", "lollms_cli", "--help"]
        environment = {**os.environ, "PYTHONPATH": str(processes.ROOT)}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        used = os.wait4(process.pid, 0)[2]
        process.returncode = 0
        costs.append(1000 * (used.ru_utime + used.ru_stime))
    table = Table("`lollms --help`: CPU, ms", [Row("help", costs[1:])])
    table.budget("CPU, ms", statistics.median(costs[1:]), 120)
    return table


def start_and_idle(folder: Path, rounds: int) -> list[Table]:
    """Seconds from the start of the process to an answer of `/health`, and the memory of the idle server."""
    seconds, memory = [], []
    for number in range(rounds + 1):
        port = processes.free_port()
        configs = processes.configuration(folder / f"start{number}", port, "nano", "llamacpp_binding", NANO)
        start = time.monotonic()
        own = {"PYTHONPATH": str(processes.ROOT), "LOLLMS_HOME": str(folder / "home")}
        with processes.running("start", processes.serve_command(configs), port, core=None, **own) as pid:
            while processes.get(f"http://127.0.0.1:{port}/health") is None:
                time.sleep(0.01)
            took = time.monotonic() - start
            until_ready(port)
            if number:
                seconds.append(took)
                memory.append(_memory_mb(pid))
    starting = Table("`lollms serve`: seconds to an answer of /health (wall clock)", [Row("start", seconds)])
    starting.budget("seconds", statistics.median(seconds), 1.5)
    idle = Table("idle server without the engine's process: MB (proportional set size)", [Row("idle", memory)])
    idle.budget("MB", statistics.median(memory), 90)
    return [starting, idle]


NANO = "default_model: lollms-nano\n"


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"the kernel does not say how much memory process {pid} has")
