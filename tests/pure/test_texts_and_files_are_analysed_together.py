"""A question to a text and files: each is read to its end with a memory of its own, then there is one answer."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    InvalidRequest,
    LollmsError,
    Overloaded,
    StorageError,
    UpstreamFailed,
)
from lollms_core.flows.base import CountTokens, Generate, Request, RunTool
from lollms_core.flows.rolling import deep_analysis
from lollms_core.flows.rolling_plan import Sizes
from lollms_core.flows.rolling_words import AGGREGATE, FIND, Task
from lollms_core.testing.scripted import pieces
from lollms_core.types import GenerationCall, Message, Notice, Params, Progress, Reply, TextDelta
from tests.support.driving import DRIVERS, Outcome, Script, words
from tests.support.reading_on import drained
from tests.support.sending import Sent, send_with

CALL = GenerationCall((Message.user(""),), model="m")
TASK = Task(update=FIND, conclude=AGGREGATE, query="Who {did} it?")
SIZES = Sizes(context=2_000)


def story(count: int, name: str = "word") -> str:
    return " ".join(f"{name}{number} follows." for number in range(count))


def asked(call: GenerationCall) -> str:
    return call.messages[-1].text


def is_final(call: GenerationCall) -> bool:
    return asked(call).startswith(AGGREGATE)


def between(text: str, mark: str) -> str:
    return text.partition(f"<{mark}>\n")[2].partition(f"\n</{mark}>")[0]


def telling() -> Callable[[GenerationCall], Any]:
    """A model whose memory is the list of the places it has read."""

    def model(call: GenerationCall) -> Any:
        if is_final(call):
            return "It was the gardener."
        place = asked(call).partition("This is ")[2].partition(".\n")[0]
        before = between(asked(call), "memory")
        return f"{before} [{place}]".strip()

    return model


def analysed(
    text: str | None,
    files: Mapping[str, str | LollmsError],
    model: Callable[[GenerationCall], Any] | None = None,
    sizes: Sizes = SIZES,
    task: Task = TASK,
    call: GenerationCall = CALL,
) -> Sent:
    ask = model or telling()

    def answer(request: Request) -> Any:
        if isinstance(request, CountTokens):
            return len(pieces(request.text))
        if isinstance(request, RunTool):
            assert request.call.name == "read_file"
            return files[request.call.arguments["path"]]
        assert isinstance(request, Generate)
        return ask(request.call)

    return send_with(deep_analysis(call, text, tuple(files), task, sizes), answer)


def order_of(sent: Sent) -> list[str]:
    """What was asked for, in its order."""
    found = []
    for each in sent.requests:
        if isinstance(each, RunTool):
            found.append(each.call.arguments["path"])
        elif isinstance(each, Generate):
            found.append("answer" if is_final(each.call) else asked(each.call).partition("This is ")[2].split(".\n")[0])
    return found


def warnings_of(sent: Sent) -> list[str]:
    return [event.text for event in sent.shown if isinstance(event, Notice) and event.level == "warning"]


# ---- what is read, and what it costs


def test_a_file_is_read_just_before_its_chunks_and_each_source_has_its_own_memory() -> None:
    sent = analysed(story(10), {"/x/a.txt": story(400, "a"), "/x/b.txt": story(10, "b")})
    assert order_of(sent) == [
        "chunk 1 of 1",
        "/x/a.txt",
        "chunk 1 of 2 of file 1 (a.txt)",
        "chunk 2 of 2 of file 1 (a.txt)",
        "/x/b.txt",
        "chunk 1 of 1 of file 2 (b.txt)",
        "answer",
    ]
    assert [between(asked(call), "memory") for call in sent.calls[:-1]] == [
        "",
        "",
        "[chunk 1 of 2 of file 1 (a.txt)]",
        "",
    ]
    final = asked(sent.calls[-1])
    assert "Who {did} it?" in final
    assert "Source: the text\n\n[chunk 1 of 1]" in final
    assert "Source: file 1 (a.txt)\n\n[chunk 1 of 2 of file 1 (a.txt)] [chunk 2 of 2 of file 1 (a.txt)]" in final
    assert sent.value.text == "It was the gardener."


@pytest.mark.parametrize("files", [1, 2, 5])
def test_it_costs_one_call_for_each_chunk_of_each_source_and_one_for_the_answer(files: int) -> None:
    sent = analysed(None, {f"{number}.txt": story(400) for number in range(files)})
    assert len(sent.calls) == 2 * files + 1
    assert len(sent.tools) == files


def test_every_file_is_read_to_its_end() -> None:
    sent = analysed(None, {"a": story(2_000, "a"), "b": story(1_500, "b")}, sizes=Sizes(2_000, overlap=0))
    read = "".join(between(asked(call), "chunk") for call in sent.calls)
    assert read == story(2_000, "a") + story(1_500, "b")


def test_one_file_at_a_time_is_in_memory() -> None:
    size = 200_000
    most = {files: _peak(files, size) for files in (2, 4)}
    assert most[2] > size * 0.9
    assert most[4] < most[2] + size / 2


def _peak(files: int, size: int) -> int:
    """The bytes that an analysis of so many files takes at most."""

    def answer(request: Request) -> Any:
        if isinstance(request, CountTokens):
            return request.text.count(" ") + 1
        if isinstance(request, RunTool):
            return "word follows. " * (size // 14)
        return Reply("found") if isinstance(request, Generate) else None

    paths = [str(number) for number in range(files)]
    tracemalloc.start()
    try:
        assert drained(deep_analysis(CALL, None, paths, TASK, Sizes(4_000)), answer).text == "found"
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_model_is_told_no_folder_of_this_machine() -> None:
    files = {"/home/me/secret/a.txt": story(400), "C:\\Users\\me\\b.txt": story(10), "/home/me/c\nd.txt": story(10)}
    sent = analysed(None, files)
    said = "\n".join(asked(call) for call in sent.calls)
    assert "secret" not in said
    assert "Users" not in said
    assert "file 2 (b.txt)" in said
    assert "file 3 (c d.txt)" in said


def test_steps_of_files_have_their_own_ids_and_the_fraction_only_grows() -> None:
    sent = analysed(story(400), {"a": story(400), "b": ""})
    steps = [event for event in sent.shown if isinstance(event, Progress) and event.kind.startswith("step_")]
    assert [event.data["id"] for event in steps if event.kind == "step_start"] == [
        "chunk_1",
        "chunk_2",
        "file_1_chunk_1",
        "file_1_chunk_2",
        "final_synthesis",
    ]
    fractions = [event.fraction for event in steps]
    assert None not in fractions
    assert fractions == sorted(fractions)  # type: ignore[type-var]
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert {event.data.get("file") for event in steps} == {None, "a"}


# ---- what cannot be read


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_analysed() -> None:
    sent = analysed(None, {"/x/a": StorageError("/x/a cannot be read: no such file."), "/x/b": story(10)})
    assert len(sent.calls) == 2
    assert warnings_of(sent) == ["/x/a cannot be read: no such file."]
    assert [(each.name, each.action) for each in sent.value.receipt] == [("/x/a", "dropped")]
    assert sent.value.text.startswith("It was the gardener.\n\n[Missing here")
    assert "file 1 (/x/a cannot be read" in sent.value.text


def test_where_no_file_can_be_read_the_first_error_is_raised_and_nothing_is_asked() -> None:
    first = StorageError("first")
    sent = analysed(None, {"a": first, "b": InvalidRequest("second")})
    assert sent.error is first
    assert sent.calls == []


@pytest.mark.parametrize(
    ("text", "files", "query", "param"),
    [(None, {}, "Who?", "text"), ("x", {}, " ", "query"), (3, {}, "Who?", "text"), ("x", {}, 3, "query")],
)
def test_what_cannot_be_analysed_is_refused(text: Any, files: dict[str, str], query: Any, param: str) -> None:
    sent = analysed(text, files, task=msgspec.structs.replace(TASK, query=query))
    assert isinstance(sent.error, InvalidRequest)
    assert sent.error.param == param
    assert sent.calls == []


@pytest.mark.parametrize(("text", "files"), [("", {}), (" \n", {}), (None, {"a": "", "b": "\n"}), ("", {"a": " "})])
def test_sources_without_words_cost_no_call(text: str | None, files: dict[str, str | LollmsError]) -> None:
    sent = analysed(text, files)
    assert sent.value.text == ""
    assert sent.calls == []


# ---- findings


def test_findings_that_are_too_many_for_one_call_are_put_together_in_groups() -> None:
    def model(call: GenerationCall) -> Any:
        if is_final(call):
            return "It was the gardener."
        merged = asked(call).startswith("Here is what was found")
        return " ".join(["merged" if merged else "found"] * 350)

    sent = analysed(None, {str(number): story(5) for number in range(7)}, model)
    merges = [call for call in sent.calls if asked(call).startswith("Here is what was found")]
    assert sent.value.text == "It was the gardener."
    assert len(sent.calls) == 7 + len(merges) + 1
    assert 3 <= len(merges) <= 7
    for each in sent.calls:
        prompt = sum(len(pieces(message.text)) for message in each.messages)
        assert prompt + (each.params.max_tokens or 0) <= (each.params.ctx_size or 0) <= 2_000
    sources = "".join(asked(call) for call in merges)
    assert all(f"Source: file {number} ({number - 1})" in sources for number in range(1, 8))


@pytest.mark.parametrize("wrote", [0, 1, 350, 5_000])
@pytest.mark.parametrize("fails", [False, True])
def test_putting_together_ends_whatever_the_model_does(wrote: int, fails: bool) -> None:
    def model(call: GenerationCall) -> Any:
        if asked(call).startswith("Here is what was found"):
            return Overloaded("busy") if fails else " ".join(["merged"] * wrote)
        return "The end." if is_final(call) else " ".join(["found"] * 350)

    sent = analysed(None, {str(number): story(5) for number in range(9)}, model, call=_limited(400))
    assert sent.error is None
    assert sent.value.text.startswith("The end.")
    assert len(sent.calls) <= 9 + 2 * 9 + 1


def _limited(tokens: int) -> GenerationCall:
    return msgspec.structs.replace(CALL, params=Params(max_tokens=tokens))


def test_where_nothing_was_found_no_answer_is_made_up() -> None:
    sent = analysed(story(5), {"a": story(5)}, lambda call: "")
    assert isinstance(sent.error, UpstreamFailed)
    assert not any(is_final(call) for call in sent.calls)


def test_an_error_that_all_would_have_ends_it_with_the_findings_so_far() -> None:
    def model(call: GenerationCall) -> Any:
        return AuthFailed("no") if "file 1" in asked(call) else "found it"

    sent = analysed(story(5), {"a": story(5), "b": story(5)}, model)
    assert isinstance(sent.error, AuthFailed)
    assert sent.error.partial is not None
    assert sent.error.partial.text == "found it"
    assert [each.arguments["path"] for each in sent.tools] == ["a"]


# ---- what is shown, and a stop


class _Answers(dict[str, list[Any]]):
    """What a model says to any prompt."""

    def __missing__(self, prompt: str) -> list[Any]:
        if prompt.startswith(AGGREGATE):
            return words("This is it.")
        return words(f"found in {prompt.partition('This is chunk ')[2].partition('.')[0]}")


def driven(driver: str, stop: int | None = None, way: str = "throw") -> Outcome:
    script = Script(_Answers(), {"read_file": [story(400)]})
    make = lambda: deep_analysis(CALL, story(5), ("a", "b"), TASK, SIZES)  # noqa: E731
    return DRIVERS[driver](make, script, stop, way)


@pytest.mark.parametrize("driver", DRIVERS)
def test_findings_are_hidden_and_the_answer_is_shown(driver: str) -> None:
    outcome = driven(driver)
    texts = [event.text for batch in outcome.shown for event in batch if isinstance(event, TextDelta)]
    assert "".join(texts) == outcome.value.text == "This is it. "


@pytest.mark.parametrize("way", ["throw", "token"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_stopped_at_any_event_there_are_the_findings_so_far(driver: str, way: str) -> None:
    found: list[Reply] = []
    shown = len(driven(driver).shown)
    for stop in range(1, shown + 1):
        outcome = driven(driver, stop, way)
        log = [what for what, _ in outcome.log]
        assert log.count("opened") == log.count("closed")
        if outcome.error is None:
            assert stop >= shown - 2
            continue
        assert outcome.error is Cancelled
        assert outcome.partial is not None
        found.append(outcome.partial)
    assert {each.finish_reason for each in found} == {"cancelled"}
    texts = list(dict.fromkeys(each.text for each in found))
    assert texts[:2] == ["", "found in 1 of 1"]
    findings = [each for each in texts if "found in" in each]
    assert findings[-1].endswith("file 2 (b):\n\nfound in 2 of 2 of file 2 (b)")
    assert _only_grow([each.count("found") + each.count(":\n\n") for each in findings])
    assert texts[-1] in ("This is ", "This is it. ")


def _only_grow(numbers: Sequence[int]) -> bool:
    return list(numbers) == sorted(numbers)
