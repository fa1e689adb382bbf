"""A structured answer that is stopped at any event ends with `Cancelled`, what there is, and what it has cost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lollms_core.errors import Cancelled, InvalidRequest
from lollms_core.flows.base import Flow
from lollms_core.flows.shapes import shape_of
from lollms_core.flows.structured import Structured, structured
from lollms_core.flows.views import JsonView
from lollms_core.types import Batch, GenerationCall, Message, Reply, Usage
from lollms_runtime.async_drive import adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import drive
from lollms_runtime.scripted import AsyncScriptedPorts, ScriptedPorts

SHAPE = shape_of({"name": "string", "tags": ["list", "of", "strings"]})
WRONG = Reply(text='{"name": "Ada Lovelace", "labels": ["a b c", "d"]}', usage=Usage(5, 3, 8), model="m")
RIGHT = Reply(text='{"name": "Ada Lovelace", "tags": ["a b c", "d"]}', usage=Usage(7, 3, 10), model="m")


def flow() -> Flow[Structured]:
    return structured(GenerationCall((Message.user("Who?"),), stream=True), SHAPE, show=JsonView)


def run_sync(stop: int | None) -> tuple[list[Batch], Any]:
    """What is shown, and the value or error; stopped after so many batches."""
    steps, shown = drive(flow(), ScriptedPorts([WRONG, RIGHT]), Cancel()), list[Batch]()
    try:
        shown.append(next(steps))
        while len(shown) != stop:
            shown.append(next(steps))
        while True:
            steps.throw(Cancelled("Stopped."))
    except StopIteration as end:
        return shown, end.value
    except Cancelled as error:
        return shown, error


def run_async(stop: int | None) -> tuple[list[Batch], Any]:
    """The same with coroutines."""
    shown = list[Batch]()

    async def sink(batch: Batch) -> None:
        shown.append(batch)
        if len(shown) == stop:
            raise Cancelled("Stopped.")

    async def work() -> Any:
        return await adrive(flow(), AsyncScriptedPorts([WRONG, RIGHT]), sink)

    try:
        return shown, asyncio.run(work())
    except Cancelled as error:
        return shown, error


def test_both_drivers_show_the_same_and_come_to_the_same() -> None:
    shown, value = run_sync(None)
    again, other = run_async(None)
    assert [list(batch) for batch in shown] == [list(batch) for batch in again]
    assert value == other
    assert value.value == json.loads(RIGHT.text)
    assert value.reply.usage == Usage(12, 6, 18)


@pytest.mark.parametrize("run", [run_sync, run_async])
def test_a_stop_at_any_event_gives_what_there_is(run: Any) -> None:
    whole, _ = run(None)
    texts: list[str] = []
    for stop in range(1, len(whole) + 1):
        shown, error = run(stop)
        assert len(shown) == stop
        assert isinstance(error, Cancelled)
        assert error.partial is not None
        assert error.partial.finish_reason == "cancelled"
        texts.append(error.partial.text)
    assert any(text and WRONG.text.startswith(text) and text != WRONG.text for text in texts)
    assert WRONG.text in texts
    assert all(text and (WRONG.text.startswith(text) or RIGHT.text.startswith(text)) for text in texts)


def test_a_mistake_in_the_call_is_told_at_once() -> None:
    work = flow()
    work.send(None)
    with pytest.raises(InvalidRequest, match="temperature"):
        work.throw(InvalidRequest("temperature is too high", param="temperature"))
