"""A view decides what is shown and when it is enough; the flow still gets the whole reply."""

from __future__ import annotations

import pytest

from lollms_core.errors import ProtocolError, TruncatedStream
from lollms_core.flows.base import Flow, ask, emit
from lollms_core.types import Batch, Done, Notice, Reply, TextDelta, ThoughtDelta
from tests.support.driving import DRIVERS, Script, ask_for, run_async, run_sync, words

SCRIPT = Script(
    {
        "json": [*words('{ "a" : 1 }'), (TextDelta("and more"), Done("stop"))],
        "mixed": [(ThoughtDelta("hm"), TextDelta("one")), (TextDelta("two"),), (ThoughtDelta("ha"),)],
        "breaks": [*words("{ 1"), TruncatedStream("the line broke")],
    }
)


class Hidden:
    """Shows nothing."""

    enough = False

    def feed(self, batch: Batch) -> Batch:
        return ()


class UntilBrace:
    """Shows nothing, and has enough at the closing brace."""

    def __init__(self) -> None:
        self.enough = False

    def feed(self, batch: Batch) -> Batch:
        self.enough = self.enough or any(isinstance(e, TextDelta) and "}" in e.text for e in batch)
        return ()


class OnlyThoughts:
    """Shows thoughts, as notices."""

    enough = False

    def feed(self, batch: Batch) -> Batch:
        return [Notice("info", event.text) for event in batch if isinstance(event, ThoughtDelta)]


class Chokes:
    """Raises an error of ours at the second batch."""

    enough = False

    def __init__(self) -> None:
        self._count = 0

    def feed(self, batch: Batch) -> Batch:
        self._count += 1
        if self._count == 2:
            raise ProtocolError("this is no JSON")
        return batch


def test_what_is_hidden_still_reaches_the_flow() -> None:
    def make() -> Flow[Reply]:
        reply = yield from ask(ask_for("json"), Hidden())
        yield from emit(TextDelta("done"))
        return reply

    outcome = run_sync(make, SCRIPT)
    assert outcome == run_async(make, SCRIPT)
    assert outcome.shown == [(TextDelta("done"),)]
    assert outcome.value.text == '{ "a" : 1 } and more'
    assert [name for name, _ in outcome.log].count("delivered") == 6


@pytest.mark.parametrize("driver", DRIVERS)
def test_enough_ends_the_call_early(driver: str) -> None:
    outcome = DRIVERS[driver](lambda: ask(ask_for("json"), UntilBrace()), SCRIPT)
    assert outcome.value.text == '{ "a" : 1 } '
    assert outcome.value.finish_reason == "enough"
    assert outcome.shown == []
    assert outcome.log[-2:] == [("closed", ""), ("finished", '{ "a" : 1 } ')]


def test_a_view_may_change_what_is_shown() -> None:
    outcome = run_sync(lambda: ask(ask_for("mixed"), OnlyThoughts()), SCRIPT)
    assert outcome == run_async(lambda: ask(ask_for("mixed"), OnlyThoughts()), SCRIPT)
    assert outcome.shown == [[Notice("info", "hm")], [Notice("info", "ha")]]
    assert (outcome.value.text, outcome.value.thoughts) == ("onetwo", "hmha")


def test_a_hidden_answer_that_breaks_still_has_its_partial_text() -> None:
    outcome = run_sync(lambda: ask(ask_for("breaks"), Hidden()), SCRIPT)
    assert outcome == run_async(lambda: ask(ask_for("breaks"), Hidden()), SCRIPT)
    assert outcome.partial is not None and outcome.partial.text == "{ 1 "


def test_an_error_of_a_view_ends_the_call_and_reaches_the_flow() -> None:
    def make() -> Flow[str]:
        try:
            yield from ask(ask_for("mixed"), Chokes())
        except ProtocolError as error:
            return error.partial.text if error.partial else "nothing"
        return "no error"

    outcome = run_sync(make, SCRIPT)
    assert outcome == run_async(make, SCRIPT)
    assert outcome.value == "onetwo"
    assert ("closed", "") in outcome.log
