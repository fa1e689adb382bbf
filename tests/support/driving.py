"""Both drivers over the same script in memory, stopped at any event, with everything recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from typing_extensions import override

from lollms_core.errors import Cancelled, LollmsError
from lollms_core.flows.base import Flow
from lollms_core.types import Batch, GenerationCall, Message, Reply, TextDelta, ToolCall
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps, drive
from lollms_runtime.observe import Observer

__all__ = ["DRIVERS", "WAYS", "Outcome", "Script", "ask_for", "run_async", "run_sync", "words"]

Answer: TypeAlias = Sequence[Batch | Exception]


def ask_for(text: str) -> GenerationCall:
    return GenerationCall((Message.user(text),))


def words(text: str) -> list[Batch]:
    """An answer, a word per batch."""
    return [(TextDelta(word + " "),) for word in text.split()]


class Script:
    """What the model answers to each prompt, and what each tool does: batches to show, then a result or an error."""

    def __init__(
        self, answers: Mapping[str, Answer], tools: Mapping[str, Sequence[Batch | str | Exception]] | None = None
    ) -> None:
        self.answers = answers
        self.tools = tools or {}


class Outcome(NamedTuple):
    """Everything that can be seen of a run."""

    shown: list[Batch]
    value: Any
    error: type[BaseException] | None
    partial: Reply | None
    log: list[tuple[str, object]]


class _Recorder(Observer):
    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []

    def note(self, what: str, value: object = "") -> None:
        self.log.append((what, value))

    @override
    def started(self, call: GenerationCall) -> None:
        self.note("started", call.messages[-1].text)

    @override
    def delivered(self, call: GenerationCall, batch: Batch) -> None:
        self.note("delivered", tuple(batch))

    @override
    def finished(self, call: GenerationCall, reply: Reply) -> None:
        self.note("finished", reply.text)

    @override
    def failed(self, call: GenerationCall, error: BaseException) -> None:
        # Abandoning is a closed generator to one driver and a cancelled task to the other.
        abandoned = isinstance(error, (GeneratorExit, asyncio.CancelledError))
        self.note("failed", "abandoned" if abandoned else type(error).__name__)


class _Ports:
    def __init__(self, script: Script, record: _Recorder) -> None:
        self._script = script
        self._record = record

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        self._record.note("opened")
        try:
            yield self._play(self._script.answers[call.messages[-1].text], cancel)
        finally:
            self._record.note("closed")

    def _play(self, answer: Answer, cancel: Cancel) -> Iterator[Batch]:
        for item in answer:
            cancel.check()
            if isinstance(item, Exception):
                raise item
            yield item
        cancel.check()

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        self._record.note("tool", call.name)
        for item in self._script.tools[call.name]:
            cancel.check()
            if isinstance(item, Exception):
                raise item
            if isinstance(item, str):
                return item
            yield item
        raise AssertionError("a tool ends with a result")

    def count(self, text: str) -> int:
        if not text:
            raise LollmsError("nothing to count")
        return len(text.split())


class _AsyncPorts:
    def __init__(self, script: Script, record: _Recorder) -> None:
        self._script = script
        self._record = record

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        self._record.note("opened")
        try:
            yield self._play(self._script.answers[call.messages[-1].text])
        finally:
            self._record.note("closed")

    async def _play(self, answer: Answer) -> AsyncIterator[Batch]:
        for item in answer:
            await asyncio.sleep(0)
            if isinstance(item, Exception):
                raise item
            yield item
        await asyncio.sleep(0)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        self._record.note("tool", call.name)
        for item in self._script.tools[call.name]:
            await asyncio.sleep(0)
            if isinstance(item, Exception):
                raise item
            if isinstance(item, str):
                return item
            await sink(item)
        raise AssertionError("a tool ends with a result")

    async def count(self, text: str) -> int:
        if not text:
            raise LollmsError("nothing to count")
        return len(text.split())


WAYS = ["throw", "token", "close"]
"""How a run is stopped: a `Cancelled` from whoever shows the events, the token (sync) or nothing else to compare with,
abandoning the generator or cancelling the task."""


def run_sync(make: Callable[[], Flow[Any]], script: Script, stop: int | None = None, way: str = "throw") -> Outcome:
    """Run with the sync driver; after `stop` batches it is stopped in the given way."""
    record, cancel = _Recorder(), Cancel()
    shown: list[Batch] = []
    steps = drive(make(), _Ports(script, record), cancel, record)
    try:
        if stop == 0 and way == "token":
            cancel.set()
        step = next(steps)
        while True:
            shown.append(step)
            if len(shown) != stop:
                step = next(steps)
            elif way == "throw":
                step = steps.throw(Cancelled("Stopped by the test."))
            elif way == "token":
                cancel.set()
                step = next(steps)
            else:
                steps.close()
                return Outcome(shown, None, None, None, record.log)
    except StopIteration as end:
        return Outcome(shown, end.value, None, None, record.log)
    except Exception as error:
        return Outcome(shown, None, type(error), getattr(error, "partial", None), record.log)


def run_async(make: Callable[[], Flow[Any]], script: Script, stop: int | None = None, way: str = "throw") -> Outcome:
    """Run with the async driver; a token is to it what a sink that raises is."""
    record = _Recorder()
    shown: list[Batch] = []

    async def work() -> Outcome:
        async def sink(batch: Batch) -> None:
            await asyncio.sleep(0)
            shown.append(batch)
            if len(shown) == stop:
                if way != "close":
                    raise Cancelled("Stopped by the test.")
                task.cancel()
                await asyncio.sleep(0)

        task = asyncio.ensure_future(adrive(make(), _AsyncPorts(script, record), sink, record))
        try:
            return Outcome(shown, await task, None, None, record.log)
        except asyncio.CancelledError:
            return Outcome(shown, None, None, None, record.log)
        except Exception as error:
            return Outcome(shown, None, type(error), getattr(error, "partial", None), record.log)

    return asyncio.run(work())


DRIVERS = {"sync": run_sync, "async": run_async}
