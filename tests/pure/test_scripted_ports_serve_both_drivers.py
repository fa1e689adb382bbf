"""The scripted ports give both drivers the same events, hold at gates, and count what is open."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lollms_core.errors import Cancelled, InternalError, UnsupportedFeature
from lollms_core.flows.answer import answer
from lollms_core.types import Batch, GenerationCall, Message, Reply, ToolCall
from lollms_runtime.async_drive import adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import drive
from lollms_runtime.scripted import AsyncScriptedPorts, Script, ScriptedPorts


def call(text: str = "Hello") -> GenerationCall:
    return GenerationCall((Message.user(text),))


REPLIES = ["one two three", Reply("four", thoughts="Hm.", tool_calls=(ToolCall("1", "f", {"x": 2}),))]


def test_both_drivers_get_the_same() -> None:
    ports, aports = ScriptedPorts(REPLIES), AsyncScriptedPorts(REPLIES)

    def pulled() -> tuple[list[Batch], Reply]:
        steps, seen = drive(answer(call()), ports, Cancel()), []
        while True:
            try:
                seen.append(next(steps))
            except StopIteration as end:
                return seen, end.value

    async def pushed() -> tuple[list[Batch], Reply]:
        seen: list[Batch] = []

        async def sink(batch: Batch) -> None:
            seen.append(batch)

        return seen, await adrive(answer(call()), aports, sink)

    for _ in REPLIES:
        assert pulled() == asyncio.run(pushed())
    assert ports.calls == aports.calls == [call(), call()]
    assert (ports.script.running, ports.script.left_early) == (0, 0)


def test_an_empty_script_says_so() -> None:
    ports = ScriptedPorts([])
    with pytest.raises(InternalError, match="0 replies and was asked for one more: 'Hello'"):
        list(drive(answer(call()), ports, Cancel()))


def test_a_function_answers_every_call() -> None:
    ports = ScriptedPorts(lambda asked: asked.messages[-1].text * 2)
    for text in ("a", "b", "c"):
        with ports.open(call(text), Cancel()) as batches:
            assert next(batches)[0].text == text * 2  # type: ignore[union-attr]
    assert ports.script.left_early == 3


def test_a_gate_holds_until_it_is_opened() -> None:
    gate = threading.Event()
    ports = ScriptedPorts(["one two"], gates={1: gate})
    with ports.open(call(), Cancel()) as batches:
        next(batches)
        assert ports.script.running == 1
        threading.Timer(0.02, gate.set).start()
        assert next(batches)[0].text == " two"  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["gate", "delay"])
def test_cancel_ends_a_wait(how: str) -> None:
    cancel = Cancel()
    gates = {0: threading.Event()} if how == "gate" else {}
    ports = ScriptedPorts(["one"], gates=gates, delay=0 if gates else 30)
    with ports.open(call(), cancel) as batches:
        threading.Timer(0.02, cancel.set).start()
        with pytest.raises(Cancelled):
            next(batches)
    assert not any(gate.is_set() for gate in gates.values())
    assert ports.script.running == 0


def test_cancelling_a_task_ends_a_wait() -> None:
    script = Script(["one"])

    async def main() -> None:
        ports = AsyncScriptedPorts(script, gates={0: asyncio.Event()})

        async def sink(batch: Batch) -> None: ...

        task = asyncio.ensure_future(adrive(answer(call()), ports, sink))
        while not script.running:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (script.running, script.left_early) == (0, 1)


def test_tools_run_and_unknown_ones_do_not() -> None:
    tools = {"add": lambda arguments: str(arguments["a"] + arguments["b"])}
    ports, aports = ScriptedPorts([], tools=tools), AsyncScriptedPorts([], tools=tools)

    async def sink(batch: Batch) -> None: ...

    wanted = ToolCall("1", "add", {"a": 1, "b": 2})
    steps = ports.tool(wanted, Cancel())
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == asyncio.run(aports.tool(wanted, sink)) == "3"
    with pytest.raises(UnsupportedFeature, match="'sub'"):
        list(ports.tool(ToolCall("1", "sub", {}), Cancel()))
    assert ports.count("two words") == asyncio.run(aports.count("two words")) == 2
