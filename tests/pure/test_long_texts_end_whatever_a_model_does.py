"""A long text read one part after another ends typed and within its cost, and reads its tail, whatever a model does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    ContextTooLong,
    IdleTimeout,
    InvalidRequest,
    LollmsError,
    Overloaded,
    TruncatedStream,
    UpstreamFailed,
)
from lollms_core.flows.rolling_plan import Sizes
from lollms_core.flows.rolling_words import Task
from lollms_core.types import GenerationCall, Progress, Reply, TextDelta
from tests.support.reading_on import (
    chunk_of,
    chunks_of,
    heedless,
    in_turn,
    is_condensing,
    is_final,
    memory_of,
    read,
    story,
    warnings_of,
)

# ---- what models do


def test_a_memory_that_has_grown_is_condensed_and_the_tail_is_read() -> None:
    long = " ".join(["note"] * 400)

    def model(call: GenerationCall) -> Any:
        return "The end." if is_final(call) else "short" if is_condensing(call) else long

    text = story(1_500)
    sent = read(text, model, Sizes(2_000, overlap=0))
    readings = [call for call in sent.calls if chunk_of(call)]
    condensed = [call for call in sent.calls if is_condensing(call)]
    assert len(condensed) == len(readings) - 1  # the last memory goes to the answer as it is
    assert len(sent.calls) == len(readings) + len(condensed) + 1
    assert "".join(chunk_of(call) for call in readings) == text
    assert [memory_of(call) for call in readings[1:]] == ["short"] * (len(readings) - 1)
    assert [event.message for event in sent.shown if isinstance(event, Progress) and event.kind == "step"] == [
        "The memory has grown too long and is condensed."
    ] * len(condensed)


def test_a_memory_that_no_call_makes_smaller_is_cut_and_it_is_said() -> None:
    sent = read(story(600), heedless(3_000))
    assert sent.value.text == " ".join(["note"] * 3_000)
    assert ("notes", "clamped") in [(each.name, each.action) for each in sent.value.receipt]


@pytest.mark.parametrize("answer", ["", "  \n", Reply("half of it", finish_reason="content_filter")])
def test_a_memory_that_comes_back_empty_keeps_the_one_before(answer: Any) -> None:
    sent = read(story(600), in_turn("one", answer, "three", "The end."))
    assert [memory_of(call) for call in sent.calls] == ["", "one", "one", "three"]
    assert len(warnings_of(sent)) == 1
    assert "chunk 2 of 3" in warnings_of(sent)[0]
    assert [(each.name, each.action) for each in sent.value.receipt] == [("chunk 2 of 3", "dropped")]


def test_a_chunk_that_fails_once_is_asked_for_again() -> None:
    sent = read(story(600), in_turn("one", TruncatedStream("cut"), "two", "three", "The end."))
    assert sent.value.text == "The end."
    assert chunk_of(sent.calls[1]) == chunk_of(sent.calls[2])
    assert [memory_of(call) for call in sent.calls] == ["", "one", "one", "two", "three"]
    assert sent.value.receipt == ()


def test_a_chunk_that_fails_twice_is_left_out_and_reported() -> None:
    sent = read(story(600), in_turn("one", Overloaded("busy"), IdleTimeout("silent"), "three", "The end."))
    assert [memory_of(call) for call in sent.calls] == ["", "one", "one", "one", "three"]
    assert sent.value.text == ("The end.\n\n[Missing here, because it could not be read: chunk 2 of 3 (silent)]")
    assert [(each.name, each.action) for each in sent.value.receipt] == [("chunk 2 of 3", "dropped")]
    ends = [event for event in sent.shown if isinstance(event, Progress) and event.kind == "step_end"]
    assert [("error" in event.data) for event in ends] == [False, True, False, False]


def test_no_remark_stands_behind_an_answer_of_json() -> None:
    failing = in_turn("one", Overloaded("busy"), Overloaded("busy"), "three", '{"a": 1}')
    assert read(story(600), failing, task=Task(conclude_form="JSON")).value.text == '{"a": 1}'


@pytest.mark.parametrize("error", [AuthFailed("no"), InvalidRequest("what?")])
def test_an_error_that_every_chunk_would_have_ends_it_at_once(error: LollmsError) -> None:
    sent = read(story(600), in_turn("one", error))
    assert sent.error is error
    assert error.partial is not None
    assert (error.partial.text, error.partial.finish_reason) == ("one", "error")


def test_three_failed_chunks_in_a_row_end_it_with_the_first_error() -> None:
    errors = [Overloaded(f"busy {number}") for number in range(6)]
    sent = read(story(1_500), in_turn("one", *errors))
    assert sent.error is errors[1]
    assert sent.error.partial is not None
    assert sent.error.partial.text == "one"


def test_where_nothing_was_read_its_error_is_raised_and_no_answer_is_made_up() -> None:
    sent = read(story(10), in_turn(Overloaded("busy"), Overloaded("still")))
    assert isinstance(sent.error, Overloaded)
    sent = read(story(10), in_turn(""))
    assert isinstance(sent.error, UpstreamFailed)


def test_a_memory_that_was_cut_off_is_asked_for_more_briefly() -> None:
    cut = Reply("a long memory and", finish_reason="length")
    sent = read(story(600), in_turn("one", cut, "two", "three", "The end."))
    assert "more briefly" in sent.calls[2].messages[-1].text
    assert [memory_of(call) for call in sent.calls] == ["", "one", "one", "two", "three"]
    assert sent.value.receipt == ()


@pytest.mark.parametrize("second", [Reply("a long", finish_reason="length"), Overloaded("busy")])
def test_a_memory_that_is_cut_off_twice_is_used_as_far_as_it_came(second: Any) -> None:
    cut = Reply("a long", finish_reason="length")
    sent = read(story(600), in_turn("one", cut, second, "three", "The end."))
    assert memory_of(sent.calls[3]) == "a long"
    assert [(each.name, each.action) for each in sent.value.receipt] == [("chunk 2 of 3", "clamped")]
    assert sent.value.text == "The end."


def test_thoughts_that_use_up_the_limit_leave_no_memory() -> None:
    thinking = Reply("", thoughts="Hm", finish_reason="length")
    sent = read(story(600), in_turn("one", thinking, thinking, "three", "The end."))
    assert memory_of(sent.calls[3]) == "one"
    assert [(each.name, each.action) for each in sent.value.receipt] == [("chunk 2 of 3", "dropped")]


def test_a_chunk_that_is_longer_than_it_seemed_is_read_in_parts() -> None:
    def model(call: GenerationCall) -> Any:
        if len(chunk_of(call)) > 2_000:
            return ContextTooLong("too long")
        return "The end." if is_final(call) else "notes"

    text = story(600)
    sent = read(text, model, Sizes(2_000, overlap=0))
    assert sent.value.text == "The end."
    assert "".join(chunk_of(call) for call in sent.calls if len(chunk_of(call)) <= 2_000) == text


def test_a_context_that_is_too_small_for_anything_ends_it() -> None:
    sent = read(story(600), lambda call: ContextTooLong("too long"))
    assert isinstance(sent.error, ContextTooLong)
    assert len(sent.calls) <= 5


# ---- the answer


def test_no_answer_is_the_memory() -> None:
    sent = read(story(10), in_turn("all that matters", " "))
    assert sent.value.text == "all that matters"
    assert TextDelta("all that matters") in sent.shown
    assert len(warnings_of(sent)) == 1


def test_an_answer_that_fails_before_it_begins_is_asked_for_again() -> None:
    assert read(story(10), in_turn("notes", Overloaded("busy"), "The end.")).value.text == "The end."


def test_an_answer_that_fails_in_the_middle_is_not_shown_twice() -> None:
    error = TruncatedStream("cut")
    error.partial = Reply("The e", finish_reason="error")
    sent = read(story(10), in_turn("notes", error))
    assert sent.error is error
    assert sent.error.partial is not None
    assert sent.error.partial.text == "The e"


MISHAPS: list[Any] = [
    "notes",
    "",
    "notes " * 1_000,
    "I cannot help with that.",
    "```json\n{",
    "</memory> <chunk>",
    Reply("cut", finish_reason="length"),
    Reply("", thoughts="hm", finish_reason="length"),
    Reply("", finish_reason="content_filter"),
    TruncatedStream("cut"),
    Overloaded("busy"),
    ContextTooLong("long"),
    AuthFailed("no"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(range(len(MISHAPS))), min_size=1, max_size=12))
def test_whatever_a_model_does_it_ends_typed_and_within_its_cost(order: list[int]) -> None:
    number, sizes = 0, Sizes(1_000)

    def model(call: GenerationCall) -> Any:
        nonlocal number
        answer = MISHAPS[order[number % len(order)]]
        number += 1
        return type(answer)(str(answer)) if isinstance(answer, LollmsError) else answer

    sent = read(story(300), model, sizes)
    # two calls for a chunk and two for its memory, in each of the parts that it may be divided in
    assert len(sent.calls) <= chunks_of(story(300), sizes) * 15 * 4 + 2
    if sent.error is None:
        assert sent.value.text.strip()
    else:
        assert sent.error.partial is not None
