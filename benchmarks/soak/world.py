"""What all callers share: the address, the keys, the library's clients, and what has happened so far."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from benchmarks.soak.wire import Answer, ask
from lollms_client import AsyncLollmsClient

__all__ = ["INSTANCES", "Action", "World", "Wrong", "prompt"]

INSTANCES = ("openai", "ollama", "own", "nano")
_MOST_WRONG = 50
_SHAKEN = 75.0


class Wrong(Exception):
    """The server did what it must not."""


def prompt(text: str, **more: Any) -> dict[str, Any]:
    """The body of a generate request."""
    return {"input_data": [{"type": "text", "role": "user_prompt", "data": text}], **more}


class World:
    """One soak. `wrong` are sentences, `tally` counts what callers did and how it ended."""

    def __init__(self, port: int, key: str, spare: str) -> None:
        self.port = port
        self.key = key
        self.spare = spare
        self.tally: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.clients: dict[str, AsyncLollmsClient] = {}
        self.killed = float("-inf")
        self._number = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.key}

    @property
    def engine_may_fail(self) -> bool:
        """Whether the engine was killed or exchanged so lately that it may not answer."""
        return time.monotonic() - self.killed < _SHAKEN

    def canary(self) -> str:
        """A text that nobody else asks with; what is answered must have it."""
        self._number += 1
        return f"canary {self._number} 🐦 sings"

    def note(self, sentence: str) -> None:
        """Something is wrong; the first of these are kept."""
        self.tally["wrong"] += 1
        if len(self.wrong) < _MOST_WRONG:
            self.wrong.append(sentence)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request with the key, on a connection of its own."""
        return await ask(self.port, method, path, body, {**self.headers, **headers})

    @contextlib.asynccontextmanager
    async def with_clients(self) -> AsyncIterator[None]:
        """The library's clients, one for each instance, for as long as the block."""
        async with contextlib.AsyncExitStack() as stack:
            for name in INSTANCES:
                client = AsyncLollmsClient(
                    "lollms",
                    f"http://127.0.0.1:{self.port}",
                    service_key=self.key,
                    llm_binding_config={"instance": name},
                    raise_errors=True,
                )
                self.clients[name] = await stack.enter_async_context(client)
            yield


Action: TypeAlias = Callable[[World, random.Random], Awaitable[str]]
"""What a caller does once; gives a word for how it ended, and raises `Wrong`."""
