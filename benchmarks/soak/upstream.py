"""The backends of the soak in a process of their own: `python -m benchmarks.soak.upstream`.

Prints one line of JSON with the two addresses, and ends when standard input does. The model that is asked for chooses
how the OpenAI-compatible backend behaves: the name of a mode of the chaos server, else a good answer, which says what
was asked.
"""

from __future__ import annotations

import json
import sys
import threading

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import MODES
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import answering

_FORGET = 10.0  # seconds


async def by_model(connection: Connection, seen: Seen) -> None:
    """Behave as the name of the model says."""
    name = str(seen.json().get("model", "")) if seen.body else ""
    bad = name in MODES or name == "redirect" or name.startswith("status-")
    await (connection._server._find(name) if bad else answering)(connection, seen)


def main() -> int:
    """Serve until nobody holds the other end of standard input."""
    ended = threading.Event()
    with ChaosServer() as chaos, OllamaServer() as ollama:
        openai = chaos.add("soak", by_model)
        threading.Thread(target=_forget, args=(ended, chaos, ollama), daemon=True).start()
        print(json.dumps({"openai": openai, "ollama": ollama.origin}), flush=True)
        sys.stdin.read()
        ended.set()
        chaos.failures.clear()  # modes that wrote to a caller who had left
    return 0


def _forget(ended: threading.Event, *servers: ChaosServer) -> None:
    """The servers keep all that they have seen, for tests; here that would be much."""
    while not ended.wait(_FORGET):
        for server in servers:
            server.requests.clear()
            server.connections[:] = [each for each in list(server.connections) if each.is_open()]


if __name__ == "__main__":
    raise SystemExit(main())
