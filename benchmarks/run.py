"""Run the benchmarks: `python -m benchmarks.run [--only relayed,client,footprint] [--write]`.

Prints every round, the medians and the ratios beside their budgets. Nothing is written unless `--write` is given, which
replaces benchmarks/RESULTS.md. The exit code is 0 also when a budget is missed: a busy machine must not fail a build.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time

from benchmarks import client, footprint, processes, relayed
from benchmarks.table import Table

NOT_MEASURED = """\
Not measured here: the share of llama.cpp's own wall-clock speed on a model of 5 ms a token or more, the Ollama path,
discussions, and anything on a graphics card.
"""

PARTS = {"footprint": footprint.measure, "client": client.measure, "relayed": relayed.measure}


def main() -> int:
    options = _options()
    for tool in ("gcc", "taskset"):
        if shutil.which(tool) is None:
            print(f"{tool} was not found; install it with your system's package manager.", file=sys.stderr)
            return 1
    processes.build()
    tables: list[Table] = []
    started = os.getloadavg()
    for name in options.only.split(","):
        tables += PARTS[name](options)
    text = "\n".join([_heading(options, started), *(table.markdown() for table in tables), NOT_MEASURED])
    print(text)
    if options.write:
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


if __name__ == "__main__":
    raise SystemExit(main())
