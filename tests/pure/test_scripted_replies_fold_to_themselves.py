"""A scripted reply, played and added up again, is the reply; the same script always gives the same events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import Overloaded
from lollms_core.fold import ReplyFold
from lollms_core.testing.scripted import pieces, play
from lollms_core.types import (
    Done,
    GenerationCall,
    Media,
    Message,
    ReceiptItem,
    Reply,
    TextDelta,
    ToolCall,
    Usage,
)

CALL = GenerationCall((Message.system("Be kind."), Message.user("How are you today?")), model="m")

names = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
numbers = st.none() | st.integers(0, 10_000)
replies = st.builds(
    Reply,
    text=texts,
    thoughts=texts,
    tool_calls=st.lists(
        st.builds(ToolCall, names, names, st.dictionaries(names, texts | st.integers() | st.booleans(), max_size=3)),
        max_size=3,
    ).map(tuple),
    media=st.lists(st.builds(Media, st.binary(max_size=9), st.just("image/png")), max_size=2).map(tuple),
    usage=st.none() | st.builds(Usage, numbers, numbers, numbers),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    model=names,
    receipt=st.lists(st.builds(ReceiptItem, names, st.just("dropped"), texts), max_size=2).map(tuple),
    broken_calls=st.lists(st.tuples(names, st.just('{"cut')), max_size=2).map(tuple),
)


def folded(reply: object) -> Reply:
    fold = ReplyFold()
    for batch in play(reply, CALL):  # type: ignore[arg-type]
        fold.add(batch)
    return fold.done()


@given(replies)
def test_a_reply_folds_to_an_equal_reply(reply: Reply) -> None:
    assert folded(reply) == reply


@given(texts)
def test_a_text_comes_in_words_and_whole(text: str) -> None:
    assert "".join(pieces(text)) == text
    reply = folded(text)
    assert reply.text == text
    assert reply.finish_reason == "stop"
    assert list(play(text, CALL)) == list(play(text, CALL))


def test_words_stand_for_tokens() -> None:
    reply = folded("I am fine, thank you.")
    assert reply.usage == Usage(prompt_tokens=6, completion_tokens=5, total_tokens=11)
    assert reply.model == "m"


def test_batches_are_sent_as_they_are_and_an_exception_comes_in_its_place() -> None:
    script = [(TextDelta("a"), TextDelta("b")), (), Overloaded("Later."), (Done(),)]
    playing = play(script, CALL)
    assert [next(playing), next(playing)] == [(TextDelta("a"), TextDelta("b")), ()]
    with pytest.raises(Overloaded, match="Later"):
        next(playing)


def test_an_exception_alone_is_raised_before_anything_is_said() -> None:
    with pytest.raises(Overloaded):
        next(iter(play(Overloaded("Later."), CALL)))


def test_a_function_sees_the_call() -> None:
    assert folded(lambda call: call.messages[-1].text.upper()).text == "HOW ARE YOU TODAY?"
