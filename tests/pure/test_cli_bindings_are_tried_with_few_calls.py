"""What `lollms bindings test` concludes from answers, refusals and failures of a subject that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from lollms_cli.bindings_probes import Finding, probe
from lollms_core.errors import (
    AuthFailed,
    ContextTooLong,
    EngineCrashed,
    LollmsError,
    Overloaded,
    Refused,
    UnknownModel,
    UnsupportedFeature,
)
from lollms_core.types import (
    Batch,
    Done,
    GenerationCall,
    ReceiptItem,
    TextDelta,
    ThoughtDelta,
    ToolCallDelta,
    Usage,
)

Answer = Iterable[Batch] | LollmsError


def text(*pieces: str, **more: Any) -> list[Batch]:
    return [*((TextDelta(piece),) for piece in pieces), (Done("stop", Usage(1, 1), "m", **more),)]


def obedient(call: GenerationCall) -> Answer:
    """A model that can do everything."""
    if call.tools:
        delta = ToolCallDelta(0, "id", call.tools[0].name, json.dumps({"city": "Paris"}))
        note = ReceiptItem("tools", "rewritten", "told in the prompt")
        return [(delta, Done("tool_calls", receipt=(note,)))]
    if call.schema is not None:
        return text('{"sum": ', "5}")
    if call.messages[0].role == "system":
        return text("Pineapple!")
    return text("Hel", "lo.")


class Scripted:
    """A subject; `answer` is asked for each call, the rest is as given, errors are raised."""

    def __init__(self, answer: Callable[[GenerationCall], Answer] = obedient, **given: Any) -> None:
        self.answer = answer
        self.given = {"models": ["one", "two"], "sees": True, "embed": [1.0, 2.0], "count": (9, True), **given}
        self.model = str(given.get("model", "one"))
        self.has_key: bool | None = given.get("has_key", True)
        self.calls: list[GenerationCall] = []

    def _said(self, name: str) -> Any:
        if isinstance(said := self.given[name], LollmsError):
            raise said
        return said

    async def models(self) -> list[str]:
        return list(self._said("models"))

    async def sees(self) -> bool:
        return bool(self._said("sees"))

    async def embed(self, text: str) -> Sequence[float]:
        return list(self._said("embed"))

    async def count(self, text: str) -> tuple[int, bool]:
        count, exact = self._said("count")
        return count, exact

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        self.calls.append(call)
        answer = self.answer(call)
        if isinstance(answer, LollmsError):
            raise answer

        async def batches() -> AsyncIterator[Batch]:
            for batch in answer:
                yield batch

        yield batches()

    def in_words(self, error: LollmsError) -> str:
        return str(error)


def tried(subject: Scripted) -> tuple[bool, dict[str, Finding]]:
    found: list[Finding] = []
    works = asyncio.run(probe(subject, found.append))
    assert len({each.name for each in found}) == len(found), "each thing is said once"
    assert all(each.seconds >= 0 and each.words for each in found)
    return works, {each.name: each for each in found}


def test_a_binding_that_can_do_everything() -> None:
    subject = Scripted()
    works, found = tried(subject)
    assert works and [each.state for each in found.values()] == ["ok"] * 11
    assert found["tools"].words == 'called get_weather({"city": "Paris"}), rewritten: told in the prompt'
    assert found["streaming"].words == "2 pieces"
    assert found["tokens"].words.endswith("exact")
    assert len(subject.calls) == 6
    assert all(call.params.max_tokens is not None and call.params.max_tokens <= 50 for call in subject.calls)
    assert {call.model for call in subject.calls} == {"one"}


def test_a_binding_that_can_only_answer_works() -> None:
    def plain(call: GenerationCall) -> Answer:
        if call.tools or call.schema is not None:
            return UnsupportedFeature("It cannot do this.")
        return text("Hello.")

    no = UnsupportedFeature("It has none.")
    works, found = tried(Scripted(plain, models=no, sees=no, embed=no, count=(12, False)))
    assert works
    states = {name: each.state for name, each in found.items()}
    assert states == {
        **dict.fromkeys(["models", "streaming", "system prompt", "tools", "JSON Schema", "embeddings"], "no"),
        "images": "-",
        **dict.fromkeys(["reachable", "key", "text", "tokens"], "ok"),
    }
    assert found["tools"].words == "It cannot do this." and found["images"].words.startswith("not tried")


@pytest.mark.parametrize("error", [Refused("Nobody."), EngineCrashed("It crashed.")])
def test_nobody_there_ends_it_at_once(error: LollmsError) -> None:
    subject = Scripted(models=error)
    works, found = tried(subject)
    assert not works and list(found) == ["reachable"] and not subject.calls
    assert found["reachable"] == Finding("reachable", "bad", found["reachable"].seconds, str(error))


def test_nobody_there_is_seen_by_the_first_call_where_models_are_not_asked_for() -> None:
    works, found = tried(Scripted(lambda call: Refused("Nobody."), models=UnsupportedFeature("No list.")))
    assert not works and [(each.name, each.state) for each in found.values()] == [
        ("models", "no"),
        ("reachable", "bad"),
    ]


@pytest.mark.parametrize("place", ["models", "answer"])
def test_a_wrong_key_is_told_apart_and_nothing_more_is_asked(place: str) -> None:
    error = AuthFailed("The key was refused.")
    subject = Scripted(models=error) if place == "models" else Scripted(lambda call: error)
    works, found = tried(subject)
    assert not works and found["key"].state == "bad" and "text" not in found
    assert found["reachable"].state == "ok" and len(subject.calls) <= 1


@pytest.mark.parametrize("error", [UnknownModel("No model x."), Overloaded("Busy."), ContextTooLong("Too long.")])
def test_no_text_ends_it_in_words(error: LollmsError) -> None:
    subject = Scripted(lambda call: error)
    works, found = tried(subject)
    assert not works and found["text"].words == str(error) and len(subject.calls) == 1


@pytest.mark.parametrize(
    ("batches", "state", "words"),
    [
        ([(Done("stop"),)], "bad", "the answer is empty"),
        ([(ThoughtDelta("Hm."), Done("stop"))], "ok", "went into thoughts"),
        ([(Done("length"),)], "ok", "went into thoughts"),
        (text("x" * 500), "ok", "..."),
        (text(" a\n\x1b[2J b "), "ok", r"it says 'a \x1b[2J b'"),
    ],
)
def test_what_counts_as_an_answer(batches: list[Batch], state: str, words: str) -> None:
    works, found = tried(Scripted(lambda call: batches))
    assert works == (state == "ok")
    assert found["text"].state == state and words in found["text"].words and len(found["text"].words) < 120


@pytest.mark.parametrize(
    "said", ["5", '{"sum": "5"}', '{"sum": true}', '{"sum": 5, "x": 1}', "[" * 5000, "", '{"sum": 5']
)
def test_a_schema_is_obeyed_or_not(said: str) -> None:
    _, found = tried(Scripted(lambda call: text(said) if call.schema is not None else obedient(call)))
    assert found["JSON Schema"].state == "no" and found["JSON Schema"].words.startswith("not obeyed")


def test_failures_after_the_text_are_said_and_the_rest_goes_on() -> None:
    def breaking(call: GenerationCall) -> Answer:
        return Overloaded("Busy.") if call.stream or call.tools else obedient(call)

    works, found = tried(Scripted(breaking))
    assert works and found["streaming"].state == found["tools"].state == "bad"
    assert found["JSON Schema"].state == "ok"


def test_the_only_model_is_taken_where_none_is_named_and_no_other() -> None:
    one = Scripted(models=["alone"], model="")
    tried(one)
    assert {call.model for call in one.calls} == {"alone"}
    several = Scripted(model="")
    tried(several)
    assert {call.model for call in several.calls} == {""}


@pytest.mark.parametrize(("has_key", "words"), [(True, "accepted"), (False, "none is sent, and none is asked for")])
def test_what_is_said_of_keys(has_key: bool, words: str) -> None:
    assert tried(Scripted(has_key=has_key))[1]["key"].words == words
    assert "key" not in tried(Scripted(has_key=None))[1]


def test_who_never_stops_is_not_listened_to_for_ever() -> None:
    read = 0

    def endless() -> Iterator[Batch]:
        nonlocal read
        while True:
            read += 1
            yield (ThoughtDelta("hm " * 100),) if read % 2 else (TextDelta("more " * 100),)

    works, found = tried(Scripted(lambda call: endless()))
    assert works and "more than the 48 tokens that were asked for" in found["text"].words
    assert read < 1000
    assert tried(Scripted())[1]["text"].words.endswith("from m")
