"""The documented helpers of a binding give what a program can use, ask again a few times, and else fail typed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lollms_core.errors import EngineError, StructuredOutputError
from lollms_core.types import Message, Params
from lollms_runtime.scripted import Script
from tests.support.server import PortsBinding
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
        self.asked.append({"prompt": prompt, "params": params, "info": request_info})
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
        ("No.", "there is no JSON in it"),
        ("{broken", "there is no JSON in it"),
        ("[]", "[] is not of type 'object'"),
        ("{}", "'name' is a required property"),
        ('{"name": [5]}', "at name, [5] is not of type 'string'"),
        ('{"name": "x", "tags": [1, "b"]}', "at tags/1, 'b' is not of type 'integer'"),
        ('{"name": "x", "tags": [true]}', "at tags/0, True is not of type 'integer'"),
        ('{"name": "x", "kind": "c"}', "at kind, 'c' is not one of ['a', 'b']"),
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


def test_code_that_is_never_closed_is_no_block_and_no_number_of_calls_is_made_up() -> None:
    asked = binding(*["```python\nx = 1"] * 9)
    with pytest.raises(StructuredOutputError, match=r"^The model gave no code block that is complete\.$"):
        asyncio.run(asked.generate_and_extract_all_codes("Write."))
    assert len(asked.asked) <= 3


@pytest.mark.parametrize("schema", [None, True, "string", [SCHEMA]])
def test_what_is_no_schema_is_refused_before_anything_is_asked(schema: Any) -> None:
    asked = binding(GOOD)
    with pytest.raises(TypeError, match="output_schema must be a dictionary"):
        asyncio.run(asked.generate_structured_output("Say.", schema))
    assert not asked.asked


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes.", True),
        ("no", False),
        ("**YES**", True),
        ("No, because it rains.", False),
        ("<think>no?</think>\nyes", True),
        ('{"answer": false}', False),
    ],
)
def test_yes_and_no_are_understood(answer: str, expected: bool) -> None:
    assert asyncio.run(binding(answer).ask_yes_no("Well?")) is expected


@pytest.mark.parametrize("answer", ["Perhaps.", "It is yes or no.", "No, yes is wrong.", "eyes"])
def test_neither_yes_nor_no_is_asked_again_and_fails_at_last(answer: str) -> None:
    assert asyncio.run(binding(answer, "yes").ask_yes_no("Well?")) is True
    failing = binding(*[answer] * 9)
    with pytest.raises(StructuredOutputError):
        asyncio.run(failing.ask_yes_no("Well?"))
    assert len(failing.asked) == 3


def test_a_failed_answer_is_not_asked_again() -> None:
    asked = binding({"type": "error", "data": "no"})
    with pytest.raises(EngineError):
        asyncio.run(asked.ask_yes_no("Well?"))
    assert len(asked.asked) == 1


def test_a_helper_asks_with_what_it_was_given() -> None:
    asked, given = binding(GOOD), {"temperature": 0.5, "system_message": "S", "mine": [1]}
    info = {"request_id": "r", "model_name": "m", "messages": ["of another call"], "tools": ["of another call"]}
    asyncio.run(asked.generate_structured_output("Say.", SCHEMA, given, info))
    (seen,) = asked.asked
    assert seen["params"] == given
    assert (seen["info"]["request_id"], seen["info"]["model_name"]) == ("r", "m")
    assert seen["info"]["response_schema"] == SCHEMA and "tools" not in seen["info"]
    assert [message["role"] for message in seen["info"]["messages"]] == ["system", "user"]
    assert seen["prompt"].startswith("Say.")


def test_the_earlier_answer_stands_in_the_prompt_that_asks_again() -> None:
    asked = binding('{"name": [5]}', GOOD)
    asyncio.run(asked.generate_structured_output("Say.", SCHEMA))
    assert asked.asked[1]["prompt"].startswith("!@>user:\nSay.")
    assert '!@>assistant:\n{"name": [5]}\n!@>user:' in asked.asked[1]["prompt"]


class Refusing(Answering):
    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
        if "response_schema" in request_info:
            raise NotImplementedError("no schemas")
        return await super().generate(prompt, params, request_info, multimodal_data)


def test_a_binding_that_takes_no_schema_is_asked_in_words() -> None:
    asked = make(Refusing, answers=[GOOD])
    assert asyncio.run(asked.generate_structured_output("Say.", SCHEMA, max_retries=0))["name"] == "x"
    assert len(asked.asked) == 1


def test_a_binding_that_speaks_in_events_is_held_to_the_schema() -> None:
    script = Script([GOOD, '{"answer": true}', "```python\nx = 1\n```"])
    asked = PortsBinding(script)
    info = {"model_name": "other"}
    assert asyncio.run(asked.generate_structured_output("Say.", SCHEMA, {"max_tokens": 50}, info))["name"] == "x"
    assert asyncio.run(asked.ask_yes_no("Well?", {"system_message": "Be wise."})) is True
    assert asyncio.run(asked.generate_and_extract_all_codes("Write."))[0]["content"] == "x = 1"
    first, second, third = script.calls
    assert (first.schema, first.model, first.params) == (SCHEMA, "other", Params(max_tokens=50))
    assert second.messages[0] == Message.system("Be wise.") and second.schema is not None
    assert third.schema is None


def test_code_that_is_cut_off_is_continued_within_the_same_limit() -> None:
    asked = binding("```python\nfor x in y:\n    print(x", "```python\n    print(x)\n```")
    (block,) = asyncio.run(asked.generate_and_extract_all_codes("Write.", max_retries=1))
    assert (block["content"], block["is_complete"]) == ("for x in y:\n    print(x)", True)
    failing = binding(*["```python\nx = 1"] * 9)
    with pytest.raises(StructuredOutputError, match="complete"):
        asyncio.run(failing.generate_and_extract_all_codes("Write.", max_retries=1))
    assert len(failing.asked) == 2


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        ({"type": "string"}, '"blue"', "blue"),
        ({"type": "object", "required": ["a"]}, '{"a": 1}', {"a": 1}),
        ({"enum": [1, 2]}, "2", 2),
        ({"type": "array"}, "[1]", [1]),
    ],
)
def test_the_schema_is_always_a_json_schema(schema: Any, answer: str, value: Any) -> None:
    assert asyncio.run(binding(answer).generate_structured_output("Say.", schema)) == value


def test_parameters_of_forms_that_only_the_binding_knows_are_handed_on() -> None:
    asked, given = binding("yes"), {"temperature": "hot", "stop": ("a", "b"), "system_message": "S"}
    assert asyncio.run(asked.ask_yes_no("Well?", given)) is True
    assert asked.asked[0]["params"] == given
