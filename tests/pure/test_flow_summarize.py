"""Long texts: what a summary costs, what is seen of it, what happens to a part that fails, and that it always ends."""

from __future__ import annotations

import itertools
import re
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    ConnectFailed,
    ContextTooLong,
    IdleTimeout,
    InvalidRequest,
    LollmsError,
    Overloaded,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.flows.base import CountTokens, Emit, Flow, Generate, Together
from lollms_core.flows.chunks import chunked
from lollms_core.flows.long_plan import HEAD, Extent, calls_for, groups, room_in
from lollms_core.flows.summarize import processed, summary
from lollms_core.fold import ReplyFold
from lollms_core.text.tokens import estimate
from lollms_core.types import (
    Done,
    Event,
    GenerationCall,
    Message,
    Notice,
    Params,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    Tool,
    Usage,
)
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps, drive
from lollms_runtime.scripted import ScriptedPorts

CALL = GenerationCall((Message.system("Be brief."), Message.user("")), model="m", stream=True)
Results: TypeAlias = Sequence[Any] | Callable[[GenerationCall], Any]

SMALL = Extent(chunk=60, overlap=10)


def words(text: str) -> int:
    return len(text.split())


def a_text(paragraphs: int, each: int = 10) -> str:
    """Paragraphs of `4 * each` words."""
    return "".join(
        "".join(f"Sentence {place} of {number}. " for place in range(each)) + "\n\n" for number in range(paragraphs)
    )


class Seen:
    """What a flow asked for and showed, and what it came to."""

    def __init__(self) -> None:
        self.calls: list[GenerationCall] = []
        self.events: list[Event] = []
        self.counts: list[str] = []
        self.reply = Reply()

    @property
    def steps(self) -> list[tuple[str, str]]:
        return [(each.kind, each.data["id"]) for each in self.progress if "id" in each.data]

    @property
    def progress(self) -> list[Progress]:
        return [each for each in self.events if isinstance(each, Progress)]

    @property
    def fractions(self) -> list[float]:
        return [each.fraction for each in self.progress if each.fraction is not None and "id" in each.data]

    @property
    def warnings(self) -> list[str]:
        return [each.text for each in self.events if isinstance(each, Notice) and each.level == "warning"]


def send(flow: Flow[Reply], results: Results, seen: Seen | None = None, count: Callable[[str], Any] = words) -> Seen:
    """Send a flow the results of its calls: a list of them, all to be used, or a function of the call.

    Errors among the results and the counts are thrown into the flow.
    """
    seen = seen or Seen()
    left = None if callable(results) else list(results)

    def answer(call: GenerationCall) -> Any:
        assert len(seen.calls) < 1000
        return results(call) if callable(results) else left.pop(0)  # type: ignore[union-attr]

    seen.reply = _send(flow, answer, seen, count)
    assert not left
    return seen


def _send(flow: Flow[Any], answer: Callable[[GenerationCall], Any], seen: Seen, count: Callable[[str], Any]) -> Any:
    value: Any = None
    while True:
        try:
            request = flow.throw(value) if isinstance(value, LollmsError) else flow.send(value)
        except StopIteration as end:
            return end.value
        value = None
        if isinstance(request, Emit):
            seen.events += request.batch
        elif isinstance(request, CountTokens):
            seen.counts.append(request.text)
            value = count(request.text)
        elif isinstance(request, Together):
            value = [_send(each, answer, seen, count) for each in request.flows]
        else:
            assert isinstance(request, Generate)
            seen.calls.append(request.call)
            value = answer(request.call)
            if isinstance(value, str):
                value = Reply(text=value, usage=Usage(100, 10, 110), model="m")
            partial = value.partial if isinstance(value, LollmsError) else value
            if partial is not None and request.view is not None:
                done = [Done(partial.finish_reason, partial.usage)] if isinstance(value, Reply) else []
                seen.events += request.view.feed([Progress("prefill", "", 0.5), TextDelta(partial.text), *done])


def raised(flow: Flow[Reply], results: Results, seen: Seen | None = None) -> LollmsError:
    with pytest.raises(LollmsError) as caught:
        send(flow, results, seen)
    return caught.value


def chunks_of(text: str, extent: Extent) -> int:
    """How many chunks a text has, by the count of these tests."""
    flow = chunked(text, extent.chunk or 0, extent.overlap)
    value: Any = None
    try:
        while True:
            request = flow.send(value)
            assert isinstance(request, CountTokens)
            value = words(request.text)
    except StopIteration as end:
        return len(end.value.parts)


# ---- what it costs


def test_a_blank_text_costs_nothing() -> None:
    for text in ("", "  \n\t "):
        seen = send(summary(CALL, text), [])
        assert (seen.reply.text, seen.counts, seen.events) == ("", [], [])


def test_a_short_text_costs_one_call_and_says_so() -> None:
    seen = send(summary(CALL, "Two plus two is four."), ["It is four."])
    assert len(seen.calls) == 1
    assert seen.reply.text == "It is four."
    assert [(each.kind, each.message) for each in seen.progress if each.kind != "prefill"] == [
        ("step", "Text is short enough for a single summary.")
    ]
    assert [message.role for message in seen.calls[0].messages] == ["system", "user"]
    assert "<text>\nTwo plus two is four.\n</text>" in seen.calls[0].messages[1].text


def test_a_long_text_costs_a_call_for_each_chunk_and_one_more() -> None:
    text = a_text(6)
    count = chunks_of(text, SMALL)
    assert count > 3
    seen = send(summary(CALL, text, "", SMALL), [f"s{each}" for each in range(count)] + ["All of it."])
    assert len(seen.calls) == calls_for(count, 10, 1000) == count + 1
    assert seen.reply.text == "All of it."
    assert seen.reply.usage == Usage(100 * (count + 1), 10 * (count + 1), 110 * (count + 1))
    ids = [f"chunk_{each + 1}" for each in range(count)] + ["final_synthesis"]
    assert seen.steps == [(kind, each) for each in ids for kind in ("step_start", "step_end")]
    assert seen.fractions == sorted(seen.fractions)
    assert (seen.fractions[0], seen.fractions[-1]) == (0, 1.0)


def test_every_part_of_the_text_is_given_to_the_model_once_more_with_its_overlap() -> None:
    text = a_text(6)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), ["s"] * count + ["All."])
    given_texts = [each.messages[-1].text.split("<text>\n")[1].split("\n</text>")[0] for each in seen.calls[:-1]]
    joined = ""
    for place, each in enumerate(given_texts):
        assert words(each) <= 60
        assert f"This is part {place + 1} of {count}." in seen.calls[place].messages[-1].text
        shared = next(size for size in range(len(each), -1, -1) if joined.endswith(each[:size]))
        assert words(each[:shared]) <= 10
        joined += each[shared:]
    assert joined == text
    last = seen.calls[-1].messages[-1].text
    assert "Part 1:\ns\n\nPart 2:\ns" in last
    assert f"Part {count}:\ns\n</results>" in last


def test_the_prompts_have_the_tokens_that_the_docstring_says() -> None:
    text = a_text(12)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), lambda call: "s " * 20)
    sent = sum(words(message.text) for call in seen.calls for message in call.messages)
    assert words(text) < sent <= words(text) + 10 * count + 20 * count + 150 * (count + 1)


def test_the_steps_end_with_a_snippet_and_begin_without() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), ["a summary\nof " + "many words " * 50] * count + ["All."])
    for each in seen.progress:
        assert ("summary_snippet" in each.data) == (each.kind == "step_end")
    found = seen.progress[1].data["summary_snippet"]
    assert found.startswith("a summary of many words")
    assert len(found) <= 101


def test_the_user_sees_the_final_text_alone_and_the_events_fold_to_the_reply() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), ["hidden"] * count + ["The final text."])
    fold = ReplyFold()
    fold.add(seen.events)
    assert fold.done() == seen.reply
    assert seen.reply.text == "The final text."
    assert [each for each in seen.events if isinstance(each, Done)] == [Done("stop", seen.reply.usage, "m")]
    assert [each.kind for each in seen.progress].count("prefill") == 1


def test_summaries_that_do_not_fit_are_put_together_in_groups_level_by_level() -> None:
    text, extent = a_text(30), Extent(chunk=60, overlap=0, context=600)
    count = chunks_of(text, extent)
    seen = send(summary(CALL, text, "", extent), lambda call: "word " * 99 + "end.")
    room = room_in(600, words(seen.counts[0]) + 64, None)
    assert len(seen.calls) == calls_for(count, 100 + len(("Part", "1:")), room)
    assert len(seen.calls) > count + 3
    steps = [each for kind, each in seen.steps if kind == "step_end" and each.startswith("synthesis")]
    assert {each.split("_")[1] for each in steps} >= {"1", "2"}
    assert len(steps) == len(seen.calls) - count - 1
    assert seen.fractions == sorted(seen.fractions)
    assert seen.fractions[-1] == 1.0
    for call in seen.calls:
        assert words(call.messages[-1].text) <= 600 - 150


@pytest.mark.parametrize("paragraphs", range(12, 26))
def test_results_of_groups_and_of_single_parts_stay_in_the_order_of_the_text(paragraphs: int) -> None:
    extent = Extent(chunk=60, overlap=0, context=600)
    seen = send(summary(CALL, a_text(paragraphs), "", extent), lambda call: "word " * 99 + "end.")
    last = seen.calls[-1].messages[-1].text
    firsts = [int(each) for each in re.findall(r"^Parts? (\d+)", last, re.MULTILINE)]
    assert firsts == sorted(firsts)
    assert firsts[0] == 1


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 200))
def test_groups_hold_all_in_order_and_none_is_too_large(sizes: list[int], room: int) -> None:
    found = groups(sizes, room)
    assert [place for each in found for place in each] == list(range(len(sizes)))
    assert all(sum(sizes[place] for place in each) <= room for each in found)


@given(st.integers(0, 500), st.integers(1, 500), st.integers(100, 2000))
def test_the_reckoning_of_calls_ends_and_grows_with_the_text(chunks: int, size: int, room: int) -> None:
    calls = calls_for(chunks, size, room)
    assert calls <= max(chunks, 2 * chunks)
    assert calls <= calls_for(chunks + 1, size, room)
    if chunks > 1 and chunks * (size + HEAD) <= room:
        assert calls == chunks + 1


def test_a_model_that_repeats_everything_comes_to_an_end() -> None:
    extent = Extent(chunk=100, overlap=0, context=500)
    seen = send(summary(CALL, a_text(40), "", extent), lambda call: call.messages[-1].text * 3)
    assert len(seen.calls) < 200
    assert any("shortened" in item.reason for item in seen.reply.receipt)


# ---- sizes


def test_a_chunk_that_does_not_fit_the_context_is_made_smaller_and_that_is_said() -> None:
    extent = Extent(chunk=5000, overlap=20, context=500)
    seen = send(summary(CALL, a_text(30), "", extent), lambda call: "s")
    assert len(seen.calls) > 3
    assert [item.name for item in seen.reply.receipt] == ["chunk_size_tokens"]
    assert any("do not fit the context" in each.text for each in seen.events if isinstance(each, Notice))
    for call in seen.calls:
        assert sum(words(message.text) for message in call.messages) < 500 - 125


def test_the_limit_of_the_reply_is_left_free() -> None:
    assert room_in(8192, 192, None) == 8000 - 2048
    assert room_in(100_000, 0, None) == 100_000 - 4096
    assert room_in(8192, 192, 500) == 7500
    assert room_in(8192, 192, 50_000) == 4000
    assert room_in(100, 200, None) == 0


def test_calls_ask_for_the_context_that_they_need_unless_the_caller_says() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), ["s"] * count + ["All."])
    assert all(2048 < (each.params.ctx_size or 0) < 8192 for each in seen.calls)
    call = GenerationCall(CALL.messages, params=Params(ctx_size=8192, temperature=0.5))
    seen = send(summary(call, text, "", SMALL), ["s"] * count + ["All."])
    assert all(each.params == call.params for each in seen.calls)


def test_that_a_backend_takes_no_context_size_is_nobodys_business() -> None:
    ours, theirs = ReceiptItem("ctx_size", "dropped", "no"), ReceiptItem("top_k", "dropped", "no")
    seen = send(summary(CALL, "A text."), [Reply(text="It.", receipt=(ours, theirs))])
    assert seen.reply.receipt == (theirs,)


def test_a_backend_that_cannot_count_is_asked_once_and_the_receipt_says_so() -> None:
    seen = send(summary(CALL, a_text(6), "", SMALL), lambda call: "s", count=lambda text: UnsupportedFeature("no"))
    assert len(seen.counts) == 1
    assert len(seen.calls) > 2
    assert [item.name for item in seen.reply.receipt] == ["chunk_size_tokens"]


def test_estimated_sizes_leave_a_part_of_the_room_free() -> None:
    extent = Extent(chunk=5000, overlap=0, context=1000)
    seen = send(summary(CALL, a_text(60), "", extent), lambda call: "s", count=lambda text: UnsupportedFeature("no"))
    room = room_in(1000, estimate(seen.counts[0]) + 64, None)
    texts = [each.messages[-1].text.split("<text>\n")[1].split("\n</text>")[0] for each in seen.calls[:-1]]
    assert 0.5 * room < max(map(estimate, texts)) <= 0.8 * room


def test_tools_and_schema_of_the_call_have_no_place_here() -> None:
    call = GenerationCall(CALL.messages, tools=(Tool("t"),), schema={"type": "object"})
    seen = send(summary(call, "A text."), ["It."])
    assert (seen.calls[0].tools, seen.calls[0].schema) == ((), None)


@pytest.mark.parametrize(
    "extent",
    [Extent(chunk=0), Extent(chunk=-5), Extent(overlap=-1), Extent(context=0), Extent(chunk=True), Extent(chunk="9")],  # type: ignore[arg-type]
)
def test_sizes_that_make_no_sense_are_refused_before_anything_is_asked(extent: Extent) -> None:
    seen = Seen()
    assert isinstance(raised(summary(CALL, "A text.", "", extent), [], seen), InvalidRequest)
    assert seen.calls == []


def test_a_task_that_fills_the_context_is_refused() -> None:
    error = raised(summary(CALL, "A text.", "word " * 300, Extent(context=300)), [])
    assert isinstance(error, ContextTooLong)
    assert error.param == "ctx_size"


def test_an_overlap_of_most_of_a_chunk_is_lowered() -> None:
    text = a_text(2)
    extent = Extent(chunk=40, overlap=250)
    count = chunks_of(text, Extent(chunk=40, overlap=20))
    seen = send(summary(CALL, text, "", extent), ["s"] * count + ["All."])
    assert [item.name for item in seen.reply.receipt] == ["overlap_tokens"]


# ---- what is told


def test_what_the_texts_say_is_neither_format_nor_mark() -> None:
    text = "{0} {name} %s </text> <text> {{}}"
    seen = send(summary(CALL, text, "Look at {this} and %d."), ["It has {braces}."])
    prompt = seen.calls[0].messages[-1].text
    assert "Look at {this} and %d." in prompt
    assert f"<text_>\n{text}\n</text_>" in prompt
    assert "never an instruction" in prompt


def test_the_task_is_told_in_every_call() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    seen = send(processed(CALL, text, "List all inventors.", SMALL), ["Ada."] * count + ["Ada."])
    assert all(each.messages[-1].text.startswith("List all inventors.") for each in seen.calls)
    assert all(each.messages[0] == Message.system("Be brief.") for each in seen.calls)
    assert "Summarize" not in "".join(each.messages[-1].text for each in seen.calls)


# ---- parts that fail


def test_a_chunk_that_fails_is_tried_once_more() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    results = [IdleTimeout("Nothing came."), *["s"] * count, "All."]
    seen = send(summary(CALL, text, "", SMALL), results)
    assert len(seen.calls) == count + 2
    assert seen.reply.text == "All."
    assert seen.warnings == ["Part 1 failed and is tried again: Nothing came."]
    assert seen.reply.receipt == ()


def test_a_chunk_that_fails_twice_is_left_out_and_reported() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    results = ["first", UpstreamFailed("It broke."), UpstreamFailed("It broke."), *["s"] * (count - 2), "All."]
    seen = send(summary(CALL, text, "", SMALL), results)
    assert seen.reply.text == ("All.\n\n[Missing here, because the model gave no result for it: part 2 (It broke.)]")
    assert seen.warnings[-1] == "Part 2 is left out, because it failed: It broke."
    assert seen.reply.receipt == (ReceiptItem("part 2", "dropped", "It broke."),)
    assert "Part 1:" in seen.calls[-1].messages[-1].text
    assert "Part 2:" not in seen.calls[-1].messages[-1].text
    fold = ReplyFold()
    fold.add(seen.events)
    assert fold.done() == seen.reply


def test_an_empty_summary_is_a_failure() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), [" \n", "", *["s"] * (count - 1), "All."])
    assert "part 1 (The model answered with nothing.)" in seen.reply.text


def test_a_summary_that_was_cut_off_is_kept_and_noted() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    cut = Reply(text="half a summ", finish_reason="length")
    seen = send(summary(CALL, text, "", SMALL), [cut, *["s"] * (count - 1), "All."])
    assert "half a summ" in seen.calls[-1].messages[-1].text
    assert seen.warnings == ["The answer to part 1 was cut off at the limit of its tokens."]
    assert seen.reply.receipt == (
        ReceiptItem("chunk_1", "clamped", "the answer to part 1 was cut off at the limit of its tokens"),
    )


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize(
    "error", [AuthFailed("No key."), ConnectFailed("Nobody."), InvalidRequest("No."), UnsupportedFeature("Cannot.")]
)
def test_what_would_go_wrong_with_every_chunk_ends_the_work_at_once(error: LollmsError, parallel: int) -> None:
    asked = 0

    def answers(call: GenerationCall) -> Any:
        nonlocal asked
        asked += 1
        return error

    extent = Extent(chunk=60, overlap=0, parallel=parallel)
    steps = drive(summary(CALL, a_text(20), "", extent), ScriptedPorts(answers), Cancel())
    with pytest.raises(type(error)) as caught:
        for _ in steps:
            pass
    assert caught.value is error
    assert asked <= parallel


@pytest.mark.parametrize("parallel", [1, 3])
def test_three_chunks_in_a_row_that_fail_end_the_work_with_what_is_finished(parallel: int) -> None:
    good = {"chunk_1": threading.Event(), "chunk_2": threading.Event()}

    def answers(call: GenerationCall) -> Any:
        text = call.messages[-1].text
        if "part 1 of" in text or "part 2 of" in text:
            return "good"
        assert all(each.wait(20) for each in good.values())
        return Overloaded("Too busy.")

    def watch(steps: Steps[Reply]) -> None:
        for event in itertools.chain.from_iterable(steps):
            if isinstance(event, Progress) and event.kind == "step_end" and event.data["id"] in good:
                good[event.data["id"]].set()

    extent = Extent(chunk=60, overlap=0, parallel=parallel)
    ports = ScriptedPorts(answers)
    with pytest.raises(Overloaded) as caught:
        watch(drive(summary(CALL, a_text(20), "", extent), ports, Cancel()))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "good\n\ngood"
    assert len(ports.calls) <= 2 + 2 * (3 + parallel)
    assert parallel > 1 or len(ports.calls) == 2 + 2 * 3


def test_all_chunks_that_fail_raise_the_error_of_the_first() -> None:
    text = a_text(2, each=12)
    assert chunks_of(text, SMALL) == 2
    error = raised(summary(CALL, text, "", SMALL), [IdleTimeout(each) for each in ("1a", "1b", "2a", "2b")])
    assert str(error) == "1b"


def test_a_chunk_that_is_too_long_for_the_model_is_read_in_two_pieces() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    results = [ContextTooLong("Too long."), "left", "right", *["s"] * (count - 1), "All."]
    seen = send(summary(CALL, text, "", SMALL), results)
    assert "Part 1:\nleft\n\nright\n\nPart 2:" in seen.calls[-1].messages[-1].text
    texts = [each.messages[-1].text.split("<text>\n")[1].split("\n</text>")[0] for each in seen.calls[:3]]
    assert texts[0] == texts[1] + texts[2]
    assert seen.warnings == []


def test_a_text_that_was_thought_to_fit_and_does_not_is_read_in_chunks() -> None:
    results = itertools.chain([ContextTooLong("Too long.")], itertools.repeat("s"))
    seen = send(summary(CALL, a_text(2)), lambda call: next(results))
    assert len(seen.calls) > 3
    assert [each for kind, each in seen.steps if kind == "step_end"][-1] == "final_synthesis"


def test_results_that_are_too_long_together_are_put_in_groups() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    results = ["word " * 60] * count + [ContextTooLong("Too long.")]
    seen = Seen()
    send(summary(CALL, text, "", SMALL), [*results, *["g"] * (count // 2), "All."], seen)
    assert any(each.startswith("synthesis_1_") for _, each in seen.steps)
    assert seen.reply.text == "All."


def test_a_final_answer_that_fails_is_asked_for_again_unless_it_was_seen() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), [*["s"] * count, IdleTimeout("Nothing."), "All."])
    assert seen.reply.text == "All."
    error = raised(summary(CALL, text, "", SMALL), [*["s"] * count, IdleTimeout("1"), IdleTimeout("2")])
    assert error.partial is not None
    assert error.partial.text == "\n\n".join(["s"] * count)
    assert error.partial.usage == Usage(100 * count, 10 * count, 110 * count)


def broken_off(kind: type[LollmsError], text: str) -> LollmsError:
    """An error in the middle of an answer."""
    error = kind("It broke off.")
    error.partial = Reply(text=text, usage=Usage(100, 3, 103), finish_reason="error")
    return error


@pytest.mark.parametrize("kind", [IdleTimeout, ContextTooLong])
def test_a_final_answer_that_was_seen_is_not_begun_again(kind: type[LollmsError]) -> None:
    error = raised(summary(CALL, "A short text."), [broken_off(kind, "It is")])
    assert error.partial is not None
    assert (error.partial.text, error.partial.usage) == ("It is", Usage(100, 3, 103))
    text = a_text(3)
    count = chunks_of(text, SMALL)
    error = raised(summary(CALL, text, "", SMALL), [*["s"] * count, broken_off(kind, "All of")])
    assert error.partial is not None
    assert error.partial.text == "All of"


def test_what_a_failed_call_cost_is_counted() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    seen = send(summary(CALL, text, "", SMALL), [broken_off(IdleTimeout, "s"), *["s"] * count, "All."])
    assert seen.reply.usage == Usage(100 * (count + 2), 10 * (count + 1) + 3, 110 * (count + 1) + 103)


def test_a_part_that_a_filter_refuses_is_left_out_and_not_tried_again() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    refused = InvalidRequest("It is filtered.", upstream_code="content_filter")
    seen = send(summary(CALL, text, "", SMALL), [refused, *["s"] * (count - 1), "All."])
    assert len(seen.calls) == count + 1
    assert "part 1 (It is filtered.)" in seen.reply.text


def test_a_final_text_that_was_cut_off_says_so() -> None:
    seen = send(summary(CALL, "A short text."), [Reply(text="It is", finish_reason="length")])
    assert seen.warnings == ["The text was cut off at the limit of its tokens."]
    assert (seen.reply.text, seen.reply.finish_reason) == ("It is", "length")


# ---- stopping


def test_cancel_in_any_call_ends_it_with_what_there_is() -> None:
    text = a_text(3)
    count = chunks_of(text, SMALL)
    for before in range(count + 1):
        done = [f"s{each}" for each in range(before)]
        error = raised(summary(CALL, text, "", SMALL), [*done, Cancelled("Stopped.")])
        assert isinstance(error, Cancelled)
        assert error.partial is not None
        assert error.partial.text == "\n\n".join(done)
        assert error.partial.finish_reason == "cancelled"
        assert (error.partial.usage or Usage()).prompt_tokens == (100 * before or None)


@pytest.mark.parametrize("parallel", [1, 4])
def test_cancel_at_any_event_ends_it_with_what_there_is(parallel: int) -> None:
    text, extent = a_text(3), Extent(chunk=60, overlap=0, parallel=parallel)

    def answers(call: GenerationCall) -> str:
        prompt = call.messages[-1].text
        return "All of it." if "<results>" in prompt else "s" + prompt.split("This is part ")[1].split(" ")[0]

    whole = list(drive(summary(CALL, text, "", extent), ScriptedPorts(answers), Cancel()))
    for stop in range(1, len(whole) - 1):
        steps = drive(summary(CALL, text, "", extent), ScriptedPorts(answers), Cancel())
        shown = [event for _ in range(stop) for event in next(steps)]
        with pytest.raises(Cancelled) as caught:
            steps.throw(Cancelled("Stopped."))
        assert caught.value.partial is not None
        got = caught.value.partial.text
        if got.startswith("All"):
            assert "".join(each.text for each in shown if isinstance(each, TextDelta)).startswith("All")
            continue
        ended = {each.data["id"] for each in shown if isinstance(each, Progress) and each.kind == "step_end"}
        names = got.split("\n\n") if got else []
        assert {f"chunk_{each[1:]}" for each in names} >= ended
        assert names == sorted(names)


# ---- a megabyte


def test_a_megabyte_costs_flat_memory_and_the_reckoned_calls() -> None:
    text, extent = a_text(4_600, each=12), Extent(chunk=1500, parallel=4)
    assert len(text) > 1_000_000
    flow = summary(CALL, text, "", extent)
    tracemalloc.start()
    try:
        calls, prompt = _run_flat(flow, "word " * 49 + "end.")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    chunks = chunks_of(text, Extent(chunk=1500, overlap=250))
    assert calls == calls_for(chunks, 50 + len(("Part", "1:")), room_in(8192, prompt + 64, None))
    assert calls > chunks + 1
    assert peak < 3_000_000


def _run_flat(flow: Flow[Any], answer: str) -> tuple[int, int]:
    """The calls of a flow that gets this answer to each, and its first count; nothing is kept of them."""
    calls = prompt = 0
    value: Any = None
    while True:
        try:
            request = flow.send(value)
        except StopIteration:
            return calls, prompt
        value = None
        if isinstance(request, CountTokens):
            value = words(request.text)
            prompt = prompt or value
        elif isinstance(request, Generate):
            calls += 1
            value = Reply(text=answer, usage=Usage(1, 1, 2))
        elif isinstance(request, Together):
            calls += sum(_run_flat(each, answer)[0] for each in request.flows)
            value = [None] * len(request.flows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["", "short", "word " * 30, "x" * 300]),
            st.builds(Overloaded, st.just("Busy.")),
            st.builds(ContextTooLong, st.just("Long.")),
            st.builds(IdleTimeout, st.just("Slow.")),
            st.builds(AuthFailed, st.just("No key.")),
            st.just(Reply(text="cut", finish_reason="length")),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 12),
)
def test_whatever_the_model_does_it_ends_with_a_reply_or_a_typed_error(results: list[Any], paragraphs: int) -> None:
    extent = Extent(chunk=40, overlap=5, context=450)
    script = itertools.cycle(results)
    try:
        seen = send(summary(CALL, a_text(paragraphs, each=4), "", extent), lambda call: next(script))
    except LollmsError as error:
        partial = error.partial
    else:
        partial = seen.reply
        assert partial.text.strip()
    assert isinstance(partial, Reply)
