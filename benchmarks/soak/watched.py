"""`lollms serve`, and a thread beside it that answers what only the inside of the process knows.

`python -m benchmarks.soak.watched FD ARGUMENTS...`: a socket on which questions come, a line each, and the arguments
of `lollms`. `tasks` is the number of asyncio's tasks, `types` counts objects by type, `trace` starts to note where
memory is taken, and `places` says where the most of it is since then. Answers are lines of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import threading
import tracemalloc
from collections import Counter
from typing import Any

_MOST = 60


def main() -> int:
    """Run the command line with the rest of the arguments; its exit code."""
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    loops: list[asyncio.AbstractEventLoop] = []
    set_event_loop = asyncio.set_event_loop

    def remember(loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is not None:
            loops.append(loop)
        set_event_loop(loop)

    asyncio.set_event_loop = remember
    threading.Thread(target=_answer, args=(line, loops), name="soak", daemon=True).start()
    from lollms_cli.main import main as lollms

    return lollms(sys.argv[2:])


def _answer(line: socket.socket, loops: list[asyncio.AbstractEventLoop]) -> None:
    with line, line.makefile("rw", encoding="utf-8") as talk:
        for question in talk:
            talk.write(json.dumps(_said(question.strip(), loops)) + "\n")
            talk.flush()


def _said(question: str, loops: list[asyncio.AbstractEventLoop]) -> Any:
    if question == "tasks":
        return sum(len(asyncio.all_tasks(loop)) for loop in loops)
    if question == "types":
        return dict(Counter(type(each).__qualname__ for each in gc.get_objects()).most_common(_MOST))
    if question == "trace":
        tracemalloc.start(12)
        return None
    if question == "places":
        found = tracemalloc.take_snapshot().statistics("traceback")[:_MOST]
        return [[each.size, each.count, each.traceback.format()[-8:]] for each in found]
    return f"unknown: {question}"


if __name__ == "__main__":
    raise SystemExit(main())
