"""Our own protocol read by our clients: `LollmsClient` on a server of ours, against plain httpx2 on the same stream."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import client, processes
from benchmarks.table import Row, Table

BODY = """
import httpx2
KEY = sys.argv[2]
URL = f"http://127.0.0.1:{PORT}/api/v1/generate"
def body(text, stream):
    given = [{"type": "text", "role": "user_prompt", "data": text}]
    return {"input_data": given, "stream": stream}
"""

PLAIN = """
plain = httpx2.Client(headers={"X-API-Key": KEY})
def call():
    return plain.post(URL, json=body("Tell me a story.", False)).json()["output"][0]["data"]
def stream():
    n = 0
    with plain.stream("POST", URL, json=body(f"Tell me a story. N={N}", True)) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                if event["type"] == "chunk":
                    n += event["content"].count("@")  # one event may hold the text of several tokens
    return n
run(call, stream)
"""

OURS = """
from lollms_client import LollmsClient
from lollms_core.types import TextDelta
client = LollmsClient("lollms", f"http://127.0.0.1:{PORT}", service_key=sys.argv[2])
def call():
    return client.complete("Tell me a story.").text
def stream():
    n = 0
    with client.stream(f"Tell me a story. N={N}") as running:
        for event in running:
            if type(event) is TextDelta:
                n += event.text.count("@")
    return n
run(call, stream)
client.close()
"""

PLAIN_ASYNC = """
async def main():
    async with httpx2.AsyncClient(headers={"X-API-Key": KEY}) as plain:
        async def call():
            reply = await plain.post(URL, json=body("Tell me a story.", False))
            return reply.json()["output"][0]["data"]
        async def stream():
            n, asked = 0, body(f"Tell me a story. N={N}", True)
            async with plain.stream("POST", URL, json=asked) as reply:
                async for line in reply.aiter_lines():
                    if line.startswith("data: {"):
                        event = json.loads(line[6:])
                        if event["type"] == "chunk":
                            n += event["content"].count("@")
            return n
        await run(call, stream)
asyncio.run(main())
"""

OURS_ASYNC = """
from lollms_client import AsyncLollmsClient
from lollms_core.types import TextDelta
async def main():
    async with AsyncLollmsClient("lollms", f"http://127.0.0.1:{PORT}", service_key=sys.argv[2]) as client:
        async def call():
            return (await client.complete("Tell me a story.")).text
        async def stream():
            n = 0
            async with client.stream(f"Tell me a story. N={N}") as running:
                async for event in running:
                    if type(event) is TextDelta:
                        n += event.text.count("@")
            return n
        await run(call, stream)
asyncio.run(main())
"""

PROGRAMS = {
    "client": {"httpx2": client.COMMON + BODY + PLAIN, "ours": client.COMMON + OURS},
    "asynchronous client": {"httpx2": client.ASYNC + BODY + PLAIN_ASYNC, "ours": client.ASYNC + OURS_ASYNC},
}


def measure(options: Any) -> list[Table]:
    """All programs in turn, in every round; with `options.against`, our clients of another checkout too."""
    roots = {"httpx2": processes.ROOT, "ours": processes.ROOT}
    if against := getattr(options, "against", None):
        roots["against"] = against
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch, processes.mock() as mock:
        settings = f'base_url: "http://127.0.0.1:{mock}/v1"\napi_key: x\ndefault_model: mock\n'
        with processes.ours(Path(scratch), settings, core=processes.LOAD_CORE) as (port, _):
            for _ in range(options.rounds):
                for kind, programs in PROGRAMS.items():
                    for name, root in roots.items():
                        code = programs["httpx2" if name == "httpx2" else "ours"]
                        found.setdefault((kind, name), []).append(_run(code, port, root))
    return [_table(kind, what, roots, found) for kind in PROGRAMS for what in ("call", "token")]


def _table(kind: str, what: str, names: dict[str, Path], found: dict[tuple[str, str], list[dict[str, float]]]) -> Table:
    rows = [Row(name, [run[what] for run in found[kind, name]]) for name in names]
    unit = "call" if what == "call" else "streamed token"
    table = Table(f"{kind} of our server, `lollms` binding: CPU per {unit}, µs", rows)
    medians = {row.name: statistics.median(row.values) for row in rows}
    table.budget("ours / plain httpx2", medians["ours"] / medians["httpx2"], 1.2)
    if "against" in medians:
        table.goal("ours / against", medians["ours"] / medians["against"], 1.0)
    return table


def _run(code: str, port: int, root: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = ["taskset", "-c", processes.GATEWAY_CORE, sys.executable, "-c", code, str(port), processes.KEY]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=environment, cwd=processes.BUILD, timeout=120
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result
