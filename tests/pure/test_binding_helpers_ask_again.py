"""The documented helpers of a binding give what a program can use, ask again a few times, and else fail typed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lollms_core.errors import EngineError, StructuredOutputError
from tests.support.third_party_binding import Documented, make

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "integer"}},
        "kind": {"enum": ["a", "b"]},
        "size": {"type": ["number", "null"]},
    },
    "required": ["name"],
}
GOOD = '{"name": "x", "tags": [1, 2], "kind": "a", "size": 1.5}'


class Answering(Documented):
    """Gives the answers of its settings one after the other."""

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
        self.asked.append({"prompt": prompt, "params": params})
        return self.config["answers"][len(self.asked) - 1]


def binding(*answers: Any) -> Answering:
    made = make(Answering, answers=answers)
    assert isinstance(made, Answering)
    return made


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        f"Here you are:\n```json\n{GOOD}\n```\nAnything else?",
        f"<think>Is it {{}}?</think>{GOOD}",
        f"The answer is {GOOD}, as you wished.",
        {"text": GOOD, "metadata": {"x": 1}},
        [{"type": "text", "data": GOOD[:10]}, {"type": "text", "data": GOOD[10:]}],
    ],
)
def test_json_is_found_in_an_answer(answer: Any) -> None:
    got = asyncio.run(binding(answer).generate_structured_output("Say.", SCHEMA, {"temperature": 0}))
    assert got == {"name": "x", "tags": [1, 2], "kind": "a", "size": 1.5}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("No.", "no valid JSON"),
        ("{broken", "no valid JSON"),
        ("[]", "must be of type object"),
        ("{}", "no 'name'"),
        ('{"name": 5}', "the answer['name'] must be of type string"),
        ('{"name": "x", "tags": [1, "2"]}', "the answer['tags'][1] must be of type integer"),
        ('{"name": "x", "tags": [true]}', "must be of type integer"),
        ('{"name": "x", "kind": "c"}', "must be one of"),
    ],
)
def test_what_is_wrong_is_said_and_asked_again(answer: str, words: str) -> None:
    asked = binding(answer, GOOD)
    assert asyncio.run(asked.generate_structured_output("Say.", SCHEMA))["name"] == "x"
    assert words in asked.asked[1]["prompt"]
    failing = binding(*[answer] * 9)
    with pytest.raises(StructuredOutputError) as caught:
        asyncio.run(failing.generate_structured_output("Say.", SCHEMA))
    assert words in caught.value.message
    assert len(failing.asked) == 3


def test_all_code_blocks_are_given() -> None:
    asked = binding("none", "```python\nx = 1", "```python\nx = 1\n```\nand\n```js\ny\n```")
    blocks = asyncio.run(asked.generate_and_extract_all_codes("Write."))
    assert [(block["type"], block["content"]) for block in blocks] == [("python", "x = 1"), ("js", "y")]
    with pytest.raises(StructuredOutputError, match="no code block"):
        asyncio.run(binding("none").generate_and_extract_all_codes("Write.", max_retries=0))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("Yes.", True), ("no", False), ("**YES**", True), ("I would say no.", False), ("No, yes is wrong", False),
     ("<think>no?</think>\nyes", True)],
)  # fmt: skip
def test_yes_and_no_are_understood(answer: str, expected: bool) -> None:
    assert asyncio.run(binding(answer).ask_yes_no("Well?")) is expected


def test_neither_yes_nor_no_is_asked_again_and_fails_at_last() -> None:
    assert asyncio.run(binding("Perhaps.", "yes").ask_yes_no("Well?")) is True
    with pytest.raises(StructuredOutputError):
        asyncio.run(binding("maybe", "It is yes or no.", "eyes").ask_yes_no("Well?"))


def test_a_failed_answer_is_not_asked_again() -> None:
    asked = binding({"type": "error", "data": "no"})
    with pytest.raises(EngineError):
        asyncio.run(asked.ask_yes_no("Well?"))
    assert len(asked.asked) == 1
