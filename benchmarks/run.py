"""Run the benchmarks: `python -m benchmarks.run [--only relayed,client,...] [--write]`.

Prints every round, the medians and the ratios beside their budgets. Nothing is written unless `--write` is given, which
replaces benchmarks/RESULTS.md and the plots. The exit code is 0 also when a budget is missed: a busy machine must not
fail a build.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Sequence

from benchmarks import client, codecs, engine, footprint, growth, peers, plots, processes, reading, relayed, sockets
from benchmarks.table import Table, Verdict

NOT_MEASURED = "Not measured here: discussions, anything on a graphics card, and any other machine.\n"

PARTS = {
    "footprint": footprint.measure,
    "client": client.measure,
    "codecs": codecs.measure,
    "relayed": relayed.measure,
    "reading": reading.measure,
    "engine": engine.measure,
    "sockets": sockets.measure,
    "growth": growth.measure,
    "peers": peers.measure,
}


def main() -> int:
    options = _options()
    for tool in ("gcc", "taskset"):
        if shutil.which(tool) is None:
            print(f"{tool} was not found; install it with your system's package manager.", file=sys.stderr)
            return 1
    processes.build()
    parts: dict[str, list[Table]] = {}
    failed: list[str] = []
    started = os.getloadavg()
    for name in options.only.split(","):
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr)
        try:
            parts[name] = PARTS[name](options)
        except (Exception, SystemExit) as error:  # the other parts have their figures all the same
            traceback.print_exc()
            failed.append(f"The part {name} was not measured: {type(error).__name__}: {error}\n")
    tables = [table for found in parts.values() for table in found]
    text = "\n".join(
        [_heading(options, started), _overview(tables), *(table.markdown() for table in tables), *failed, NOT_MEASURED]
    )
    print(text)
    if options.write:
        for name, found in parts.items():
            plots.sheet(plots.folder() / f"{name}.svg", name, found)
        target = processes.ROOT / "benchmarks" / "RESULTS.md"
        target.write_text(text, encoding="utf-8")
        print(f"written to {target}", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure lollms against bare programs in the same run.")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--json", default="1,16", help="clients of the rounds without streaming")
    parser.add_argument("--stream", default="1,16", help="clients of the rounds with streaming")
    parser.add_argument(
        "--slow", default="500", help="clients of the paced round, a token each 50 ms; '' leaves it out"
    )
    parser.add_argument("--slow-rounds", type=int, default=2, help="how often the paced round is run")
    parser.add_argument("--secs", type=float, default=1.5, help="seconds of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="", help="a line for the heading: what else ran on the machine")
    parser.add_argument("--write", action="store_true", help="replace benchmarks/RESULTS.md")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return options


def _heading(options: argparse.Namespace, started: tuple[float, float, float]) -> str:
    load = f"load average {started[0]:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        "# Results",
        "",
        f"{time.strftime('%Y-%m-%d')}, {machine}, {load}. {options.note}".rstrip(),
        "",
        "CPU time of the measured process (system and user), on one pinned core, rounds interleaved. `direct` is the",
        "mock upstream itself, `floor` the C relay, `bare` the bare Python relay (ASGI, aiohttp, msgspec).",
        "",
    ]
    return "\n".join(lines)


def _overview(tables: Sequence[Table]) -> str:
    """What was kept and what was missed, before all the rounds."""
    lines = ["## Budgets and goals", "", "| | value | limit | |", "| --- | --- | --- | --- |"]
    lines += [_line_of(table.title, verdict) for table in tables for verdict in table.verdicts]
    return "\n".join([*lines, "", "## All rounds", ""])


def _line_of(title: str, verdict: Verdict) -> str:
    word = "kept" if verdict.kept else "**missed**"
    return f"| {title}: {verdict.what} | {verdict.value:.3g} | {verdict.kind} <= {verdict.limit:g} | {word} |"


if __name__ == "__main__":
    raise SystemExit(main())
