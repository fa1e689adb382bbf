"""A turn in its provider's own form goes through a lollms server and back, and nothing is there where there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_client.messages import messages_of as messages_of_caller
from lollms_core.errors import InvalidRequest
from lollms_core.flows.agent import tool_loop
from lollms_core.flows.base import Emit, Generate, RunTool
from lollms_core.fold import ReplyFold
from lollms_core.protocols.anthropic import MessagesCodec
from lollms_core.protocols.base import Target
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.gemini import GeminiCodec
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.protocols.lollms_input import LARGEST_NATIVE, InputItem, items_of, messages_of
from lollms_core.protocols.lollms_wire import (
    GenerateResponse,
    OutputItem,
    encode_final,
    encode_response,
    reply_output,
)
from lollms_core.protocols.responses import ResponsesCodec
from lollms_core.types import Done, GenerationCall, Message, Native, Output, Reply, Tool, ToolCall
from tests.support.feeding import each_byte, folded, outcome

CALL = GenerationCall((Message.user("hi"),), stream=True)
TARGET = Target("http://127.0.0.1:9642")
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NATIVES = st.builds(Native, st.text("abc", min_size=1, max_size=9), _values)
CALLS = (ToolCall("c1", "weather", {"city": "Bern"}),)
SIGNED = Native("gemini", [{"functionCall": {"name": "weather"}, "thoughtSignature": "c2ln"}])


@given(NATIVES, st.booleans())
def test_a_reply_brings_it_streamed_or_whole(native: Native, calls: bool) -> None:
    reply = Reply("It rains.", tool_calls=CALLS if calls else (), finish_reason="stop", native=native)
    output = reply_output(reply)
    stream = encode_final(output, {})
    reader = LollmsCodec().reader(CALL, "text/event-stream")
    events, error, _ = outcome(reader, [stream])
    assert error is None
    assert folded(events) == reply
    assert isinstance(events[-1], Done) and events[-2] == native
    assert outcome(LollmsCodec().reader(CALL, "text/event-stream"), each_byte(stream))[0] == events
    body = encode_response(GenerateResponse(None, "r", output, 0.1))
    events, error, _ = outcome(LollmsCodec().reader(CALL, "application/json"), [body])
    assert error is None
    assert folded(events) == reply


@given(NATIVES, st.booleans(), st.sampled_from(["", "It rains."]))
def test_a_message_takes_it_back(native: Native, calls: bool, text: str) -> None:
    message = Message.assistant(text, CALLS if calls else (), native)
    conversation = (Message.user("?"), message, Message.tool("c1", "rain"), Message.user("And now?"))
    call = GenerationCall(conversation)
    sent = json.loads(LollmsCodec().request(call, TARGET).body)["input_data"]
    assert sent[1]["metadata"]["native"] == {"protocol": native.protocol, "data": native.data}
    (found,) = [each for each in messages_of([InputItem(**item) for item in sent]) if each.role == "assistant"]
    assert (found.text, found.tool_calls, found.native) == (message.text, message.tool_calls, native)


def test_nothing_is_there_where_there_is_none() -> None:
    items, _ = items_of((Message.assistant("a"), Message.assistant("", CALLS)))
    assert [sorted(item.metadata or {}) for item in items] == [[], ["tool_calls"]]
    assert "native" not in (reply_output(Reply("a"))[0].metadata or {})


@pytest.mark.parametrize("given", [5, "x", [], {}, {"protocol": "x"}, {"protocol": 5, "data": 1}, {"data": 1}])
def test_odd_ones_are_refused_by_their_item(given: Any) -> None:
    item = InputItem("text", "assistant_message", "a", metadata={"native": given})
    with pytest.raises(InvalidRequest, match=r"input_data\[1\]\.metadata\.native"):
        messages_of([InputItem("text", "user_prompt", "?"), item])


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_names_of_protocols_are_short(name: str) -> None:
    item = InputItem("text", "assistant_message", "a", metadata={"native": {"protocol": name, "data": 1}})
    with pytest.raises(InvalidRequest, match="protocol"):
        messages_of([item])


def test_their_size_is_bounded() -> None:
    def item(size: int) -> InputItem:
        native = {"protocol": "x", "data": "a" * size}
        return InputItem("text", "assistant_message", "a", metadata={"native": native})

    assert messages_of([item(LARGEST_NATIVE - 2)])[0].native is not None
    with pytest.raises(InvalidRequest, match="bytes"):
        messages_of([item(LARGEST_NATIVE)])


@pytest.mark.parametrize("given", [5, "x", [], {}, {"protocol": 5, "data": 1}, {"protocol": "x"}])
def test_an_odd_one_of_a_server_is_passed_over(given: Any) -> None:
    output = [OutputItem("text", "a", metadata={"finish_reason": "stop", "native": given})]
    events, error, _ = outcome(LollmsCodec().reader(CALL, "text/event-stream"), [encode_final(output, {})])
    assert error is None
    assert folded(events).native is None


def test_an_output_of_many_items_keeps_it_out_of_the_items() -> None:
    output = [
        OutputItem("text", "a", metadata={"finish_reason": "stop", "native": {"protocol": "x", "data": 1}, "own": 2}),
        OutputItem("info", "b"),
    ]
    events, error, _ = outcome(LollmsCodec().reader(CALL, "text/event-stream"), [encode_final(output, {})])
    assert error is None
    (given,) = [event for event in events if isinstance(event, Output)]
    assert given.items[0].metadata == {"own": 2}
    assert folded(events).native == Native("x", 1)


# ---- a caller's messages --------------------------------------------------------------------------------------------


def test_messages_of_the_caller_keep_it() -> None:
    message = Message.assistant("a", CALLS, SIGNED)
    assert messages_of_caller([Message.user("?"), message])[1] is message
    told = {"role": "assistant", "content": "a", "native": {"protocol": "gemini", "data": SIGNED.data}}
    assert messages_of_caller([told])[0].native == SIGNED
    assert messages_of_caller([{**told, "native": SIGNED}])[0].native == SIGNED
    assert messages_of_caller([{**told, "native": None}])[0].native is None
    assert messages_of_caller([{**told, "role": "user"}])[0].native is None
    with pytest.raises(InvalidRequest, match="native of message 0"):
        messages_of_caller([{**told, "native": {"protocol": "x"}}])


# ---- functions of the server ----------------------------------------------------------------------------------------

OWN, THEIRS = Tool("own"), Tool("weather")


def loop(*replies: Reply) -> tuple[Reply, Reply, list[GenerationCall]]:
    """The reply of a tool loop, what its shown events fold to, and what the model was asked."""
    flow = tool_loop(GenerationCall((Message.user("?"),), tools=(OWN, THEIRS)), ("own",), 3)
    fold, asked, left = ReplyFold(), [], list(replies)
    value: Any = None
    try:
        while True:
            request = flow.send(value)
            value = None
            if isinstance(request, Generate):
                asked.append(request.call)
                value = left.pop(0)
            elif isinstance(request, RunTool):
                value = "done"
            elif isinstance(request, Emit):
                fold.add(request.batch)
    except StopIteration as end:
        return end.value, fold.done(), asked


def test_calls_for_the_caller_come_with_their_signatures() -> None:
    last = Reply("", tool_calls=CALLS, finish_reason="tool_calls", native=SIGNED)
    value, shown, _ = loop(last)
    assert value.native == shown.native == SIGNED
    before = Reply("", tool_calls=(ToolCall("c0", "own", {}),), native=Native("gemini", "first"))
    value, shown, asked = loop(before, last)
    assert value.native == shown.native == SIGNED
    assert [each.native for each in asked[1].messages if each.role == "assistant"] == [Native("gemini", "first")]


def test_a_turn_that_lost_a_call_has_no_signature() -> None:
    both = (*CALLS, ToolCall("c2", "own", {}))
    value, shown, _ = loop(Reply("", tool_calls=both, finish_reason="tool_calls", native=SIGNED))
    assert value.tool_calls == CALLS
    assert value.native is shown.native is None


@pytest.mark.parametrize(
    ("codec", "target", "native"),
    [
        (
            MessagesCodec(),
            Target("http://x", model="claude-x"),
            Native("anthropic", [{"type": "document", "source": {"type": "file", "file_id": "of another"}}]),
        ),
        (
            GeminiCodec(),
            Target("http://x/v1beta", model="gemini-x"),
            Native("gemini", [{"fileData": {"fileUri": "of another", "mimeType": "text/plain"}}]),
        ),
        (
            ResponsesCodec(OPENAI),
            Target("http://x/v1", model="gpt-x"),
            Native("responses", [{"type": "message", "role": "system", "content": "of another"}]),
        ),
        (
            ResponsesCodec(OPENAI),
            Target("http://x/v1", model="gpt-x"),
            Native("responses", [{"type": "item_reference", "id": "of another"}]),
        ),
    ],
)
def test_a_caller_reaches_nothing_of_the_account_by_one(codec: Any, target: Target, native: Native) -> None:
    said = Message.assistant("hello", native=native)
    request = codec.request(GenerationCall((Message.user("a"), said, Message.user("b"))), target)
    assert b"of another" not in request.body
    assert b"hello" in request.body
