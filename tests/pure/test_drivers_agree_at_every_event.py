"""Whatever a flow does and wherever it is stopped, both drivers show the same events and come to the same end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lollms_core.errors import Cancelled, IdleTimeout, LollmsError, TruncatedStream
from lollms_core.flows.answer import answer
from lollms_core.flows.base import Flow, ask, count, emit, together, tool
from lollms_core.types import Batch, Done, Notice, Reply, TextDelta, ThoughtDelta, ToolCall, ToolCallDelta, Usage
from tests.support.driving import Outcome, Script, ask_for, run_async, run_sync, words

LOOK_UP = ToolCallDelta(0, "c1", "look_up", '{"q": "x"}')

SCRIPT = Script(
    {
        "hello": [*words("well hello there"), (Done("stop", Usage(1, 2, 3), "nano"),)],
        "think": [(ThoughtDelta("hm "),), (ThoughtDelta("yes "), TextDelta("so ")), (TextDelta("it is"), Done("stop"))],
        "empty": [],
        "call": [(TextDelta("let me see "),), (LOOK_UP, Done("tool_calls"))],
        "found": words("it is forty-two"),
        "breaks": [*words("as far as"), TruncatedStream("the line broke")],
        "fails": [IdleTimeout("nothing came")],
        "defect": [*words("one"), ZeroDivisionError("a defect")],
    },
    {
        "look_up": [(Notice("info", "looking"),), (Notice("info", "found"),), "forty-two"],
        "broken": [(Notice("info", "trying"),), LollmsError("no such thing")],
        "defect": [(Notice("info", "trying"),), ZeroDivisionError("a defect")],
    },
)


def plain() -> Flow[Reply]:
    return answer(ask_for("hello"))


def two_questions() -> Flow[str]:
    first = yield from ask(ask_for("hello"))
    yield from emit(Notice("info", "and now"), Notice("info", "the second"))
    second = yield from ask(ask_for("think"))
    third = yield from ask(ask_for("empty"))
    return first.text + second.text + second.thoughts + third.text


def with_tools() -> Flow[tuple[str, int]]:
    reply = yield from ask(ask_for("call"))
    outputs = []
    for each in reply.tool_calls:
        outputs.append((yield from tool(each)))
    size = yield from count(" ".join(outputs) or "nothing")
    final = yield from ask(ask_for("found"))
    return final.text, size


def nested() -> Flow[list[Any]]:
    def inner(depth: int) -> Flow[str]:
        if depth:
            return (yield from inner(depth - 1))
        yield from emit(Notice("info", "deep"))
        return (yield from ask(ask_for("hello"))).text

    yield from emit(Notice("info", "before"))
    one = yield from inner(5)
    two = yield from with_tools()
    return [one, two]


def handles_errors() -> Flow[list[str]]:
    """Makes something of every error, also of a cancellation."""
    results = []
    for prompt in ("breaks", "fails", "hello"):
        try:
            results.append((yield from ask(ask_for(prompt))).text)
        except Cancelled as error:
            yield from emit(Notice("info", "stopped"))
            return [*results, "stopped", error.partial.text if error.partial else "nothing"]
        except LollmsError as error:
            yield from emit(Notice("warning", error.code))
            results.append(error.partial.text if error.partial else "nothing")
    try:
        results.append((yield from tool(ToolCall("1", "broken", {}))))
    except LollmsError as error:
        results.append(error.message)
    try:
        yield from count("")
    except LollmsError as error:
        results.append(error.message)
    return results


def asks_on_after_cancellation() -> Flow[str]:
    """Breaks the rule: a flow that was stopped must not ask again."""
    try:
        yield from ask(ask_for("hello"))
    except Cancelled:
        yield from emit(Notice("info", "one more"))
        yield from ask(ask_for("hello"))
    return "done"


def error_leaves() -> Flow[Reply]:
    yield from emit(Notice("info", "here it comes"))
    return (yield from ask(ask_for("breaks")))


def defect_in_the_model() -> Flow[Reply]:
    return (yield from ask(ask_for("defect")))


def defect_in_a_tool() -> Flow[str]:
    try:
        return (yield from tool(ToolCall("1", "defect", {})))
    except LollmsError:
        return "hidden"


def defect_in_the_flow() -> Flow[str]:
    yield from ask(ask_for("hello"))
    raise ZeroDivisionError


def several_one_by_one() -> Flow[list[object]]:
    yield from emit(Notice("info", "begin"))
    flows: list[Flow[Any]] = [answer(ask_for("hello")), error_leaves(), with_tools(), answer(ask_for("fails"))]
    results = yield from together(flows, limit=1)
    yield from emit(Notice("info", "end"))
    return [result.text if isinstance(result, Reply) else str(result) for result in results]


FLOWS: list[Callable[[], Flow[Any]]] = [
    plain,
    two_questions,
    with_tools,
    nested,
    handles_errors,
    asks_on_after_cancellation,
    error_leaves,
    defect_in_the_model,
    defect_in_a_tool,
    defect_in_the_flow,
    several_one_by_one,
]


def total(outcome: Outcome) -> int:
    return len(outcome.shown)


@pytest.mark.parametrize("make", FLOWS)
def test_a_full_run(make: Callable[[], Flow[Any]]) -> None:
    outcome = run_sync(make, SCRIPT)
    assert outcome == run_async(make, SCRIPT)
    assert outcome.shown
    assert _balanced(outcome)


@pytest.mark.parametrize("make", FLOWS)
def test_a_stop_at_every_event(make: Callable[[], Flow[Any]]) -> None:
    full = run_sync(make, SCRIPT)
    for stop in range(1, total(full) + 1):
        outcome = run_sync(make, SCRIPT, stop, "throw")
        assert outcome == run_async(make, SCRIPT, stop, "throw"), stop
        assert outcome.shown[:stop] == full.shown[:stop]
        assert _balanced(outcome)


@pytest.mark.parametrize("make", FLOWS)
def test_the_token_at_every_event_is_a_stop_at_that_event(make: Callable[[], Flow[Any]]) -> None:
    full = run_sync(make, SCRIPT)
    for stop in range(total(full) + 1):
        outcome = run_sync(make, SCRIPT, stop, "token")
        assert outcome.shown[:stop] == full.shown[:stop]
        assert _balanced(outcome)
        # The token is looked at when the work goes on: nothing more of the model is shown after it was set.
        shown_after: list[Batch] = outcome.shown[stop:]
        assert all(isinstance(event, Notice) for batch in shown_after for event in batch)


@pytest.mark.parametrize("make", FLOWS)
def test_abandoning_at_every_event(make: Callable[[], Flow[Any]]) -> None:
    full = run_sync(make, SCRIPT)
    for stop in range(1, total(full) + 1):
        outcome = run_sync(make, SCRIPT, stop, "close")
        other = run_async(make, SCRIPT, stop, "close")
        assert outcome.shown == other.shown, stop
        # To the threads of a group, and to nothing else, abandoning is a cancellation.
        assert make is several_one_by_one or outcome.log == other.log, stop
        assert outcome.shown == full.shown[:stop]
        assert (outcome.value, outcome.error) == (None, None)
        assert _balanced(outcome)


def _balanced(outcome: Outcome) -> bool:
    """Every stream that was opened was closed, and every call that was started finished or failed."""
    names = [name for name, _ in outcome.log]
    return (
        names.count("opened") == names.count("closed")
        and names.count("started") == names.count("finished") + names.count("failed")
        and names.count("started") >= names.count("opened")
    )


def test_an_error_carries_what_came_before_it() -> None:
    for run in (run_sync, run_async):
        outcome = run(error_leaves, SCRIPT)
        assert outcome.error is TruncatedStream
        assert outcome.partial == Reply(text="as far as ", finish_reason="error")
        stopped = run(plain, SCRIPT, 2)
        assert stopped.error is Cancelled
        assert stopped.partial == Reply(text="well hello ", finish_reason="cancelled")


def test_a_flow_can_make_something_of_a_stop() -> None:
    for run in (run_sync, run_async):
        full = run(handles_errors, SCRIPT)
        assert full.value == ["as far as ", "", "well hello there ", "no such thing", "nothing to count"]
        assert run(handles_errors, SCRIPT, 2).value == ["stopped", "as far "]
        # the third batch, then two warnings, then the first of "hello"
        assert run(handles_errors, SCRIPT, 6).value == ["as far as ", "", "stopped", "well "]


def test_a_stopped_flow_may_show_but_not_ask() -> None:
    for run in (run_sync, run_async):
        outcome = run(asks_on_after_cancellation, SCRIPT, 1)
        assert outcome.error is Cancelled
        assert outcome.shown == [(TextDelta("well "),), (Notice("info", "one more"),)]
        assert [name for name, _ in outcome.log].count("started") == 1


def test_a_defect_is_not_thrown_into_the_flow() -> None:
    for run in (run_sync, run_async):
        assert run(defect_in_a_tool, SCRIPT).error is ZeroDivisionError
        assert run(defect_in_the_model, SCRIPT).error is ZeroDivisionError
        assert run(defect_in_the_flow, SCRIPT).error is ZeroDivisionError


def test_a_request_of_an_unknown_kind_is_a_defect() -> None:
    def strange() -> Flow[None]:
        yield "please"  # type: ignore[misc]

    for run in (run_sync, run_async):
        assert run(strange, SCRIPT).error is TypeError


def test_a_flow_is_closed_whatever_happens() -> None:
    closed: list[str] = []

    def careful() -> Flow[None]:
        try:
            yield from ask(ask_for("hello"))
            yield from ask(ask_for("defect"))
        finally:
            closed.append("closed")

    for run in (run_sync, run_async):
        for stop, way in [(None, "throw"), (1, "throw"), (1, "close")]:
            closed.clear()
            run(careful, SCRIPT, stop, way)
            assert closed == ["closed"]
