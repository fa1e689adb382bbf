"""`POST /api/v1/generate` relayed to the mock, against the floor and the bare relay, in interleaved rounds.

`python -m benchmarks.relayed --against FOLDER` starts the server of another checkout beside this one, so that a change
can be measured against the tree before it in the same rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import processes, rounds
from benchmarks.rounds import Rounds, Target
from benchmarks.table import Table

OLLAMA = (
    '{"model": "mock", "messages": [{"role": "user", "content": "{PROMPT}"}],'
    ' "options": {"num_predict": {N}}, "stream": {STREAM}}'
)
PATHS = ("openai", "ollama", "lollms")


def measure(options: Any) -> list[Table]:
    """Start everything, run the rounds, and put them into tables; one upstream protocol after the other."""
    tables: list[Table] = []
    for path in getattr(options, "paths", ",".join(PATHS)).split(","):
        with _targets(path, getattr(options, "against", None)) as targets:
            # Behind a server of ours stands another one, on the core of the mock: no place for the paced clients.
            found = rounds.run(targets, options, slow="" if path == "lollms" else None)
        tables += _tables(found, "" if path == "openai" else f"{path}: ")
    return tables


@contextlib.contextmanager
def _targets(path: str, against: Path | None) -> Iterator[list[Target]]:
    """Everything that is measured for one upstream protocol, running. The bare relay is the one of OpenAI's, always."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = stack.enter_context(processes.mock())
        floor = stack.enter_context(processes.floor(mock))
        targets = [Target("direct", mock), Target("floor", floor)]
        if path == "ollama":
            targets = [Target("direct", mock, "/api/chat", OLLAMA), Target("floor", floor, "/api/chat", OLLAMA)]
        targets.append(Target("bare", stack.enter_context(processes.bare_relay(mock))))
        if path == "ollama":
            app = rounds.bare_app("bare_ollama", "benchmarks.ollama_relay:asgi_app", mock, UP="aiohttp", TR="msgspec")
            targets.append(Target("bare, Ollama", stack.enter_context(app)))
        binding, settings = _upstream(path, mock, folder, stack)
        for name, root in {"ours": processes.ROOT, "against": against}.items():
            if root is not None:
                server = rounds.server_of(root, folder, settings, binding=binding, name=name)
                targets.append(rounds.generate(name, stack.enter_context(server)))
        yield targets


def _upstream(path: str, mock: int, folder: Path, stack: contextlib.ExitStack) -> tuple[str, str]:
    """The type of the instance that is measured, and its settings."""
    openai = f'base_url: "http://127.0.0.1:{mock}/v1"\napi_key: x\ndefault_model: mock\n'
    if path == "openai":
        return "openai_binding", openai
    if path == "ollama":
        return "ollama_binding", f'host: "http://127.0.0.1:{mock}"\ndefault_model: mock\n'
    behind = {"binding": "openai_binding", "name": "behind", "core": processes.LOAD_CORE}
    port = stack.enter_context(rounds.server_of(processes.ROOT, folder, openai, **behind))
    return "lollms_binding", f'base_url: "http://127.0.0.1:{port}"\nservice_key: {processes.KEY}\n'


def _tables(found: Rounds, prefix: str) -> list[Table]:
    tables = []
    for cell in rounds.cells_of(found):
        table = rounds.cost_table(found, cell, prefix)
        tables.append(table)
        if cell.startswith("slow"):
            tables += _judge_paced(table, found, cell, prefix)
        else:
            _judge(table, "stream" if cell.startswith("stream") else "json")
        if "against" in found:
            _compare(table)
    return tables


def _judge(table: Table, kind: str) -> None:
    ours, bare, floor = (rounds.middle(table, name) for name in ("ours", "bare", "floor"))
    budget, goal = (1.3, 8.0) if kind == "json" else (1.4, 4.0)
    table.budget("ours / bare relay", ours / bare, budget)
    table.goal("ours / floor", ours / floor, goal)


def _judge_paced(table: Table, found: Rounds, cell: str, prefix: str) -> list[Table]:
    """The verdicts of the paced rounds; gives the tables of what is no cost."""
    first = rounds.first_token_table(found, cell, prefix)
    busy = rounds.disturbance(found, cell)
    first.budget(f"ours, median of the rounds{busy}", rounds.middle(first, "ours"), 2.0)
    delay = rounds.delay_table(found, cell, prefix)
    delay.budget(f"ours / bare relay, median{busy}", statistics.median(rounds.by_round(delay, "ours", "bare")), 1.5)
    rows = found["ours"][cell]
    table.goal(f"ours / floor{busy}", rounds.middle(table, "ours") / rounds.middle(table, "floor"), 3.0)
    table.budget("memory, MB", max(row["rss"] for row in rows), 80.0)
    table.budget("answers that failed or lack a token", float(rounds.failures(rows)), 0.0)
    return [first, delay]


def _compare(table: Table) -> None:
    """Beside the other checkout: every round's ratio, and the median of them."""
    ratios = rounds.by_round(table, "ours", "against")
    row = rounds.row_of(table, "against")
    row.note += "; ours / against by round: " + ", ".join(f"{ratio:.3f}" for ratio in ratios)
    table.goal("ours / against, median of the rounds", statistics.median(ratios), 1.0)


def main() -> int:
    """Measure with the options of the command line and print the tables."""
    parser = argparse.ArgumentParser(description="Measure relayed requests, this checkout against another one.")
    parser.add_argument("--against", type=_checkout, help="the folder of another checkout, measured in the same rounds")
    parser.add_argument("--paths", default="openai", help=f"upstream protocols, of {','.join(PATHS)} (default: openai)")
    parser.add_argument("--json", default="16", help="clients of the rounds without streaming")
    parser.add_argument("--stream", default="16", help="clients of the rounds with streaming")
    parser.add_argument("--slow", default="", help="clients of the paced rounds (default: none)")
    parser.add_argument("--secs", type=float, default=3, help="seconds of a round; CPU time counts in 10 ms")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=3)
    options = parser.parse_args()
    if unknown := set(options.paths.split(",")) - set(PATHS):
        parser.error(f"there is no path {', '.join(sorted(unknown))}")
    processes.build()
    sys.stdout.write("\n" + "\n".join(table.markdown() for table in measure(options)))
    return 0


def _checkout(given: str) -> Path:
    root = Path(given).resolve()
    if not (root / "lollms_server").is_dir():
        raise argparse.ArgumentTypeError(f"{root} has no lollms_server")
    return root


if __name__ == "__main__":
    raise SystemExit(main())
