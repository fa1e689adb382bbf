"""Signed turns of Gemini go back untouched while a tool loop runs, streamed or whole; others get calls without them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.flows.agent import tool_loop
from lollms_core.protocols.base import Codec, Target
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.gemini import GeminiCodec
from lollms_core.protocols.openai import ChatCodec
from lollms_core.types import Batch, GenerationCall, Message, Reply, Tool, ToolCall
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps, drive
from tests.support.feeding import TRANSCRIPTS, folded
from tests.support.gemini_rules import fault_of

TARGET = Target("http://x", model="gemini-3-pro-preview", provider="gemini")
WEATHER = Tool("get_weather", "Now.", {"type": "object", "properties": {"city": {"type": "string"}}})
SIGNATURE = "ZW5jcnlwdGVkIHRob3VnaHRz"
SIGNED = {"id": "q1", "name": "get_weather", "args": {"city": "Paris"}}


class Recorded:
    """Ports of the driver: answers are transcripts in turn, requests are kept."""

    def __init__(self, codec: Codec, names: list[str], stream: bool) -> None:
        self._codec = codec
        self._names = names
        self._stream = stream
        self.calls: list[GenerationCall] = []
        self.bodies: list[Any] = []

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        exchange = self._codec.prepare(call, TARGET)
        with pytest.raises(StopIteration) as end:
            next(exchange)
        self.calls.append(call)
        self.bodies.append(json.loads(end.value.value.body))
        kind, ending = ("text/event-stream", "sse") if self._stream else ("application/json", "json")
        data = (TRANSCRIPTS / "gemini" / f"{self._names.pop(0)}.{ending}").read_bytes()
        reader = GeminiCodec().reader(call, kind, TARGET)
        yield iter([reader.feed(data), reader.close()])

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        return f"sun in {call.arguments['city']}"
        yield

    def count(self, text: str) -> int:
        raise AssertionError("nothing is counted")


def looped(names: list[str], stream: bool) -> tuple[Recorded, Reply]:
    ports = Recorded(GeminiCodec(), list(names), stream)
    call = GenerationCall((Message.user("Weather?"),), tools=(WEATHER,), stream=stream)
    steps = drive(tool_loop(call, {"get_weather", "get_time", "get_news"}, 5), ports, Cancel())
    try:
        while True:
            next(steps)
    except StopIteration as end:
        reply: Reply = end.value
        return ports, reply


@pytest.mark.parametrize("stream", [True, False])
def test_each_round_returns_what_was_signed(stream: bool) -> None:
    ports, reply = looped(["signed_calls", "signed_text"], stream)
    assert (reply.text, reply.thoughts) == ("It is four.", "Two cities.")
    first, second = ports.bodies
    assert fault_of("GenerateContentRequest", first) is None
    assert fault_of("GenerateContentRequest", second) is None
    assert second["contents"][0] == first["contents"][0]
    assert second["contents"][1] == {
        "role": "model",
        "parts": [
            {"text": "Two cities.", "thought": True},
            {"functionCall": SIGNED, "thoughtSignature": SIGNATURE},
            {"functionCall": {"id": "q2", "name": "get_weather", "args": {"city": "Rome"}}},
        ],
    }
    results = [part["functionResponse"] for part in second["contents"][2]["parts"]]
    assert [(each["id"], each["response"]) for each in results] == [
        ("q1", {"output": "sun in Paris"}),
        ("q2", {"output": "sun in Rome"}),
    ]


def test_streamed_and_whole_give_the_same_conversation() -> None:
    (streamed, one), (whole, other) = (looped(["signed_calls", "signed_text"], stream) for stream in (True, False))
    assert (streamed.bodies, one) == (whole.bodies, other)


def test_an_answer_goes_back_signed_in_the_next_question() -> None:
    reader = GeminiCodec().reader(GenerationCall(()), "text/event-stream")
    reply = folded([*reader.feed((TRANSCRIPTS / "gemini" / "signed_text.sse").read_bytes()), *reader.close()])
    turns = (Message.user("2+2?"), Message.assistant(reply.text, native=reply.native), Message.user("Sure?"))
    body = json.loads(GeminiCodec().request(GenerationCall(turns), TARGET).body)
    assert body["contents"][1]["parts"] == [{"text": "It is four."}, {"text": "", "thoughtSignature": SIGNATURE}]


def test_another_provider_gets_the_calls_without_their_signatures() -> None:
    ports, _ = looped(["signed_calls", "signed_text"], True)
    request = ChatCodec(OPENAI).request(ports.calls[1], TARGET)
    assert SIGNATURE.encode() not in request.body
    assert [each["id"] for each in json.loads(request.body)["messages"][1]["tool_calls"]] == ["q1", "q2"]
