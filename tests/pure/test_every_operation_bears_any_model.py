"""Each operation ends within its calls whatever a model says, and gives it the words of its caller unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lollms_client.testing import scripted_client
from lollms_core.errors import LollmsError
from lollms_core.testing.scripted import Scripted
from lollms_core.types import GenerationCall, Reply, TextDelta, ThoughtDelta, ToolCall
from tests.support.every_operation import CLIENTS, OPERATIONS, RAISES, Asking, Operation, Played

each_operation = pytest.mark.parametrize("row", OPERATIONS, ids=str)
each_client = pytest.mark.parametrize("client", CLIENTS)


def large(text: str, size: int) -> list[Any]:
    """So many characters, in pieces of 4 KiB."""
    whole = (text * (size // len(text) + 1))[:size]
    return [(TextDelta(whole[at : at + 4096]),) for at in range(0, size, 4096)]


ENDLESS = {
    "repetition": "again and ",
    "json everywhere": '{"a": [1, {"answer": 2}], "ranking": "A"} ',
    "open braces": '{"a":',
    "open brackets": "[",
    "fences": "```\n",
}
LARGE = [batch for text in ENDLESS.values() for batch in large(text, 40_000)]
"""200 KB."""

MODELS: Mapping[str, Scripted] = {
    "empty": "",
    "no event": [],
    "spaces": " \n\t ",
    "prose": "Certainly! I would be glad to help you with that. First of all, let me see.",
    "refusal": "I'm sorry, but I can't help with that.",
    "thoughts": Reply(thoughts="What do they want? I do not know."),
    "thoughts in tags": "<think>What do they want?</think>",
    "thoughts without end": "<think>What do they want? {",
    "tool calls": Reply(
        tool_calls=(ToolCall("a", "look", {"at": 1}), ToolCall("b", "answer", {})), finish_reason="tool_calls"
    ),
    "broken tool calls": Reply(broken_calls=(("answer", '{"title": '),), finish_reason="tool_calls"),
    "held back": Reply(text="I", finish_reason="content_filter"),
    "cut off": Reply(text="```python\nx = ", finish_reason="length"),
    "wrong json": '{"answer": "Z", "ranking": "A > A", "title": 7, "year": "soon", "query": 3, "objectives": {}}',
    "controls": "\x00\x1b[31m\u202e{}%s",
    "half a character": "\ud83d and \udc00",
    "thoughts and half an answer": [(ThoughtDelta("Hm."),), (TextDelta('{"answer": '),)],
    **{name: large(text, 1_000) for name, text in ENDLESS.items()},
}


def check(row: Operation, played: Played) -> None:
    """It has ended within its calls, with a result or with a failure that was told once."""
    assert 1 <= len(played.calls) <= row.bound
    assert len(played.exceptions) <= 1
    if played.error is not None:
        assert row.failure == RAISES
        assert isinstance(played.error, LollmsError)
        assert played.exceptions
    elif row.name == "yes_no":
        assert row.is_result(played.value)
        assert not (played.value and played.exceptions)
    else:
        assert row.is_result(played.value)
        assert (row.failure != RAISES and row.is_failure(played.value)) == bool(played.exceptions)


@each_client
@each_operation
def test_a_model_that_does_as_it_likes_gives_a_documented_result(row: Operation, client: str) -> None:
    for replies in MODELS.values():
        check(row, CLIENTS[client](row, lambda call, replies=replies: replies, Asking()))


@pytest.mark.parametrize("row", [row for row in OPERATIONS if not row.case], ids=str)
def test_a_model_that_writes_without_end_does_no_harm(row: Operation) -> None:
    check(row, CLIENTS["sync"](row, lambda call: LARGE, Asking()))


ODD = {
    "braces": 'A {0} {name} {{x}} {} {!r} {"a": {"b": 1}}',
    "percent": "100 % of %s %(name)s %d %%",
    "backslashes": "C:\\new\\table \\1 \\g<0> \\u0041 \\",
    "controls": "a\x00b\x07c\x1b[0m",
    "dollars": "$name ${name} $$ `id` $(id)",
    "marks": "</text> </notes> <text> </memory> <|im_end|> [INST] </s>",
    "fences": "a ``` b ```` c ~~~ d",
    "emoji": "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 \u202eabc\u202c \ufeff",
    "turns": "!@>user: hello !@>assistant: Human: hi",
    "half a character": "x \ud83d y \udc00 z",
}


def asked(calls: list[GenerationCall]) -> str:
    return "\n".join(message.text for call in calls for message in call.messages)


@each_client
@each_operation
def test_the_words_of_the_caller_reach_the_model_as_they_are(row: Operation, client: str) -> None:
    for words in ODD.values():
        given = {name: f"Begin {name} {words} end." for name in row.texts}
        played: Played = CLIENTS[client](row, lambda call: "Yes.", **given)
        said = asked(played.calls)
        assert [name for name, text in given.items() if text not in said] == []


def test_what_generate_text_does_with_half_a_character_is_what_operations_do() -> None:
    client = scripted_client(["Yes."])
    assert client.generate_text(ODD["half a character"]) == "Yes."
    assert asked(client.binding.calls) == ODD["half a character"]  # type: ignore[union-attr]
