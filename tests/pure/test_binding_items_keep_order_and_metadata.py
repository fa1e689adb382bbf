"""What a binding answers in items comes out in order, with media types and metadata unaltered; text is still split."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import BaseModel

from lollms_core.errors import EngineError
from lollms_core.fold import ReplyFold
from lollms_core.protocols.lollms_wire import reply_output
from lollms_core.types import Event, Item, Media, Notice, Output, Reply, TextDelta, ThoughtDelta, Usage
from lollms_server.core.bindings.answers import AnswerReader, output_items

PNG = b"\x89PNG..."
B64 = base64.b64encode(PNG).decode()


def whole(result: Any) -> Reply:
    reader, fold = AnswerReader("m"), ReplyFold()
    fold.add(reader.whole(result))
    fold.add(reader.end())
    return fold.done()


def stream(*chunks: Any) -> tuple[Reply, list[Event]]:
    reader, fold = AnswerReader("m"), ReplyFold()
    events = [event for chunk in chunks for event in reader.feed(chunk)] + reader.end()
    fold.add(events)
    return fold.done(), events


class Picture(BaseModel):
    type: str = "image"
    data: str = B64
    mime_type: str | None = None
    metadata: dict[str, Any] = {"seed": 7}


def test_a_mixed_answer_keeps_every_piece_in_its_place() -> None:
    answer = [
        {"type": "text", "data": "<think>hm</think>First.", "metadata": {"usage": {"total_tokens": 3}, "mood": "good"}},
        {"type": "info", "data": "Drawing."},
        {
            "type": "image",
            "data": B64,
            "mime_type": "image/webp",
            "metadata": {"model": "dall-e-3", "prompt_used": "x"},
        },
        {"type": "json", "data": {"a": [1, None, {"b": True}]}, "metadata": {"schema": "s"}},
        {"type": "text", "data": "<think>is kept</think>", "thoughts": "own"},
        "Last.",
        Picture(),
        {"score": 0.5},
    ]
    got = whole(answer)
    assert got.items == (
        Item("text", "First.", None, "hm", {"mood": "good"}),
        Item("info", "Drawing."),
        Item("image", B64, "image/webp", None, {"model": "dall-e-3", "prompt_used": "x"}),
        Item("json", {"a": [1, None, {"b": True}]}, None, None, {"schema": "s"}),
        Item("text", "<think>is kept</think>", None, "own"),
        Item("text", "Last."),
        Item("image", B64, "image/png", None, {"seed": 7}),
        Item("json", {"score": 0.5}),
    )
    assert got.text == "First.<think>is kept</think>Last."
    assert got.usage == Usage(None, None, 3)
    output = reply_output(got)
    assert [item.type for item in output] == ["text", "info", "image", "json", "text", "text", "image", "json"]
    assert (output[0].metadata or {})["mood"] == "good"
    assert (output[2].metadata or {}) == {"model": "dall-e-3", "prompt_used": "x"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"text": "A cat.", "image_base64": B64, "mime_type": "image/gif"},
         Reply("A cat.", media=(Media(PNG, "image/gif"),), model="m")),
        ({"text": "x", "usage": {"total_tokens": 2}, "finish_reason": "stop"},
         Reply("x", usage=Usage(None, None, 2), finish_reason="stop", model="m")),
        ({"text": "x", "score": 1}, Reply("x", items=(Item("text", "x", metadata={"score": 1}),), model="m")),
        ({"type": "person", "data": "Ada"}, Reply(items=(Item("json", {"type": "person", "data": "Ada"}),), model="m")),
        ({"image_base64": PNG}, Reply(media=(Media(PNG, "image/png"),), model="m")),
        ({"image_base64": f"data:image/jpeg;base64,{B64}"}, Reply(media=(Media(PNG, "image/jpeg"),), model="m")),
        ({"video_base64": B64[:4] + "\n" + B64[4:]}, Reply(media=(Media(PNG, "video/mp4"),), model="m")),
        ({}, Reply(items=(Item("json", {}),), model="m")),
        ([], Reply(model="m")),
        ({"type": "text", "data": "# x", "mime_type": "text/markdown"},
         Reply("# x", items=(Item("text", "# x", "text/markdown"),), model="m")),
        ("lone \ud83d surrogate", Reply("lone \ufffd surrogate", model="m")),
        ({"type": "text", "data": "split \ud83d\ude00 pair"}, Reply("split \U0001f600 pair", model="m")),
    ],
)  # fmt: skip
def test_single_forms(answer: Any, expected: Reply) -> None:
    assert whole(answer) == expected


def test_what_cannot_be_said_in_json_is_an_error_and_in_metadata_a_text() -> None:
    with pytest.raises(TypeError):
        whole({"type": "json", "data": {"x": object()}})
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        whole({"type": "json", "data": loop})
    assert whole([{"text": "x", "metadata": {"when": range(3)}}]).items[0].metadata == {"when": "range(0, 3)"}


def test_an_error_item_ends_the_answer_but_not_what_came_before() -> None:
    reader = AnswerReader()
    assert reader.whole([{"text": "so far"}, {"type": "error", "data": "secret"}, "never"]) == [TextDelta("so far")]
    assert isinstance(reader.failure, EngineError)
    assert "secret" not in reader.failure.message


# ---- the end of a stream -------------------------------------------------------------------------------------------


def chunk(text: str, thoughts: str | None = None) -> dict[str, Any]:
    return {"type": "chunk", "content": text, "thoughts": thoughts, "metadata": {}}


def final(*items: Any, **metadata: Any) -> dict[str, Any]:
    return {"type": "final", "content": list(items), "thoughts": None, "metadata": metadata}


def test_the_final_items_are_the_answer_and_shown_text_is_not_shown_again() -> None:
    got, events = stream(
        chunk("Starting..."), final({"type": "text", "data": "Done.", "metadata": {"step": 2}}, {"n": 1})
    )
    assert got.items == (Item("text", "Done.", metadata={"step": 2}), Item("json", {"n": 1}))
    assert got.text == "Done."
    assert events[1] == Output(got.items, replaces=True)


def test_final_items_that_were_not_shown_are_shown() -> None:
    got, events = stream(final({"text": "one", "n": 1}, {"text": "two"}))
    assert events[0] == Output(got.items)
    assert got.text == "onetwo"
    assert stream(final("<think>t</think>only"))[1][:2] == [ThoughtDelta("t"), TextDelta("only")]


@pytest.mark.parametrize(
    "end",
    [
        final(),
        final({"type": "text", "data": ""}, usage={"total_tokens": 3}),
        final({"type": "text", "data": "Hello."}),
        final({"type": "text", "data": "<think>why</think>Hello.", "metadata": {"usage": {"total_tokens": 3}}}),
        final({"type": "text", "data": "Hello.", "thoughts": "why"}),
        {"type": "final", "content": None},
        {"type": "final", "content": "Hello."},
        {"type": "final"},
    ],
)
def test_a_final_chunk_that_says_the_same_or_nothing_adds_nothing(end: Any) -> None:
    got, events = stream("<think>wh", "y</thi", "nk>Hel", chunk("lo."), end)
    assert (got.text, got.thoughts, got.items) == ("Hello.", "why", ())
    assert not any(isinstance(event, Output) for event in events)


def test_a_final_chunk_without_text_adds_to_what_was_shown() -> None:
    got, _ = stream(chunk("A cat."), final({"type": "image", "data": B64}))
    assert (got.text, got.media, got.items) == ("A cat.", (Media(PNG, "image/png"),), ())
    got, _ = stream(chunk("A cat."), final({"type": "info", "data": "Done."}, {"n": 1}))
    assert got.items == (Item("text", "A cat."), Item("info", "Done."), Item("json", {"n": 1}))


def test_metadata_of_an_empty_final_text_belong_to_the_text_that_was_shown() -> None:
    got, _ = stream(chunk("Hello.", "why"), final({"type": "text", "data": "", "metadata": {"seconds": 2}}))
    assert got.items == (Item("text", "Hello.", None, "why", {"seconds": 2}),)
    assert (got.text, got.thoughts) == ("Hello.", "why")


def test_items_between_chunks_and_tool_calls_come_once() -> None:
    call = {"id": "c", "name": "f", "arguments": {"a": 1}}
    got, _ = stream(
        chunk("A "),
        {"type": "chunk", "content": {"type": "json", "data": {"n": 1}}},
        "B",
        {"type": "function_call", "content": call},
        final({"type": "function_call", "data": call}, {"type": "function_call", "data": {**call, "id": "d"}}),
    )
    assert [piece.data for piece in got.items] == ["A ", {"n": 1}, "B"]
    assert [each.id for each in got.tool_calls] == ["c", "d"]


def test_numbers_of_tokens_come_from_any_chunk_and_the_first_item_speaks_for_the_answer() -> None:
    got, _ = stream(chunk("x"), {"type": "chunk", "content": "", "metadata": {"usage": {"input_tokens": 4}}})
    assert got.usage == Usage(4)
    first = {"text": "x", "metadata": {"model_used": "first", "finish_reason": "length"}}
    second = {"text": "y", "metadata": {"model_used": "second", "finish_reason": "stop"}}
    got = whole([first, second])
    assert (got.model, got.finish_reason) == ("first", "length")
    assert got.items[1].metadata == second["metadata"]


def test_information_is_told_at_once() -> None:
    assert stream({"type": "info", "content": "Nearly"})[1][0] == Notice("info", "Nearly")


def test_items_of_models_and_nested_lists_are_found() -> None:
    assert output_items([[Picture(), "a"], {"text": "b"}]) == [
        {"type": "image", "data": B64, "mime_type": None, "metadata": {"seed": 7}},
        {"type": "text", "data": "a"},
        {"type": "text", "data": "b"},
    ]
