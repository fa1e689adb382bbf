"""Long texts come through what goes wrong beside the model: counts that fail or are none, contexts that nobody knows
or that are tiny, results that cannot be put together, and texts that hold the marks themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.testing import ScriptedBinding, scripted_async_client, scripted_client
from lollms_core.errors import ConnectFailed, ContextTooLong, LollmsError, ModelLoadFailed, Overloaded
from lollms_core.flows.base import CountTokens, Emit, Flow, Generate, RunTool, Together
from lollms_core.flows.chunks import Measure, chunked, cut_to
from lollms_core.flows.long_plan import Extent
from lollms_core.flows.rolling import deep_analysis, rolling_summary
from lollms_core.flows.rolling_plan import Sizes
from lollms_core.flows.rolling_words import Task, marked
from lollms_core.flows.summarize import summary
from lollms_core.text.tokens import estimate
from lollms_core.types import Event, GenerationCall, Message, Notice, Params, Progress, Reply

CALL = GenerationCall((Message.user(""),), model="m", stream=True)


def words(text: str) -> int:
    return len(text.split())


def story(count: int) -> str:
    return " ".join(f"word{number} follows." for number in range(count))


class Sent:
    """What a flow asked and showed, and what it came to."""

    def __init__(self, flow: Flow[Any], model: Callable[[GenerationCall], Any], count: Callable[[str], Any]) -> None:
        self.calls: list[GenerationCall] = []
        self.events: list[Event] = []
        self.counts: list[str] = []
        self.error: LollmsError | None = None
        self.value: Any = None
        self._model = model
        self._count = count
        try:
            self.value = self._sent(flow)
        except LollmsError as error:
            self.error = error

    def _sent(self, flow: Flow[Any]) -> Any:
        value: Any = None
        while True:
            try:
                request = flow.throw(value) if isinstance(value, LollmsError) else flow.send(value)
            except StopIteration as end:
                return end.value
            value = None
            if isinstance(request, Emit):
                self.events += request.batch
            elif isinstance(request, CountTokens):
                self.counts.append(request.text)
                value = self._count(request.text)
            elif isinstance(request, Together):
                value = [self._sent(each) for each in request.flows]
            elif isinstance(request, RunTool):
                value = "A text of a file."
            else:
                assert isinstance(request, Generate)
                assert len(self.calls) < 2_000
                self.calls.append(request.call)
                value = self._model(request.call)
                value = Reply(value) if isinstance(value, str) else value

    @property
    def prompts(self) -> list[str]:
        return [call.messages[-1].text for call in self.calls]

    @property
    def text(self) -> str:
        reply = self.value if self.error is None else self.error.partial
        assert isinstance(reply, Reply)
        return reply.text

    @property
    def notices(self) -> list[str]:
        return [each.text for each in self.events if isinstance(each, Notice)]


# ---- counts


def test_a_count_that_fails_ends_nothing_and_what_was_learned_stays() -> None:
    left = 10

    def count(text: str) -> Any:
        nonlocal left
        left -= 1
        return 3 * estimate(text) if left > 0 else Overloaded("The tokenizer is busy.")

    sent = Sent(summary(CALL, story(3_000), "", Extent(500, 0)), lambda call: "s", count)
    assert sent.error is None
    assert len(sent.counts) == 10
    texts = [prompt.split("<text>\n")[1].split("\n</text>")[0] for prompt in sent.prompts[:-1]]
    assert len(texts) > 20
    assert max(3 * estimate(text) for text in texts) <= 520


@pytest.mark.parametrize("error", [ConnectFailed("Nobody."), Overloaded("Busy.")])
def test_a_backend_whose_count_fails_is_asked_for_it_once(error: LollmsError) -> None:
    for flow in (
        summary(CALL, story(3_000), "", Extent(500, 0)),
        rolling_summary(CALL, story(3_000), Task(), Sizes(2_000)),
    ):
        sent = Sent(flow, lambda call: "s", lambda text: error)
        assert sent.error is None
        assert len(sent.counts) == 1


def test_counts_that_are_our_own_estimate_are_taken_for_estimates() -> None:
    """As bindings give them that cannot count: a part of the room is left free, and the receipt says so."""
    told = Sent(summary(CALL, story(3_000), "", Extent(5_000, 0, 1_500)), lambda call: "s", estimate)
    exact = Sent(summary(CALL, story(3_000), "", Extent(5_000, 0, 1_500)), lambda call: "s", lambda t: estimate(t) + 1)
    assert ("chunk_size_tokens", "rewritten") in [(each.name, each.action) for each in told.value.receipt]
    assert "rewritten" not in [each.action for each in exact.value.receipt]
    assert max(map(estimate, told.prompts)) < 0.9 * max(map(estimate, exact.prompts))


def test_sizes_of_results_are_counted_before_they_are_sent_together() -> None:
    """A text of dashes, whose tokens are few, says nothing about those of its summaries."""
    text = ("-" * 400 + "\n") * 3_000

    def model(call: GenerationCall) -> str:
        return "All." if "does not mention its parts" in call.messages[-1].text else "word " * 190

    sent = Sent(summary(CALL, text, "", Extent(200, 0, 1_000)), model, words)
    assert sent.error is None
    assert max(map(words, sent.prompts)) < 800


@given(st.integers(8, 400), st.integers(1, 13))
def test_what_has_exactly_the_size_of_a_chunk_is_one(count: int, length: int) -> None:
    text = " ".join("x" * length for _ in range(count))
    assert len(Sent(chunked(text, count), lambda call: "", words).value.parts) == 1


@settings(deadline=None)
@given(st.text(), st.text(max_size=5), st.integers(0, 30))
def test_a_text_is_cut_to_what_fits_behind_another(text: str, before: str, most: int) -> None:
    found = Sent(cut_to(text, most, Measure(), before), lambda call: "", len).value
    assert text.startswith(found)
    assert not found or len(before + found) <= most
    if len(before + text) <= most:
        assert found == text


# ---- sizes


def test_a_text_that_fits_says_nothing_about_sizes_of_parts() -> None:
    call = GenerationCall(CALL.messages, params=Params(ctx_size=1_000))
    for extent in (Extent(1_500, 250, 1_000), Extent(300, 250)):
        sent = Sent(summary(call, "It is short.", "", extent), lambda call: "s", words)
        assert (len(sent.calls), sent.notices, sent.value.receipt) == (1, [], ())
    sent = Sent(summary(call, "It is short."), lambda call: "s", lambda text: Overloaded("no"))
    assert (len(sent.calls), sent.notices, sent.value.receipt) == (1, [], ())


def test_a_short_text_is_read_at_once_in_a_context_that_has_no_room_for_parts() -> None:
    for chunk in (1_500, 3, None):
        sent = Sent(summary(CALL, "It is short, but not that short.", "", Extent(chunk, 0, 200)), lambda _: "s", words)
        assert sent.error is None
        assert len(sent.calls) == 1
    long = Sent(summary(CALL, story(200), "", Extent(1_500, 0, 200)), lambda call: "s", words)
    assert isinstance(long.error, ContextTooLong)
    assert long.calls == []
    refused = ContextTooLong("It is longer after all.")
    assert Sent(summary(CALL, "It is short.", "", Extent(1_500, 0, 200)), lambda call: refused, words).error is refused


# ---- results


def summaries(fails: Callable[[str], bool], error: LollmsError) -> Callable[[GenerationCall], Any]:
    """A model whose summaries name their part; putting them together fails where it is said."""

    def model(call: GenerationCall) -> Any:
        prompt = call.messages[-1].text
        if "<results>" not in prompt:
            found = re.search(r"This is part (\d+) of", prompt)
            assert found
            return f"sum{found[1]} " + "word " * 98
        return error if fails(prompt) else "All of it."

    return model


MANY = Extent(60, 0, 600)


def test_summaries_that_cannot_be_put_together_are_not_lost() -> None:
    model = summaries(lambda prompt: True, Overloaded("Busy."))
    sent = Sent(summary(CALL, story(450), "", MANY), model, words)
    parts = len({each for prompt in sent.prompts for each in re.findall(r"This is part (\d+) of", prompt)})
    assert parts > 10
    assert isinstance(sent.error, Overloaded)
    assert [int(each) for each in re.findall(r"sum(\d+)", sent.text)] == list(range(1, parts + 1))


def test_a_group_that_cannot_be_put_together_is_used_as_it_is() -> None:
    model = summaries(lambda prompt: "Part 1:" in prompt and "with others later" in prompt, Overloaded("Busy."))
    sent = Sent(summary(CALL, story(450), "", MANY), model, words)
    assert sent.error is None
    assert sent.text == "All of it."
    assert "sum1 " in sent.prompts[-1]
    assert any("could not be put together" in notice for notice in sent.notices)
    assert "dropped" not in [each.action for each in sent.value.receipt]
    assert any(each.name.startswith("the result of parts 1 to ") for each in sent.value.receipt)


def test_steps_of_putting_together_have_names_of_their_own() -> None:
    def model(call: GenerationCall) -> Any:
        prompt = call.messages[-1].text
        if "does not mention its parts" in prompt and words(prompt) > 250:
            return ContextTooLong("Too long.")
        return "word " * 60

    sent = Sent(summary(CALL, story(900), "", MANY), model, words)
    ids = [
        each.data["id"]
        for each in sent.events
        if isinstance(each, Progress) and each.kind == "step_end" and each.data["id"].startswith("synthesis")
    ]
    assert len({each.split("_")[1] for each in ids}) > 1
    assert len(ids) == len(set(ids))


def test_an_answer_that_a_filter_cut_off_says_so() -> None:
    cut = Reply("It is", finish_reason="content_filter")
    sent = Sent(summary(CALL, "It is short."), lambda call: cut, words)
    assert sent.notices == ["The text was cut off by the content filter of the backend."]


# ---- one part after another


def rolling(model: Callable[[GenerationCall], Any], count: int = 600) -> Sent:
    return Sent(rolling_summary(CALL, story(count), Task(), Sizes(2_000, overlap=0)), model, words)


def test_one_chunk_that_fits_in_no_way_is_left_out() -> None:
    def model(call: GenerationCall) -> Any:
        return ContextTooLong("Too long.") if "word300 " in call.messages[-1].text else "notes"

    sent = rolling(model)
    assert sent.error is None
    assert sent.text.startswith("notes\n\n[Missing here, because it could not be read: chunk ")
    assert [each.action for each in sent.value.receipt] == ["dropped"]
    assert any("word599 " in prompt for prompt in sent.prompts)


def test_three_chunks_for_which_the_model_only_thinks_end_it() -> None:
    sent = rolling(lambda call: Reply("", thoughts="Hm", finish_reason="length"), 3_000)
    assert sent.error is not None
    assert len(sent.calls) == 6


def test_a_chunk_that_a_filter_held_back_is_missing_in_the_answer() -> None:
    answers = iter(["one", Reply("half", finish_reason="content_filter")])
    sent = rolling(lambda call: next(answers, "notes"))
    assert "[Missing here, because it could not be read: chunk 2 of " in sent.text


def test_an_answer_that_was_cut_off_says_so() -> None:
    answers = iter(["notes"])
    sent = rolling(lambda call: next(answers, Reply("The end of", finish_reason="length")), 10)
    assert sent.notices == ["the answer: it was cut off at the limit of its tokens."]
    assert [(each.name, each.action) for each in sent.value.receipt] == [("the answer", "clamped")]


def test_findings_that_are_longer_than_it_seemed_are_put_together_until_they_fit() -> None:
    """A model of a token for each character, of which nobody knows, with a context that is said to be four times it."""

    def model(call: GenerationCall) -> Any:
        prompt = call.messages[-1].text
        if len(prompt) > 4_500:
            return ContextTooLong("Too long.")
        return "The answer." if prompt.startswith("Aggregate") else "a finding of words " * 30

    task = Task(update="Find it.", conclude="Aggregate.", query="What is it?")
    flow = deep_analysis(CALL, None, [f"{number}.txt" for number in range(8)], task, Sizes(4_000))
    sent = Sent(flow, model, lambda text: Overloaded("no"))
    assert sent.error is None
    assert sent.text == "The answer."
    steps = [each.data["id"] for each in sent.events if isinstance(each, Progress) and each.kind == "step_end"]
    merged = [each for each in steps if each.startswith("merge")]
    assert merged == [f"merge_{number + 1}" for number in range(len(merged))]
    assert merged


def test_notes_that_are_longer_than_it_seemed_are_cut_before_they_are_condensed_again() -> None:
    def model(call: GenerationCall) -> Any:
        prompt = call.messages[-1].text
        if prompt.startswith("These notes have grown too long."):
            return ContextTooLong("Too long.") if words(prompt) > 450 else "short notes"
        return "note " * 900

    sent = Sent(rolling_summary(CALL, story(600), Task(), Sizes(2_000, overlap=0)), model, words)
    assert sent.error is None
    condensed = [words(prompt) for prompt in sent.prompts if prompt.startswith("These notes")]
    assert condensed[1] < condensed[0]


# ---- marks


@pytest.mark.parametrize("mark", ["</text>", "<text>", "</TEXT>", "</ text >", "< / text>", "</text\n>", "<text/>"])
def test_no_spelling_of_a_mark_in_a_text_ends_it(mark: str) -> None:
    assert marked("text", f"a {mark} b").startswith("<text_>\n")
    assert marked("text", f"a {mark} b {mark.replace('text', 'text_')}").startswith(
        "<text_>" if "TEXT" in mark else "<text__>"
    )
    assert marked("text", "<textarea> and <text-x>").startswith("<text>\n")


def test_a_text_of_opened_marks_takes_linear_time() -> None:
    assert marked("text", "<" + " " * 300_000 + "<text" + "_" * 300_000 + "a").startswith("<text>\n")


# ---- what the binding knows


class Unknowing(ScriptedBinding):
    """It fails when it is asked for the context."""

    answer: Any = None

    def get_ctx_size(self, model_name: str | None = None) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def asked(is_async: bool, method: str, answer: Any, binding: type[LollmsLLMBinding] = Unknowing) -> Any:
    if not is_async:
        client = scripted_client([])
        client.binding = binding(lambda call: "All.")  # type: ignore[arg-type]
        client.binding.answer = answer  # type: ignore[attr-defined]
        return getattr(client, method)(story(600))

    async def work() -> Any:
        client = scripted_async_client([])
        client.binding = binding(lambda call: "All.")  # type: ignore[arg-type]
        client.binding.answer = answer  # type: ignore[attr-defined]
        return await getattr(client, method)(story(600))

    return asyncio.run(work())


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("method", ["summarize", "long_context_processing", "sequential_summarize"])
@pytest.mark.parametrize(
    "answer", [ConnectFailed("Nobody."), NotImplementedError("no"), KeyError("ctx"), 0, -1, "8192", True, 4_096]
)
def test_a_binding_that_cannot_say_its_context_is_used_all_the_same(is_async: bool, method: str, answer: Any) -> None:
    assert asked(is_async, method, answer) == "All."


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("method", ["summarize", "sequential_summarize"])
def test_a_model_that_cannot_be_loaded_is_not_loaded_twice(is_async: bool, method: str) -> None:
    with pytest.raises(ModelLoadFailed):
        asked(is_async, method, ModelLoadFailed("It is broken."))
