"""The ports of a scripted model, for tests of programs: no network, no model, the same events every time.

`ScriptedPorts` serves the sync driver, `AsyncScriptedPorts` the async one; both take the same script and keep a record
of what was asked. A *gate* holds a reply before one of its batches until the test opens it, so that a test can cancel,
look or interleave at an exact event without waiting for any length of time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from lollms_core.errors import InternalError, UnsupportedFeature
from lollms_core.testing.scripted import Scripted, ScriptedReply, pieces, play
from lollms_core.types import Batch, GenerationCall, ToolCall
from lollms_runtime.async_drive import Sink
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps

__all__ = ["AsyncScriptedPorts", "Script", "ScriptedPorts"]

Replies: TypeAlias = Sequence[Scripted] | Callable[[GenerationCall], ScriptedReply]
Tools: TypeAlias = Mapping[str, Callable[[dict[str, Any]], str]]


class Script:
    """The replies of a model in the order of its calls, and the record of what happened. Safe from any thread.

    `replies` is a list, used up call by call, or one function of the call that answers every call.

    Attributes: `calls` in the order they came; `running` streams that are open now; `left_early` the number of streams
    that their reader closed before the end.
    """

    def __init__(self, replies: Replies) -> None:
        self._lock = threading.Lock()
        self._replies = replies if callable(replies) else list(replies)
        self.calls: list[GenerationCall] = []
        self.running = 0
        self.left_early = 0

    def next(self, call: GenerationCall) -> Iterator[Batch]:
        """The batches that answer the next call. Raises `InternalError` when the script has no reply left."""
        with self._lock:
            index = len(self.calls)
            self.calls.append(call)
            if callable(self._replies):
                return play(self._replies, call)
            if index >= len(self._replies):
                raise InternalError(
                    f"The script has {len(self._replies)} replies and was asked for one more: "
                    f"{call.messages[-1].text if call.messages else ''!r}."
                )
            return play(self._replies[index], call)

    @contextlib.contextmanager
    def watched(self) -> Iterator[_Ending]:
        """Counts a stream while it is open."""
        ending = _Ending()
        with self._lock:
            self.running += 1
        try:
            yield ending
        finally:
            with self._lock:
                self.running -= 1
                self.left_early += not ending.reached


class _Ending:
    """Whether a stream came to its own end, which an error of the script is as well."""

    __slots__ = ("reached",)

    def __init__(self) -> None:
        self.reached = False


class ScriptedPorts:
    """The ports of the sync driver over a script.

    `delay` is the pause in seconds before each batch; `gates[i]` must be set before batch number i is sent. Both end
    at once when the call is cancelled. `tools` maps a tool's name to a function of its arguments.
    """

    def __init__(
        self,
        replies: Script | Replies,
        *,
        delay: float = 0.0,
        gates: Mapping[int, threading.Event] | None = None,
        tools: Tools | None = None,
    ) -> None:
        self.script = replies if isinstance(replies, Script) else Script(replies)
        self._delay = delay
        self._gates = dict(gates or {})
        self._tools = dict(tools or {})

    @property
    def calls(self) -> list[GenerationCall]:
        """What was asked so far."""
        return self.script.calls

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        """Play the next reply. Raises `Cancelled` at the next batch when `cancel` is set."""
        batches = self.script.next(call)
        with self.script.watched() as ending:
            yield self._paced(batches, cancel, ending)

    def _paced(self, batches: Iterator[Batch], cancel: Cancel, ending: _Ending) -> Iterator[Batch]:
        index = 0
        while True:
            if gate := self._gates.get(index):
                _pass(gate, cancel)
            if self._delay:
                _pause(self._delay, cancel)
            cancel.check()
            try:
                batch = next(batches)
            except StopIteration:
                ending.reached = True
                return
            except Exception:
                ending.reached = True
                raise
            index += 1
            yield batch

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        """Run one of `tools`; a generator without batches that returns the result."""
        cancel.check()
        yield from ()
        return _run(self._tools, call)

    def count(self, text: str) -> int:
        """Words stand for tokens."""
        return len(pieces(text))


def _pass(gate: threading.Event, cancel: Cancel) -> None:
    """Wait until the gate is set; raises `Cancelled` within a few milliseconds when the work is cancelled.

    It looks again and again, because waking the waiter through the gate would open it for every other reader.
    """
    while not gate.wait(0.005):
        cancel.check()


def _pause(seconds: float, cancel: Cancel) -> None:
    woken = threading.Event()
    with cancel.undoing(woken.set):
        woken.wait(seconds)


class AsyncScriptedPorts:
    """As `ScriptedPorts`, for the async driver; `gates` are `asyncio.Event`s, and cancelling the task ends a wait."""

    def __init__(
        self,
        replies: Script | Replies,
        *,
        delay: float = 0.0,
        gates: Mapping[int, asyncio.Event] | None = None,
        tools: Tools | None = None,
    ) -> None:
        self.script = replies if isinstance(replies, Script) else Script(replies)
        self._delay = delay
        self._gates = dict(gates or {})
        self._tools = dict(tools or {})

    @property
    def calls(self) -> list[GenerationCall]:
        """What was asked so far."""
        return self.script.calls

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """Play the next reply."""
        batches = self.script.next(call)
        with self.script.watched() as ending:
            yield self._paced(batches, ending)

    async def _paced(self, batches: Iterator[Batch], ending: _Ending) -> AsyncIterator[Batch]:
        index = 0
        while True:
            if gate := self._gates.get(index):
                await gate.wait()
            await asyncio.sleep(self._delay)
            try:
                batch = next(batches)
            except StopIteration:
                ending.reached = True
                return
            except Exception:
                ending.reached = True
                raise
            index += 1
            yield batch

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        """Run one of `tools`."""
        return _run(self._tools, call)

    async def count(self, text: str) -> int:
        """Words stand for tokens."""
        return len(pieces(text))


def _run(tools: Tools, call: ToolCall) -> str:
    if call.name not in tools:
        raise UnsupportedFeature(f"The script has no tool {call.name!r}.", param=call.name)
    return tools[call.name](call.arguments)
