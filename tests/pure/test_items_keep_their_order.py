"""An answer of several pieces keeps them, in their order and with what belongs to each."""

from __future__ import annotations

import json

import pytest

from lollms_core.fold import ReplyFold
from lollms_core.protocols.base import Limits
from lollms_core.protocols.lollms import LollmsReader
from lollms_core.protocols.lollms_wire import (
    GenerateResponse,
    OutputItem,
    encode_batch,
    encode_final,
    encode_response,
    reply_output,
)
from lollms_core.types import Batch, Done, Item, Media, Output, Reply, TextDelta, ThoughtDelta

PIECES = (
    Item("text", "First.", thoughts="hm", metadata={"a": 1}),
    Item("image", "eHg=", "image/png", metadata={"prompt_used": "a cat"}),
    Item("json", {"n": [1, 2]}),
    Item("info", "Task completed"),
    Item("text", "Second."),
)


def folded(*batches: Batch) -> Reply:
    fold = ReplyFold()
    for batch in batches:
        fold.add(batch)
    return fold.done()


def test_pieces_come_out_as_they_went_in() -> None:
    reply = folded((Output(PIECES[:2]),), (Output(PIECES[2:]), Done("stop")))
    assert reply.items == PIECES
    assert (reply.text, reply.thoughts) == ("First.Second.", "hm")


def test_what_was_streamed_before_and_after_stands_in_its_place() -> None:
    reply = folded(
        (ThoughtDelta("so"), TextDelta("a"), TextDelta("b")),
        (Output((Item("json", 1),)),),
        (TextDelta("c"), Media(b"xx", "audio/wav"), Done("stop")),
    )
    assert [(item.kind, item.data, item.thoughts) for item in reply.items] == [
        ("text", "ab", "so"),
        ("json", 1, None),
        ("text", "c", None),
        ("audio", "eHg=", None),
    ]
    assert reply.text == "abc"


def test_pieces_that_replace_are_the_whole_answer() -> None:
    reply = folded((TextDelta("draft"),), (Output(PIECES, replaces=True),), (TextDelta("!"),))
    assert reply.items == (*PIECES, Item("text", "!"))
    assert reply.text == "First.Second.!"


def test_an_answer_without_pieces_has_no_items() -> None:
    assert folded((TextDelta("plain"), Done("stop"))).items == ()


def test_the_output_has_each_piece_and_the_first_one_the_metadata_of_all() -> None:
    output = reply_output(folded((Output(PIECES), Done("stop", model="m"))))
    assert [(item.type, item.data, item.mime_type, item.thoughts) for item in output] == [
        (item.kind, item.data, item.mime, item.thoughts) for item in PIECES
    ]
    assert output[0].metadata == {"a": 1, "model_used": "m", "finish_reason": "stop", "usage": None, "receipt": []}
    assert output[1].metadata == {"prompt_used": "a cat"}


def test_text_and_information_are_shown_while_they_come_and_a_replacement_is_not() -> None:
    shown = [json.loads(line[6:]) for line in encode_batch((Output(PIECES),)).decode().split("\n\n") if line]
    assert [(chunk["type"], chunk["content"], chunk["thoughts"]) for chunk in shown] == [
        ("chunk", "First.", "hm"),
        ("info", "Task completed", None),
        ("chunk", "Second.", None),
    ]
    assert encode_batch((Output(PIECES, replaces=True),)) == b""


@pytest.mark.parametrize("given", [(Output(PIECES),), (TextDelta("First.Second."), Output(PIECES, replaces=True))])
def test_a_stream_and_a_whole_answer_are_read_as_the_same_reply(given: Batch) -> None:
    made = reply_output(folded(given, (Done("stop", model="m"),)))
    stream = LollmsReader("text/event-stream", limits=Limits())
    whole = LollmsReader("application/json", limits=Limits())
    bodies = (
        (stream, encode_batch(given) + encode_final(made, {"request_id": "r"})),
        (whole, encode_response(GenerateResponse(None, "r", made, 0.1))),
    )
    replies = [folded(reader.feed(body), [] if reader.finished else reader.close()) for reader, body in bodies]
    assert replies[0] == replies[1]
    assert replies[0].items == PIECES


def test_a_single_text_with_media_needs_no_items() -> None:
    body = encode_response(
        GenerateResponse(None, "r", [OutputItem("text", "a"), OutputItem("image", "eHg=", "image/png")], 0.1)
    )
    reader = LollmsReader("application/json", limits=Limits())
    reply = folded(reader.feed(body), reader.close())
    assert (reply.text, reply.media, reply.items) == ("a", (Media(b"xx", "image/png"),), ())
