"""The documented methods of a binding work on the binding itself, without a client."""

from __future__ import annotations

from typing import Any

from lollms_client import MSG_TYPE
from lollms_client.one_call_discussion import OneCallDiscussion
from lollms_client.testing import ScriptedBinding
from lollms_core.errors import Overloaded
from lollms_core.types import Message, TextPart


def test_text_messages_and_discussions() -> None:
    binding = ScriptedBinding(["one", "two three", "four"])
    assert binding.generate_text("Hi", system_prompt="Be kind.", n_predict=5, top_k=1, color="red") == "one"
    chunks: list[Any] = []
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    said = binding.generate_from_messages(turns, temperature=0, streaming_callback=lambda *each: chunks.append(each))
    assert said == "two three"
    assert chunks == [("two", MSG_TYPE.MSG_TYPE_CHUNK), (" three", MSG_TYPE.MSG_TYPE_CHUNK)]
    assert binding.chat(OneCallDiscussion([Message.user("d")]), n_predict=3) == "four"
    first, second, third = binding.calls
    assert first.messages == (Message.system("Be kind."), Message.user("Hi"))
    assert (first.params.given(), first.params.extra) == ({"max_tokens": 5, "top_k": 1}, {"color": "red"})
    assert [each.role for each in second.messages] == ["user", "assistant", "user"]
    assert (first.stream, second.stream, third.stream) == (False, True, False)
    assert third.messages == (Message.user("d"),)
    assert third.params.max_tokens == 3


def test_a_discussion_in_a_prompt_is_split() -> None:
    binding = ScriptedBinding(["x"])
    binding.generate_text("!@>user:\na\n!@>assistant:\nb\n!@>user:\nc", split=True)
    assert [each.parts for each in binding.calls[0].messages] == [(TextPart("a"),), (TextPart("b"),), (TextPart("c"),)]


def test_errors_are_dictionaries_here_too() -> None:
    told: list[Any] = []
    binding = ScriptedBinding([Overloaded("Busy.")])
    result = binding.generate_text("Hi", streaming_callback=lambda chunk, kind: told.append((chunk, kind)))
    assert result == {"status": False, "error": "Busy.", "message": "Busy.", "code": "overloaded"}
    assert told == [("Busy.", MSG_TYPE.MSG_TYPE_EXCEPTION)]
    wrong = binding.generate_text("Hi", temperature="hot")  # type: ignore[arg-type]
    assert isinstance(wrong, dict)
    assert wrong["code"] == "invalid_request"


def test_words_are_the_tokens_of_the_script() -> None:
    binding = ScriptedBinding([])
    assert binding.tokenize("two words") == ["two", " words"]
    assert binding.detokenize(["two", " words"]) == "two words"
    assert binding.count_tokens("two words") == 2
    assert binding.list_models() == [{"model_name": "scripted"}]
