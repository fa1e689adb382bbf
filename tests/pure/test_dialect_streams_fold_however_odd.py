"""What is odd about the streams of single providers is understood: comments, `x_groq`, parts, thoughts, citations."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest

from lollms_core.errors import Overloaded, UpstreamFailed
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.dialects import DIALECTS
from lollms_core.protocols.openai import ChatCodec
from lollms_core.types import GenerationCall, Message, Native, Reply, Tool, ToolCall, Usage
from tests.support.feeding import TRANSCRIPTS, cut, each_byte, folded, outcome

CALL = GenerationCall((Message.user("Hi"),), model="m", stream=True)
TARGET = Target("http://x", key="key-of-mine")

REPLIES: dict[str, tuple[str, Reply]] = {
    "groq_x_groq": (
        "groq",
        Reply("Zwei und zwei ist vier 🦙.", usage=Usage(24, 9, 33), model="llama-3.3-70b-versatile"),
    ),
    "mistral_parts": (
        "mistral",
        Reply(
            "I ask for both.",
            "Two cities.",
            (ToolCall("D681PevKs", "weather", {"city": "Zürich"}), ToolCall("aBc4567zZ", "weather", {"city": "Bern"})),
            usage=Usage(91, 49, 140),
            finish_reason="tool_calls",
            model="magistral-medium-latest",
        ),
    ),
    "open_router_comments": (
        "open_router",
        Reply(
            "Grüße!",
            "They greet.",
            usage=Usage(17, 21, 38),
            model="anthropic/claude-sonnet-4.5",
            native=Native(
                "open_router",
                {
                    "reasoning_details": [
                        {
                            "type": "reasoning.text",
                            "text": "They greet.",
                            "signature": "EqQBCkYIBx",
                            "format": "anthropic-claude-v1",
                            "index": 0,
                        }
                    ]
                },
            ),
        ),
    ),
    "deepseek_thoughts": (
        "deepseek",
        Reply(
            "Let me look.",
            "The date is needed.",
            (ToolCall("call_00_9K2", "get_date", {"zone": "Asia/Tōkyō"}),),
            usage=Usage(210, 64, 274),
            finish_reason="tool_calls",
            model="deepseek-chat",
            native=Native("deepseek", {"reasoning_content": "The date is needed."}),
        ),
    ),
    "perplexity_citations": (
        "perplexity",
        Reply("Bern is the seat[1][2].", usage=Usage(8, 12, 20), model="sonar-pro"),
    ),
}


def read(dialect: str, chunks: Any, content_type: str = "text/event-stream") -> tuple[Reply, Any]:
    events, error, _ = outcome(ChatCodec(DIALECTS[dialect]).reader(CALL, content_type, TARGET), chunks)
    return folded(events), error


@pytest.mark.parametrize("name", REPLIES)
def test_the_reply_is_what_the_reference_says(name: str) -> None:
    dialect, expected = REPLIES[name]
    data = (TRANSCRIPTS / f"{name}.sse").read_bytes()
    assert read(dialect, [data]) == (expected, None)
    assert read(dialect, each_byte(data)) == (expected, None)
    for place in range(1, len(data), 3):
        assert read(dialect, cut(data, [place])) == (expected, None), place
    body = (TRANSCRIPTS / f"{name}.json").read_bytes()
    assert read(dialect, [body], "application/json") == (expected, None)


@pytest.mark.parametrize("name", ["deepseek_thoughts", "open_router_comments"])
def test_what_is_wanted_back_goes_back(name: str) -> None:
    dialect, reply = REPLIES[name]
    turns = (
        Message.user("Hi"),
        Message.assistant(reply.text, reply.tool_calls, reply.native),
        *(Message.tool(call.id, "here") for call in reply.tool_calls),
    )
    for row in (dialect, "groq"):
        call = GenerationCall(turns, model="m", tools=(Tool("get_date"),))
        body = json.loads(ChatCodec(DIALECTS[row]).request(call, TARGET).body)
        returned = {key: value for key, value in body["messages"][1].items() if key.startswith("reasoning")}
        assert reply.native is not None
        assert returned == (reply.native.data if row == dialect else {})  # nobody else gets it


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 502, "message": "Provider disconnected", "metadata": {"provider_name": "X"}}, UpstreamFailed),
        ({"code": 503, "message": "No provider is there"}, Overloaded),
    ],
)
def test_an_error_in_the_middle_of_a_stream_is_typed(error: dict[str, Any], kind: type[Exception]) -> None:
    """As OpenRouter sends it: beside a choice that has ended with an error."""
    last = {
        "id": "gen-1",
        "error": error,
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
    }
    head = b': OPENROUTER PROCESSING\n\ndata: {"choices":[{"index":0,"delta":{"content":"Gr"}}]}\n\n'
    data = head + b"data: " + json.dumps(last).encode() + b"\n\n"
    for place in range(len(data)):
        events, found, message = outcome(
            ChatCodec(DIALECTS["open_router"]).reader(CALL, "text/event-stream", TARGET), cut(data, [place])
        )
        assert (found, error["message"] in message) == (kind, True), place
        assert [event.text for event in events if hasattr(event, "text")] == ["Gr"]


@pytest.mark.parametrize(
    ("dialect", "status", "body", "words"),
    [
        (
            "mistral",
            422,
            {"detail": [{"loc": ["body", "x"], "msg": "Extra inputs", "type": "extra_forbidden"}]},
            "Extra",
        ),
        ("grok", 400, {"code": "Client specified an invalid argument", "error": "no such model"}, "no such model"),
        ("novita_ai", 400, {"code": 400, "reason": "INVALID_REQUEST_BODY", "message": "no field x"}, "no field x"),
        ("openwebui", 400, {"detail": "Model not found"}, "Model not found"),
        ("tensor_rt", 400, {"object": "error", "message": "Extra", "type": "BadRequestError", "code": 400}, "Extra"),
        ("lm_studio", 400, {"error": "'messages' field is required"}, "required"),
        (
            "azure_openai",
            404,
            {"error": {"code": "DeploymentNotFound", "message": "The deployment is not"}},
            "deployment",
        ),
    ],
)
def test_errors_of_every_form_say_what_the_provider_said(
    dialect: str, status: int, body: dict[str, Any], words: str
) -> None:
    target = Target("http://x", provider=dialect)
    error = ChatCodec(DIALECTS[dialect]).error(HttpResponse(status, {}, json.dumps(body).encode()), target)
    assert words in error.message
    assert error.message.startswith(dialect)
    assert error.status == status


def test_deepseek_gives_up_in_the_middle_where_it_has_no_resources() -> None:
    first = b'data: {"choices":[{"index":0,"delta":{"content":"Gr"}}]}\n\n'
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}]}\n\n'
    reader = ChatCodec(DIALECTS["deepseek"]).reader(CALL, "text/event-stream", TARGET)
    events, found, _ = outcome(reader, [first + last, b"data: [DONE]\n\n"])
    assert (found, [event.text for event in events if hasattr(event, "text")]) == (Overloaded, ["Gr"])


def test_where_thoughts_must_come_back_there_are_none_of_other_providers() -> None:
    """DeepSeek refuses a turn without them where tools are offered, and takes an empty text."""
    others = Native("open_router", {"reasoning_content": "not its own"})
    turns = (
        Message.user("Hi"),
        Message.assistant("", (ToolCall("c", "get_date", {}),), others),
        Message.tool("c", "now"),
        Message.assistant("It is now."),
        msgspec.structs.replace(Message.user("So?"), native=Native("deepseek", {"reasoning_content": "a user's"})),
    )
    for tools, wanted in (((Tool("get_date"),), ""), ((), None)):
        call = GenerationCall(turns, model="m", tools=tools)
        body = json.loads(ChatCodec(DIALECTS["deepseek"]).request(call, TARGET).body)
        assert [each.get("reasoning_content") for each in body["messages"]] == [None, wanted, None, wanted, None]


def test_what_goes_back_has_the_form_that_came() -> None:
    """A turn may have been through the hands of a caller."""
    for value in ({"role": "system"}, 7, None, True):
        turn = Message.assistant("Hi", (), Native("deepseek", {"reasoning_content": value, "role": "system"}))
        body = json.loads(ChatCodec(DIALECTS["deepseek"]).request(GenerationCall((turn,), model="m"), TARGET).body)
        assert body["messages"] == [{"role": "assistant", "content": "Hi"}]


@pytest.mark.parametrize(("dialect", "delta"), [
    ("deepseek", {"reasoning_content": "#"}),
    ("open_router", {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "#"}]}),
])  # fmt: skip
def test_long_thoughts_cost_linear_time(dialect: str, delta: dict[str, Any]) -> None:
    def seconds(count: int) -> float:
        reader = ChatCodec(DIALECTS[dialect]).reader(CALL, "text/event-stream", TARGET)
        line = b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"
        begin = time.perf_counter()
        for _ in range(count // 100):
            reader.feed(line * 100)
        (native,) = (event for event in reader.feed(b"data: [DONE]\n\n") if isinstance(event, Native))
        spent = time.perf_counter() - begin
        assert str(native.data).count("#") == count
        return spent

    seconds(1000)
    assert seconds(300_000) < 12.0  # quadratic, it would be minutes


def test_turns_of_one_role_are_one_where_they_must_alternate() -> None:
    turns = (Message.system("a"), Message.user("b"), Message.user("c"), Message.assistant("d"), Message.user("e"))
    body = json.loads(ChatCodec(DIALECTS["perplexity"]).request(GenerationCall(turns, model="m"), TARGET).body)
    assert [(each["role"], each["content"][0]) for each in body["messages"]] == [
        ("system", "a"),
        ("user", "b"),
        ("assistant", "d"),
        ("user", "e"),
    ]
    assert body["messages"][1]["content"] == "b\n\nc"
