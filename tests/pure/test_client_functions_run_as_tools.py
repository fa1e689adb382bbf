"""The functions that a client gives to a flow: what they return and raise, and whose stop ends what."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from lollms_client.ports import AsyncBindingPorts, BindingPorts, Tools
from lollms_client.testing import ScriptedBinding
from lollms_core.errors import (
    CallbackFailed,
    Cancelled,
    InternalError,
    InvalidRequest,
    LollmsError,
    StorageError,
    UnsupportedFeature,
)
from lollms_core.flows.base import Flow, tool
from lollms_core.types import Batch, ToolCall
from lollms_runtime.async_drive import adrive, stop
from lollms_runtime.cancel import Cancel, current_cancel
from lollms_runtime.drive import drive

CALL = ToolCall("1", "find", {"word": "nuts"})


def flow() -> Flow[str]:
    return (yield from tool(CALL))


def on_threads(function: Any, cancel: Cancel | None = None) -> str:
    steps = drive(flow(), BindingPorts(ScriptedBinding([]), tools={"find": function}), cancel or Cancel())
    with pytest.raises(StopIteration) as end:
        next(steps)
    return str(end.value.value)


async def _nothing(batch: Batch) -> None:
    """Nobody is shown anything."""


def on_a_loop(function: Any) -> str:
    return asyncio.run(adrive(flow(), AsyncBindingPorts(ScriptedBinding([]), tools={"find": function}), _nothing))


BOTH = pytest.mark.parametrize("run", [on_threads, on_a_loop])
Run = Callable[[Any], str]


def raising(error: BaseException) -> Callable[..., str]:
    def function(word: str) -> str:
        raise error

    return function


@BOTH
def test_a_function_gets_the_arguments_of_the_call(run: Run) -> None:
    assert run(lambda word: f"{word}!") == "nuts!"


@BOTH
def test_what_is_not_there_cannot_be_asked(run: Run) -> None:
    no_tools: Tools = {}
    steps = drive(flow(), BindingPorts(ScriptedBinding([]), tools=no_tools), Cancel())
    with pytest.raises(UnsupportedFeature, match="find"):
        next(steps)
    with pytest.raises(UnsupportedFeature):
        asyncio.run(adrive(flow(), AsyncBindingPorts(ScriptedBinding([])), _nothing))


@BOTH
@pytest.mark.parametrize("error", [ValueError("x"), StopIteration("x"), Cancelled("x"), KeyError("x")])
def test_what_a_function_raises_is_the_callers_failure(run: Run, error: Exception) -> None:
    with pytest.raises(CallbackFailed) as failed:
        run(raising(error))
    cause = failed.value.__cause__
    assert cause is not None
    assert error in (cause, cause.__cause__)  # no future can hold a StopIteration
    assert failed.value.param == "find"
    assert type(error).__name__ in str(failed.value)


@BOTH
@pytest.mark.parametrize("error", [StorageError("no such file"), InvalidRequest("x"), CallbackFailed("x")])
def test_errors_of_ours_pass_as_they_are(run: Run, error: LollmsError) -> None:
    with pytest.raises(type(error)) as failed:
        run(raising(error))
    assert failed.value is error
    assert failed.value.__cause__ is None


@BOTH
@pytest.mark.parametrize("result", [None, 7, b"text", ["text"]])
def test_a_result_that_is_no_text_is_a_defect(run: Run, result: Any) -> None:
    with pytest.raises(InternalError, match=type(result).__name__):
        run(lambda word: result)


async def later(word: str) -> str:
    await asyncio.sleep(0)
    return f"{word}!"


async def fails_later(word: str) -> str:
    raise ValueError(word)


def test_coroutines_are_awaited_where_somebody_can() -> None:
    for function in (later, lambda word: later(word)):
        assert on_a_loop(function) == "nuts!"
        with pytest.raises(InvalidRequest, match="AsyncLollmsClient"):
            on_threads(function)
    for function in (fails_later, lambda word: fails_later(word)):
        with pytest.raises(CallbackFailed, match="ValueError: nuts"):
            on_a_loop(function)


def test_a_coroutine_function_runs_on_the_loop_and_any_other_on_a_thread() -> None:
    places: list[threading.Thread] = []

    async def on_the_loop(word: str) -> str:
        places.append(threading.current_thread())
        return word

    def elsewhere(word: str) -> str:
        places.append(threading.current_thread())
        return word

    on_a_loop(on_the_loop)
    on_a_loop(elsewhere)
    on_threads(elsewhere)
    assert [place is threading.main_thread() for place in places] == [True, False, True]


def test_a_stop_while_a_function_runs_is_a_stop_whatever_it_raises() -> None:
    cancel = Cancel()

    def function(word: str) -> str:
        assert current_cancel() is cancel  # what it asks can be stopped as well
        cancel.set()
        raise ValueError("It was cut off.")

    steps = drive(flow(), BindingPorts(ScriptedBinding([]), tools={"find": function}), cancel)
    with pytest.raises(Cancelled):
        next(steps)


def test_a_stop_does_not_wait_for_a_function_on_a_thread() -> None:
    running, go_on = threading.Event(), threading.Event()

    def function(word: str) -> str:
        running.set()
        assert go_on.wait(10)
        return word

    async def work() -> None:
        ports = AsyncBindingPorts(ScriptedBinding([]), tools={"find": function})
        task = asyncio.ensure_future(adrive(flow(), ports, _nothing))
        await asyncio.to_thread(running.wait, 10)
        stop(task)
        with pytest.raises(Cancelled):
            await task
        assert not go_on.is_set()
        go_on.set()

    asyncio.run(work())


def test_a_stopped_flow_asks_no_function() -> None:
    cancel = Cancel()
    cancel.set()
    steps = drive(flow(), BindingPorts(ScriptedBinding([]), tools={"find": raising(AssertionError())}), cancel)
    with pytest.raises(Cancelled):
        next(steps)
