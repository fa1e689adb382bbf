"""Interleaved rounds of `bench.py`: what is asked, the raw figures, and tables made of them.

`bench.py` runs a paced cell once, however many rounds it is told. So paced rounds are runs of their own, each starting
with another target, and what is said about them is the median over the rounds, pair by pair where two are compared.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.table import Row, Table

GENERATE = (
    '{"input_data": [{"type": "text", "role": "user_prompt", "data": "{PROMPT}"}],'
    ' "parameters": {"max_tokens": {N}}, "stream": {STREAM}}'
)
"""The body of `POST /api/v1/generate`; `bench.py` fills in the braces."""

TICKS = os.sysconf("SC_CLK_TCK")
Rounds = dict[str, dict[str, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Target:
    """One address to measure; `body` is a template, and without it a request of the OpenAI protocol is sent."""

    name: str
    port: int
    path: str = "/v1/chat/completions"
    body: str = ""
    header: str = ""
    key: str = ""

    def argument(self, folder: Path) -> str:
        """How `bench.py` is told; the template goes to a file in `folder`."""
        said = f"{self.name}=http://127.0.0.1:{self.port}{self.path}"
        if self.body:
            file = folder / f"{self.name}.body"
            file.write_text(self.body, encoding="utf-8")
            said += f",body={file}"
        if self.key:
            said += f",key={self.key}"
        return f"{said},hdr={self.header}" if self.header else said


def generate(name: str, port: int) -> Target:
    """`POST /api/v1/generate` of a server of ours."""
    return Target(name, port, "/api/v1/generate", GENERATE, f"X-API-Key: {processes.KEY}")


@contextlib.contextmanager
def server_of(
    root: Path, folder: Path, settings: str, *, binding: str, name: str, core: str = processes.GATEWAY_CORE
) -> Iterator[int]:
    """The server of the checkout at `root`, with one instance; gives its port.

    Raises `SystemExit` if it would run the code of another folder.
    """
    own = {"PYTHONPATH": str(root), "LOLLMS_HOME": str(folder / f"{name}_home")}
    loaded = _code_of(own)
    if not loaded.is_relative_to(root):
        raise SystemExit(f"the server of {root} would run the code of {loaded}")
    port = processes.free_port()
    configs = processes.configuration(folder / name, port, name, binding, settings)
    with processes.running(name, processes.serve_command(configs), port, core=core, **own):
        yield port


def _code_of(environment: dict[str, str]) -> Path:
    """Where `lollms_server` comes from for a process with this environment."""
    code = "import lollms_server, sys; sys.stdout.write(lollms_server.__path__[0])"
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", cwd=processes.BUILD, env={**environment, "PATH": ""}
    )
    return Path(found.stdout).resolve()


@contextlib.contextmanager
def bare_app(name: str, app: str, upstream: int, **knobs: str) -> Iterator[int]:
    """One of the bare Python gateways (`gateways.sh`, uvicorn's only); gives its port."""
    port = processes.free_port()
    options = "--no-access-log --log-level warning --loop uvloop --http httptools --backlog 4096 --host 127.0.0.1"
    command = [sys.executable, "-m", "uvicorn", *options.split(), "--port", str(port), app]
    own = {"MOCK": f"http://127.0.0.1:{upstream}", "PYTHONPATH": str(processes.ROOT), **knobs}
    with processes.running(name, [*command], port, core=processes.GATEWAY_CORE, **own):
        yield port


def run(
    targets: list[Target], options: Any, *, json: str | None = None, stream: str | None = None, slow: str | None = None
) -> Rounds:
    """All cells of all targets, interleaved. The cells are those of `options` where none are given here; '' is none."""
    whole = options.json if json is None else json
    streamed = options.stream if stream is None else stream
    paced = options.slow if slow is None else slow
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _warm_up(targets, folder)
        cells = ["--json", whole, "--stream", streamed, "--secs", str(options.secs), "--rounds", str(options.rounds)]
        found = _bench(targets, cells, folder)
        for turn in range(slow_rounds(options) if paced else 0):
            first = turn % len(targets)
            for target in targets[first:] + targets[:first]:
                for cell, rows in _paced_round(target, paced, folder).items():
                    found[target.name].setdefault(cell, []).extend(rows)
    return found


def slow_rounds(options: Any) -> int:
    """How many paced rounds: `options.slow_rounds` where the runner has it, else two."""
    return int(getattr(options, "slow_rounds", 2))


def _warm_up(targets: list[Target], folder: Path) -> None:
    """A few requests of each kind, not counted: the bare relays import their client with the first one."""
    _bench(targets, ["--json", "4", "--stream", "4", "--secs", "0.3", "--rounds", "1"], folder, quiet=True)


def _paced_round(target: Target, clients: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """One target's paced round, with the share of its core that other programs took meanwhile.

    A delay is wall-clock time: on a core that is shared it says more about the others than about the target.
    """
    _wait_until_quiet()
    before, start = _busy(), time.monotonic()
    cells = _bench([target], ["--json", "", "--stream", "", "--slow", clients], folder)[target.name]
    busy, wall = _busy() - before, time.monotonic() - start
    for rows in cells.values():
        own = rows[0]["cpu_s"] if target.name != "direct" else 0.0  # the mock itself runs on the other core
        rows[0]["others"] = max(0.0, busy - own) / wall
    return cells


def _busy() -> float:
    """Seconds for which the gateway's core has worked, for anybody, since the machine was started."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *fields = line.split()
        if name == f"cpu{processes.GATEWAY_CORE}":
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS
    raise SystemExit("the kernel does not say how busy the cores are")


def _wait_until_quiet(share: float = 0.1, seconds: float = 15) -> None:
    """Give others on the gateway's core a moment to end; go on after that in any case."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = _busy()
        time.sleep(0.5)
        if _busy() - before < share * 0.5:
            return


def _bench(targets: list[Target], cells: list[str], folder: Path, *, quiet: bool = False) -> Rounds:
    out = folder / "rounds.json"
    command = [sys.executable, str(processes.BUILD / "bench.py"), "--core", processes.LOAD_CORE, "--out", str(out)]
    for target in targets:
        command += ["-t", target.argument(folder)]
    subprocess.run([*command, *cells, "--cap", "60"], check=True, stdout=subprocess.DEVNULL if quiet else None)
    found: Rounds = loads(out.read_text(encoding="utf-8"))
    return found


def cells_of(rounds: Rounds) -> list[str]:
    """The names of the cells, such as `stream-16`."""
    return list(next(iter(rounds.values())))


def cost(kind: str, row: dict[str, Any]) -> float:
    """Microseconds of CPU of the measured process, per request or per streamed token."""
    units = row.get("done", 0) if kind == "json" else row.get("all_chunks", 0)
    return 1e6 * float(row["cpu_s"]) / max(float(units), 1.0)


def failures(rows: list[dict[str, Any]]) -> int:
    """Answers that failed or lack a token, in all rounds; a round that says nothing counts as one."""
    return sum(row["errs"] + row["short"] if "errs" in row else 1 for row in rows)


def cost_table(rounds: Rounds, cell: str, prefix: str = "") -> Table:
    """CPU per request or token, a row for each target."""
    kind, _, clients = cell.partition("-")
    per = "request" if kind == "json" else "token"
    table = Table(f"{prefix}{kind}, {clients} clients: CPU of the process per {per}, µs", [])
    for name, cells in rounds.items():
        table.rows.append(Row(name, [cost(kind, row) for row in cells[cell]], _notes(kind, cells[cell])))
    return table


def _notes(kind: str, rows: list[dict[str, Any]]) -> str:
    memory = max(row["rss"] for row in rows)
    notes = [f"{memory:.0f} MB", f"{failures(rows)} errors"]
    if kind != "json":
        half, most = (statistics.median(row.get(f"ttfc_{p}_us", 0) / 1000 for row in rows) for p in ("p50", "p99"))
        notes.append(f"first token p50 {half:.1f} ms, p99 {most:.1f} ms")
        notes.append(f"delay p99 {statistics.median(row.get('gap_p99_us', 0) for row in rows) / 1000:.1f} ms")
    if "others" in rows[0]:
        notes.append("others on its core " + ", ".join(f"{row['others']:.0%}" for row in rows))
    return ", ".join(notes)


def first_token_table(rounds: Rounds, cell: str, prefix: str = "") -> Table:
    """How much later the last hundredth of the first tokens comes than the middle one, in every round."""
    table = Table(f"{prefix}{_paced(cell)}: first token, p99 / p50", [])
    for name, cells in rounds.items():
        table.rows.append(Row(name, [_share(row["ttfc_p99_us"], row["ttfc_p50_us"]) for row in cells[cell]]))
    return table


def delay_table(rounds: Rounds, cell: str, prefix: str = "") -> Table:
    """From the mock's write to the client's read, the 99th of a hundred tokens, in every round."""
    table = Table(f"{prefix}{_paced(cell)}: delay of a token, p99, ms", [])
    for name, cells in rounds.items():
        table.rows.append(Row(name, [row["gap_p99_us"] / 1000 for row in cells[cell]]))
    return table


def disturbance(rounds: Rounds, cell: str, allowed: float = 0.2) -> str:
    """A remark for verdicts where others had more than `allowed` of the core; '' for quiet rounds."""
    most = max(row.get("others", 0.0) for cells in rounds.values() for row in cells[cell])
    return f" (not a fair judgement: others took up to {most:.0%} of the core)" if most > allowed else ""


def _paced(cell: str) -> str:
    return f"slow, {cell.partition('-')[2]} clients"


def _share(value: float, base: float) -> float:
    return value / max(base, 1.0)


def row_of(table: Table, name: str) -> Row:
    """The row of that name. Raises `KeyError`."""
    for row in table.rows:
        if row.name == name:
            return row
    raise KeyError(name)


def middle(table: Table, name: str) -> float:
    """The median of a row."""
    return statistics.median(row_of(table, name).values)


def by_round(table: Table, name: str, other: str) -> list[float]:
    """`name` divided by `other`, round by round: what disturbs the machine disturbs both of a pair."""
    pairs = zip(row_of(table, name).values, row_of(table, other).values, strict=True)
    return [value / max(base, 1e-9) for value, base in pairs]
