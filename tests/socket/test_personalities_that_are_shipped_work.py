"""The personalities that come with the server do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.text.tokens import estimate
from lollms_core.types import GenerationCall, Message, Params
from lollms_runtime.scripted import Script
from lollms_server.core.bindings import Binding
from tests.support.personalities import answer_of, serving
from tests.support.server import PortsBinding, Served

CONTEXT = 1200


class Small(PortsBinding):
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": model_name, "context_size": CONTEXT}


def reply(call: GenerationCall) -> str:
    said = call.messages[-1].text
    if "word word" in said:
        return f"a note of {said.count('word')} words"
    return "Answer." if said.endswith(("Summary:", "Final answer:")) or "a note of" in said else "words"


@pytest.fixture
def script() -> Script:
    return Script(reply)


@pytest.fixture
def server(script: Script) -> Iterator[Served]:
    bindings: dict[str, Binding] = {"main": Small(script), "other": PortsBinding(script, model="o")}
    with serving({}, bindings) as served:
        yield served


def test_simple_ones_give_the_model_their_instructions_and_parameters(server: Served, script: Script) -> None:
    for name, params in (("lollms", Params()), ("translator", Params(temperature=0.2, top_p=0.9))):
        answer = answer_of(server, name, "French: hello")
        assert answer.status == 200, answer
        personality = server.services.personalities.get(name)
        assert script.calls[-1].messages == (Message.system(personality.conditioning), Message.user("French: hello"))
        assert script.calls[-1].params == params


def test_a_short_text_is_summarised_at_once(server: Served, script: Script) -> None:
    answer = answer_of(server, "summarizer", "A short text.")
    assert answer.json()["output"][0]["data"] == "Answer."
    (call,) = script.calls
    assert "-----\nA short text.\n-----" in call.messages[-1].text
    assert call.messages[0].role == "system" and call.params.temperature == 0.3


def test_a_long_text_is_read_in_parts_that_fit_and_nothing_of_it_is_lost(server: Served, script: Script) -> None:
    text = "\n\n".join(f"{number}: " + " ".join(["word"] * 30) for number in range(100))
    events = answer_of(server, "summarizer", text, stream=True).events()
    steps = [event["metadata"]["data"]["id"] for event in events if event["metadata"].get("kind") == "step_start"]
    parts = [call for call in script.calls if "word word" in call.messages[-1].text]
    assert events[-1]["content"][0]["data"] == "Answer."
    assert len(parts) >= 5 and [f"chunk_{number}" for number in range(1, len(parts) + 1)] == sorted(
        (step for step in steps if step.startswith("chunk_")), key=lambda step: int(step[6:])
    )
    asked = "\n".join(call.messages[-1].text for call in parts)
    assert all(f"{number}: word" in asked for number in range(100))
    assert all(estimate("".join(message.text for message in call.messages)) < CONTEXT for call in script.calls)
    assert "a note of" in script.calls[-1].messages[-1].text


def test_a_summary_of_nothing_says_so_and_one_of_unbreakable_text_ends(server: Served, script: Script) -> None:
    assert "no text" in answer_of(server, "summarizer", "  ").json()["output"][0]["data"]
    assert not script.calls
    assert answer_of(server, "summarizer", "字" * 5000).json()["output"][0]["data"] == "words"
    assert len(script.calls) > 3
    assert all(estimate(call.messages[-1].text) < CONTEXT for call in script.calls)


def test_the_example_shows_a_function_another_binding_information_and_a_stream(server: Served, script: Script) -> None:
    events = answer_of(server, "scripted_example", "Why is the sky blue?", stream=True).events()
    assert [event["content"] for event in events if event["type"] == "info"] == [
        "Writing a draft.",
        "Asking other for a second opinion.",
    ]
    assert events[-1]["content"][0]["data"] == "Answer."
    draft, opinion, final = script.calls
    assert (draft.params.max_tokens, draft.params.temperature, draft.model) == (200, 0.5, "m")
    assert opinion.model == "o"
    assert final.messages[-1].text.startswith("Today is ")
    assert "Remarks on the draft: words" in final.messages[-1].text
