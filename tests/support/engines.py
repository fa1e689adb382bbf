"""Helpers for tests of real engines in real processes."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from lollms_core.flows.answer import answer
from lollms_core.types import Batch, GenerationCall, Message, Params, Reply, ToolCall
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps, drive
from lollms_runtime.engines.llamacpp import LlamaCppEngine, LlamaCppSettings, Policy
from lollms_runtime.models import EMBEDDED, find_model

QUICK = Policy(first_pause=0.01, longest_pause=0.05, load=30.0, cancel=10.0)


@contextlib.contextmanager
def running(model: Path | None = None, **settings: Any) -> Iterator[LlamaCppEngine]:
    """An engine, the embedded model unless said otherwise, that is stopped in the end and has left no process."""
    settings.setdefault("policy", QUICK)
    engine = LlamaCppEngine(LlamaCppSettings(model=model or find_model(EMBEDDED), **settings))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    try:
        yield engine
    finally:
        engine.stop()
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not left, f"processes left behind: {left}"


def asking(text: str, **params: Any) -> GenerationCall:
    """A call with one message."""
    return GenerationCall((Message.user(text),), params=Params(**params), stream=True)


def endless(text: str = "Go on.") -> GenerationCall:
    """A call that a model of random weights answers until its context is full."""
    return asking(text, temperature=0.0)


class Ports:
    """The engine as the ports of both drivers."""

    def __init__(self, engine: LlamaCppEngine) -> None:
        self.engine = engine

    def open(self, call: GenerationCall, cancel: Cancel) -> contextlib.AbstractContextManager[Iterator[Batch]]:
        return self.engine.open(call, cancel)

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        raise AssertionError("no tools here")

    def count(self, text: str) -> int:
        return self.engine.count_tokens(text)


class AsyncPorts:
    def __init__(self, engine: LlamaCppEngine) -> None:
        self.engine = engine

    def open(self, call: GenerationCall) -> Any:
        return self.engine.aopen(call)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError("no tools here")

    async def count(self, text: str) -> int:
        return await self.engine.acount_tokens(text)


def ask(
    engine: LlamaCppEngine,
    call: GenerationCall,
    seen: Callable[[Batch], None] = lambda batch: None,
    cancel: Cancel | None = None,
) -> Reply:
    """The reply, through the sync driver; `seen` is called with each batch."""
    steps = drive(answer(call), Ports(engine), cancel or Cancel())
    try:
        while True:
            try:
                batch = next(steps)
            except StopIteration as end:
                reply: Reply = end.value
                return reply
            seen(batch)
    finally:
        steps.close()


async def aask(
    engine: LlamaCppEngine, call: GenerationCall, seen: Callable[[Batch], None] = lambda batch: None
) -> Reply:
    """The reply, through the async driver."""

    async def sink(batch: Batch) -> None:
        seen(batch)

    return await adrive(answer(call), AsyncPorts(engine), sink)


def until(condition: Callable[[], object], seconds: float = 10.0, what: str = "the condition") -> float:
    """Look until the condition holds; the seconds that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"{what} did not come true within {seconds} seconds"
        time.sleep(0.005)
    return time.monotonic() - start


def get(engine: LlamaCppEngine, path: str) -> Any:
    """What the engine's server says, with its key."""
    target = engine.ready().result(10)
    request = urllib.request.Request(target.base_url + path, headers={"authorization": f"Bearer {target.key}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def busy(engine: LlamaCppEngine) -> set[int]:
    """The slots that work."""
    return {slot["id"] for slot in get(engine, "/slots") if slot["is_processing"]}


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
