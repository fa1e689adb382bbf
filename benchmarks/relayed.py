"""`POST /api/v1/generate` relayed to the mock, against the floor and the bare relay: `bench.py`, interleaved rounds."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.table import Row, Table

BODY = (
    '{"input_data": [{"type": "text", "role": "user_prompt", "data": "{PROMPT}"}],'
    ' "parameters": {"max_tokens": {N}}, "stream": {STREAM}}'
)
Rounds = dict[str, dict[str, list[dict[str, Any]]]]


def measure(options: Any) -> list[Table]:
    """Start everything, run the rounds, and put them into tables."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        body = folder / "ours.body"
        body.write_text(BODY)
        with processes.mock() as mock, processes.floor(mock) as floor, processes.bare_relay(mock) as bare:
            settings = f'base_url: "http://127.0.0.1:{mock}/v1"\napi_key: x\ndefault_model: mock\n'
            with processes.ours(folder, settings) as (port, _):
                chat = "/v1/chat/completions"
                targets = [
                    f"direct=http://127.0.0.1:{mock}{chat}",
                    f"floor=http://127.0.0.1:{floor}{chat}",
                    f"bare=http://127.0.0.1:{bare}{chat}",
                    f"ours=http://127.0.0.1:{port}/api/v1/generate,body={body},hdr=X-API-Key: {processes.KEY}",
                ]
                rounds = _run(targets, options, folder / "rounds.json")
    return [_table(rounds, cell) for cell in next(iter(rounds.values()))]


def _run(targets: list[str], options: Any, out: Path) -> Rounds:
    command = [sys.executable, str(processes.BUILD / "bench.py"), "--core", processes.LOAD_CORE, "--out", str(out)]
    for target in targets:
        command += ["-t", target]
    command += ["--json", options.json, "--stream", options.stream, "--slow", options.slow]
    command += ["--secs", str(options.secs), "--rounds", str(options.rounds), "--cap", "60"]
    subprocess.run(command, check=True)
    rounds: Rounds = json.loads(out.read_text(encoding="utf-8"))
    return rounds


def cost(kind: str, row: dict[str, Any]) -> float:
    """Microseconds of CPU of the measured process, per request or per streamed token."""
    units = row["done"] if kind == "json" else row["all_chunks"]
    return 1e6 * float(row["cpu_s"]) / max(float(units), 1.0)


def _table(rounds: Rounds, cell: str) -> Table:
    kind, _, clients = cell.partition("-")
    per = "request" if kind == "json" else "token"
    table = Table(f"{kind}, {clients} clients: CPU of the process per {per}, µs", [])
    for name, cells in rounds.items():
        costs = [cost(kind, row) for row in cells[cell]]
        table.rows.append(Row(name, costs, _notes(kind, cells[cell])))
    _judge(table, kind, rounds, cell)
    return table


def _notes(kind: str, rows: list[dict[str, Any]]) -> str:
    errors = sum(row.get("errs", 0) + row.get("short", 0) for row in rows)
    memory = max(row["rss"] for row in rows)
    notes = [f"{memory:.0f} MB", f"{errors} errors"]
    if kind != "json":
        first = [row["ttfc_p50_us"] / 1000 for row in rows], [row["ttfc_p99_us"] / 1000 for row in rows]
        notes.append(f"first token p50 {statistics.median(first[0]):.1f} ms, p99 {statistics.median(first[1]):.1f} ms")
        notes.append(f"delay p99 {statistics.median(row['gap_p99_us'] for row in rows) / 1000:.1f} ms")
    return ", ".join(notes)


def _judge(table: Table, kind: str, rounds: Rounds, cell: str) -> None:
    medians = {row.name: statistics.median(row.values) for row in table.rows}
    ours, bare, floor = medians["ours"], medians["bare"], medians["floor"]
    if kind == "json":
        table.budget("ours / bare relay", ours / bare, 1.3)
        table.goal("ours / floor", ours / floor, 8.0)
    elif kind == "stream":
        table.budget("ours / bare relay", ours / bare, 1.4)
        table.goal("ours / floor", ours / floor, 4.0)
    else:
        row, other = rounds["ours"][cell][0], rounds["bare"][cell][0]
        table.budget("first token p99 / p50", row["ttfc_p99_us"] / max(row["ttfc_p50_us"], 1), 2.0)
        table.budget("delay p99, ours / bare relay", row["gap_p99_us"] / max(other["gap_p99_us"], 1), 1.5)
        table.goal("ours / floor", ours / floor, 3.0)
        table.budget("memory, MB", row["rss"], 80.0)
        table.budget("answers that failed or lack a token", float(row["errs"] + row["short"]), 0.0)
