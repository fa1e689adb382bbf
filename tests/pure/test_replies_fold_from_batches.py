"""A reply is what its batches add up to, however they were cut."""

from __future__ import annotations

import itertools
import sys

from hypothesis import given
from hypothesis import strategies as st

from lollms_core.fold import ReplyFold
from lollms_core.types import (
    Done,
    Item,
    Message,
    Output,
    Params,
    Progress,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

EVENTS = [
    ThoughtDelta("let me "),
    ThoughtDelta("see"),
    Progress("load"),
    TextDelta("Hello"),
    TextDelta(", world"),
    ToolCallDelta(1, "b", "second", ""),
    ToolCallDelta(0, "", "first", '{"x"'),
    ToolCallDelta(1, "", "", "{}"),
    ToolCallDelta(0, "", "", ": 1}"),
    Done("tool_calls", model="m"),
    Done(usage=Usage(1, 2, 3)),
]


@given(st.lists(st.integers(0, len(EVENTS)), max_size=6))
def test_the_same_events_in_any_batches_give_the_same_reply(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(EVENTS)]
    fold = ReplyFold()
    for start, end in itertools.pairwise(edges):
        fold.add(EVENTS[start:end])
    assert fold.done() == Reply(
        text="Hello, world",
        thoughts="let me see",
        tool_calls=(ToolCall("call_0", "first", {"x": 1}), ToolCall("b", "second", {})),
        usage=Usage(1, 2, 3),
        finish_reason="tool_calls",
        model="m",
    )


def test_a_call_with_broken_arguments_is_kept_apart() -> None:
    fold = ReplyFold()
    fold.add(
        [
            ToolCallDelta(0, "a", "good", "{}"),
            ToolCallDelta(1, "b", "bad", '{"x": '),
            ToolCallDelta(2, "c", "list", "[]"),
        ]
    )
    reply = fold.done()
    assert [call.name for call in reply.tool_calls] == ["good"]
    assert reply.broken_calls == (("bad", '{"x": '), ("list", "[]"))


def test_parameters_lie_over_each_other_and_unset_ones_are_not_given() -> None:
    defaults = Params(temperature=0.5, top_k=3, extra={"a": 1, "b": 1})
    request = Params(temperature=0.0, seed=7, extra={"b": 2})
    merged = request.over(defaults)
    assert merged.given() == {"temperature": 0.0, "top_k": 3, "seed": 7}
    assert merged.extra == {"a": 1, "b": 2}


def test_an_assistant_turn_without_text_has_no_part() -> None:
    assert Message.assistant("").parts == ()
    assert Message.user("hi").text == "hi"


def test_an_answer_of_many_small_pieces_takes_little_more_than_its_letters() -> None:
    fold = ReplyFold()
    for number in range(20_000):
        fold.add([TextDelta(f"{number % 10}ab"), ThoughtDelta("cde")])
    reply = fold.done()
    assert len(reply.text) == len(reply.thoughts) == 60_000
    assert reply.text.startswith("0ab1ab2ab") and reply.text.endswith("8ab9ab")
    held = sum(sys.getsizeof(piece) for pieces in (fold._text, fold._thoughts) for piece in pieces)
    assert held < 2 * 120_000


def test_items_between_many_small_pieces_stay_in_their_places() -> None:
    fold = ReplyFold()
    for round_ in range(3):
        for _ in range(3000):
            fold.add([TextDelta("x"), ThoughtDelta("y")])
        fold.add([Output((Item("json", {"round": round_}),))])
    items = fold.done().items
    assert [item.kind for item in items] == ["text", "json"] * 3
    assert all(item.data == "x" * 3000 and item.thoughts == "y" * 3000 for item in items[::2])
    fold.add([Output((Item("text", "all new"),), replaces=True), *[TextDelta("z")] * 3000])
    assert fold.done().text == "all new" + "z" * 3000
