"""What a call becomes on its way to Anthropic: the target decides where it goes, nothing of the call changes that."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from lollms_core.errors import (
    AuthFailed,
    ConfigError,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RedirectRefused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.flows.agent import tool_loop
from lollms_core.protocols.anthropic import MessagesCodec
from lollms_core.protocols.anthropic_models import profile_of
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target, Timeouts
from lollms_core.protocols.lessons import Lesson, lesson_of
from lollms_core.types import (
    Batch,
    GenerationCall,
    ImagePart,
    Message,
    Native,
    Params,
    TextPart,
    Tool,
    ToolCall,
)
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import drive
from tests.support.feeding import TRANSCRIPTS

KEY = "canary-key-0123456789"
TARGET = Target("https://box.example", key=KEY, provider="box", model="m", timeouts=Timeouts(idle=7), verify_tls=False)
CODEC = MessagesCodec()
OLD, BOTH, NEW, ALWAYS = "claude-sonnet-4-5", "claude-opus-4-6", "claude-sonnet-5-5", "claude-opus-5-5"
TOOL = Tool("f", "F.", {"type": "object", "properties": {"x": {}}})
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def call(**fields: Any) -> GenerationCall:
    return GenerationCall(**{"messages": (Message.user("Hi"),), **fields})


def request_of(asked: GenerationCall, target: Target = TARGET) -> HttpRequest:
    return CODEC.request(asked, target)


def body_of(asked: GenerationCall, target: Target = TARGET) -> Any:
    return json.loads(request_of(asked, target).body)


def extra(model: str, **fields: Any) -> Any:
    """The body with extra parameters, and what its receipt says of each."""
    request = request_of(call(model=model, params=Params(extra=fields)))
    return json.loads(request.body), {each.name: each.action for each in request.receipt}


def tuned(model: str, more: dict[str, Any] | None = None, **fields: Any) -> Any:
    request = request_of(call(model=model, params=Params(**fields, extra=more or {})))
    body = json.loads(request.body)
    sent = {name: body[name] for name in ("temperature", "top_p", "top_k", "stop_sequences") if name in body}
    return sent, {each.name: each.action for each in request.receipt}


# ---- the request ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "accept"), [(True, "text/event-stream"), (False, "application/json")])
def test_the_request(stream: bool, accept: str) -> None:
    request = request_of(call(stream=stream))
    assert (request.method, request.url) == ("POST", "https://box.example/v1/messages")
    assert (request.timeouts, request.verify_tls, request.receipt) == (TARGET.timeouts, False, ())
    assert request.headers == {
        "accept": accept,
        "x-api-key": KEY,
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    streamed = {"stream": True} if stream else {}
    asked = {"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "Hi"}], **streamed}
    assert json.loads(request.body) == asked
    assert KEY not in repr(request) and KEY not in request.url
    assert "x-api-key" not in request_of(call(), Target("http://x", model="m")).headers


def test_preparing_takes_no_steps() -> None:
    with pytest.raises(StopIteration) as end:
        next(CODEC.prepare(call(), TARGET))
    assert end.value.value == request_of(call())


@pytest.mark.parametrize("base", ["https://box.example", "https://box.example/v1"])
def test_the_address_may_have_its_version(base: str) -> None:
    assert request_of(call(), Target(base, model="m")).url == "https://box.example/v1/messages"
    assert request_of(call(), Target("https://p.example/a/v1", model="m")).url == "https://p.example/a/v1/messages"


def test_a_target_may_ask_for_another_version() -> None:
    target = Target("https://x", model="m", headers={"Anthropic-Version": "2026-10-21", "anthropic-beta": "b"})
    headers = request_of(call(), target).headers
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("2026-10-21", "b")


def test_nothing_in_a_call_reaches_the_address_or_the_headers() -> None:
    evil = "http://evil.example/\r\nx: y"
    names = ("base_url", "host", "api_key", "headers", "model", "messages", "stream", "system", "max_tokens", "tools")
    asked = call(model=evil, params=Params(extra=dict.fromkeys((*names, "anthropic-version", "betas"), evil)))
    request = request_of(asked)
    assert request.url == "https://box.example/v1/messages"
    assert evil not in str(request.headers)
    assert json.loads(request.body) == {**body_of(call()), "model": evil}
    assert {each.name for each in request.receipt} == {*names, "anthropic-version", "betas"}


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Name a model"):
        request_of(call(), Target("https://x"))
    with pytest.raises(InvalidRequest, match="surrogate"):
        request_of(call(messages=(Message.user("\ud800"),)))
    with pytest.raises(InvalidRequest, match="finite"):
        request_of(call(params=Params(temperature=float("nan"))))
    with pytest.raises(ConfigError):
        request_of(call(), Target("https://x", key="a b\n", model="m"))


# ---- turns ---------------------------------------------------------------------------------------------------------


def turns(*messages: Message) -> Any:
    return body_of(call(messages=messages))["messages"]


def test_instructions_stand_beside_the_turns() -> None:
    body = body_of(call(messages=(Message.system("A"), Message.system("B"), Message.system(" "), Message.user("x"))))
    assert (body["system"], body["messages"]) == ("A\n\nB", [{"role": "user", "content": "x"}])
    late = request_of(
        call(messages=(Message.user("x"), Message.assistant("y"), Message.system("C"), Message.user("z")))
    )
    assert json.loads(late.body)["system"] == "C"
    assert [(each.name, each.action) for each in late.receipt] == [("system", "rewritten")]
    assert "system" not in body_of(call())


def test_neighbours_of_one_role_are_one_turn() -> None:
    assert turns(Message.user("a"), Message.user("b"), Message.assistant("c"), Message.assistant("d")) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
    ]
    with_empty = turns(Message.user("a"), Message.assistant(" \n"), Message.user(""), Message.user("b"))
    assert with_empty[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


def test_the_user_begins() -> None:
    request = request_of(call(messages=(Message.assistant("Welcome!"), Message.user("Hi"))))
    sent = json.loads(request.body)["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"].strip()
    assert [(each.name, each.action) for each in request.receipt] == [("messages", "rewritten")]


@pytest.mark.parametrize("messages", [(), (Message.system("S"),), (Message.user(" \n\t"),), (Message.assistant(""),)])
def test_where_nothing_is_asked_nothing_is_sent(messages: tuple[Message, ...]) -> None:
    with pytest.raises(InvalidRequest, match="no message to answer"):
        request_of(call(messages=messages))


def test_an_answer_to_be_continued_ends_without_blanks() -> None:
    assert turns(Message.user("a"), Message.assistant("The \n"))[-1] == {"role": "assistant", "content": "The"}
    assert turns(Message.user("a"), Message.assistant("b "), Message.user("c"))[1]["content"] == "b "


def test_calls_and_results() -> None:
    sent = turns(
        Message.user("a"),
        Message.assistant("", [ToolCall("1", "f", {"x": 1}), ToolCall("functions.g:0", "g", {})]),
        Message.user("Wait."),
        Message.tool("1", "one"),
        Message.tool("functions.g:0", ""),
    )
    calls = [
        {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "functions_g_0", "name": "g", "input": {}},
    ]
    assert sent[1] == {"role": "assistant", "content": calls}
    assert sent[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "functions_g_0"},
        {"type": "text", "text": "Wait."},
    ]


def test_images_of_the_user_and_of_tools() -> None:
    image = ImagePart(b"\x89PNG", "image/png")
    block = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"\x89PNG").decode()},
    }
    sent = turns(Message.user("Look.", [image]), Message("tool", (TextPart("Here."), image), tool_call_id="1"))
    assert sent[0]["content"] == [
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "Here."}, block]},
        {"type": "text", "text": "Look."},
        block,
    ]
    for role in ("system", "assistant"):
        with pytest.raises(UnsupportedFeature):
            turns(Message.user("x"), Message(role, (image,)))  # type: ignore[arg-type]


def test_a_turn_of_its_own_goes_back_as_it_came() -> None:
    blocks = [{"type": "thinking", "thinking": "", "signature": "s"}, {"type": "text", "text": "b"}]
    mine = Message.assistant("b", native=Native("anthropic", blocks))
    assert turns(Message.user("a"), mine, Message.user("c"))[1] == {"role": "assistant", "content": blocks}


@pytest.mark.parametrize(
    "native",
    [
        Native("gemini", [{"type": "text", "text": "no"}]),
        Native("anthropic", {"type": "text"}),
        Native("anthropic", []),
        Native("anthropic", ["x"]),
        Native("anthropic", [{"text": "no"}]),
        Native("anthropic", None),
    ],
)
def test_a_turn_of_somebody_else_is_written_anew(native: Native) -> None:
    sent = turns(Message.user("a"), Message.assistant("b", native=native), Message.user("c"))
    assert sent[1] == {"role": "assistant", "content": "b"}


# ---- tools and schemas ---------------------------------------------------------------------------------------------


def test_tools() -> None:
    body = body_of(call(tools=(TOOL, Tool("g")), params=Params(extra={"tool_choice": "required"})))
    assert body["tools"] == [
        {"name": "f", "description": "F.", "input_schema": {"type": "object", "properties": {"x": {}}}},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("f", {"type": "tool", "name": "f"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_choices_of_a_tool(given: Any, sent: Any) -> None:
    asked = call(tools=(TOOL,), params=Params(extra={"tool_choice": given}))
    assert body_of(asked)["tool_choice"] == sent
    request = request_of(call(params=asked.params))
    assert "tool_choice" not in json.loads(request.body)
    assert [(each.name, each.action) for each in request.receipt] == [("tool_choice", "dropped")]


@pytest.mark.parametrize("odd", ["", 3, [], {"name": "f"}, None])
def test_a_choice_that_is_none_is_refused(odd: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request_of(call(tools=(TOOL,), params=Params(extra={"tool_choice": odd})))
    assert caught.value.param == "tool_choice"


def test_tools_that_were_called_are_described_though_none_is_offered() -> None:
    spoken = (Message.user("a"), Message.assistant("", [ToolCall("1", "f", {})]), Message.tool("1", "x"))
    request = request_of(call(messages=spoken))
    body = json.loads(request.body)
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert (body["tool_choice"], request.receipt) == ({"type": "none"}, ())


def test_schemas() -> None:
    body = body_of(call(model=OLD, schema=SCHEMA, params=Params(extra={"effort": "low"})))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    body = body_of(call(model=NEW, schema=SCHEMA, params=Params(extra={"effort": "low"})))
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}


def test_schemas_are_brought_down_to_what_is_taken() -> None:
    odd = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}, "s": {"type": ["string", "null"]}}}
    request = request_of(call(model=NEW, schema=odd))
    sent = json.loads(request.body)["output_config"]["format"]["schema"]
    assert sent["additionalProperties"] is False
    assert "minimum" not in sent["properties"]["n"] and "3" in sent["properties"]["n"]["description"]
    assert {each.name for each in request.receipt} == {"schema"}
    assert "additionalProperties" not in odd


def test_a_model_without_schemas_is_told_in_words() -> None:
    request = request_of(
        call(model="claude-3-haiku-20240307", schema=SCHEMA, messages=(Message.system("S"), Message.user("x")))
    )
    body = json.loads(request.body)
    assert "output_config" not in body
    assert body["system"].startswith("S\n\nAnswer with one JSON value")
    assert json.loads(body["system"].rpartition("\n")[2]) == SCHEMA
    assert [(each.name, each.action) for each in request.receipt] == [("schema", "rewritten")]


# ---- parameters ----------------------------------------------------------------------------------------------------


def test_parameters_of_others_are_dropped() -> None:
    asked = call(
        params=Params(seed=1, min_p=0.1, repeat_penalty=1.1, ctx_size=4096, n_threads=2, extra={"mirostat": 1})
    )
    request = request_of(asked)
    assert json.loads(request.body) == body_of(call())
    assert {each.name for each in request.receipt} == {
        "seed",
        "min_p",
        "repeat_penalty",
        "ctx_size",
        "n_threads",
        "mirostat",
    }
    assert {each.action for each in request.receipt} == {"dropped"}
    assert body_of(call(params=Params(extra={"metadata": {"user_id": "u"}})))["metadata"] == {"user_id": "u"}


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("claude-2.1", 4096),
        ("claude-3-opus-20240229", 4096),
        ("claude-3-5-haiku-20241022", 8192),
        ("claude-3-7-sonnet-20250219", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-sonnet-4-20250514", 64_000),
        ("claude-haiku-4-5-20251001", 64_000),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", 64_000),
        ("anthropic/claude-opus-4.6", 128_000),
        ("claude-mythos-preview", 128_000),
        ("claude-haiku-5-5", 128_000),
        ("claude-opus-9", 128_000),
        ("deepseek-chat", 4096),
    ],
)
def test_without_a_limit_all_that_the_model_can_write(model: str, most: int) -> None:
    assert body_of(call(model=model))["max_tokens"] == most
    request = request_of(call(model=model, params=Params(max_tokens=7)))
    assert json.loads(request.body)["max_tokens"] == 7
    assert request.receipt == ()
    assert "max_tokens" not in request.optional


def test_sampling_goes_to_models_that_take_it() -> None:
    assert tuned("claude-3-opus", temperature=0.5, top_p=0.9, top_k=3) == (
        {"temperature": 0.5, "top_p": 0.9, "top_k": 3},
        {},
    )
    assert tuned(OLD, temperature=0.5, top_p=0.9, top_k=3) == (
        {"temperature": 0.5, "top_k": 3},
        {"top_p": "dropped"},
    )
    assert tuned(OLD, top_p=0.9) == ({"top_p": 0.9}, {})
    assert tuned(OLD, temperature=1.7) == ({"temperature": 1.0}, {"temperature": "clamped"})
    dropped = dict.fromkeys(("temperature", "top_p", "top_k"), "dropped")
    for model in (NEW, ALWAYS, "claude-opus-4-7"):
        assert tuned(model, temperature=0.5, top_p=0.9, top_k=3) == ({}, dropped)


def test_sampling_while_the_model_thinks() -> None:
    assert tuned(OLD, {"thinking": True}, temperature=0.5, top_k=3, top_p=0.96) == (
        {"top_p": 0.96},
        {"temperature": "dropped", "top_k": "dropped"},
    )
    assert tuned(BOTH, {"thinking": {"type": "adaptive"}}, top_p=0.5) == ({}, {"top_p": "dropped"})
    assert tuned(BOTH, {"thinking": False}, temperature=0.5) == ({"temperature": 0.5}, {})


def test_ends_of_blanks_are_left_out() -> None:
    assert tuned(OLD, stop=("\n", "X", "")) == ({"stop_sequences": ["X"]}, {"stop": "dropped"})
    assert tuned(OLD, stop=("\n\n",)) == ({}, {"stop": "dropped"})
    assert tuned(OLD, stop=()) == ({}, {})


@pytest.mark.parametrize(
    ("model", "given", "sent", "told"),
    [
        (OLD, True, {"type": "enabled", "budget_tokens": 16_000}, {}),
        (OLD, 5000, {"type": "enabled", "budget_tokens": 5000}, {}),
        (OLD, False, None, {}),
        (OLD, "high", {"type": "enabled", "budget_tokens": 16_000}, {"effort": "dropped"}),
        (BOTH, True, {"type": "adaptive"}, {}),
        (BOTH, 5000, {"type": "enabled", "budget_tokens": 5000}, {}),
        (NEW, True, {"type": "adaptive", "display": "summarized"}, {}),
        (NEW, 5000, {"type": "adaptive", "display": "summarized"}, {"thinking": "rewritten"}),
        (NEW, False, {"type": "disabled"}, {}),
        (NEW, "off", {"type": "disabled"}, {}),
        ("claude-opus-4-8", 0, None, {}),
        (ALWAYS, False, None, {"thinking": "dropped"}),
        ("claude-3-opus", True, None, {"thinking": "dropped"}),
        ("claude-3-opus", "high", None, {"thinking": "dropped"}),
        ("kimi-k2", True, {"type": "enabled", "budget_tokens": 2048}, {}),
        (NEW, {"type": "between_tools"}, {"type": "between_tools"}, {}),
    ],
)
def test_thinking_in_the_form_of_the_model(model: str, given: Any, sent: Any, told: Any) -> None:
    for name in ("thinking", "think"):
        body, receipt = extra(model, **{name: given})
        assert (body.get("thinking"), receipt) == (sent, told)
        assert "output_config" not in body


def test_how_hard_to_think() -> None:
    body, receipt = extra(NEW, thinking="low")
    assert (body["thinking"]["type"], body["output_config"], receipt) == ("adaptive", {"effort": "low"}, {})
    assert extra(NEW, effort="max")[0]["output_config"] == {"effort": "max"}
    assert extra(OLD, effort="max")[1] == {"effort": "dropped"}
    assert extra("claude-opus-4-5", effort="low")[0]["output_config"] == {"effort": "low"}


def test_thoughts_leave_room_for_the_answer() -> None:
    asked = call(model=OLD, params=Params(max_tokens=3000, extra={"thinking": True}))
    assert body_of(asked)["thinking"]["budget_tokens"] == 1500
    with pytest.raises(InvalidRequest) as caught:
        request_of(call(model=OLD, params=Params(max_tokens=1000, extra={"thinking": True})))
    assert caught.value.param == "max_tokens"


@pytest.mark.parametrize("odd", [-1, 1.5, "", "x" * 99, [], {}, None, {"type": 3}])
def test_odd_thinking_is_refused(odd: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        extra(OLD, thinking=odd)
    assert caught.value.param == "thinking"


def test_what_a_model_refuses_is_learned() -> None:
    asked = call(params=Params(max_tokens=9, temperature=0.5, stop=("X",), extra={"thinking": 2000}))
    assert set(request_of(call(params=Params(temperature=0.5, top_k=1))).optional) == {"temperature", "top_k"}
    assert set(request_of(asked).optional) == {"thinking", "stop_sequences"}
    told = "`temperature` is deprecated for this model."
    learned = lesson_of(CODEC.error(refusal(400, "invalid_request_error", told), TARGET), ("temperature", "top_k"))
    assert learned == Lesson("temperature")
    request = request_of(
        call(params=Params(max_tokens=9, temperature=0.5, top_k=1)),
        Target("https://x", model="m", lessons=(learned, Lesson("max_tokens", "max_completion_tokens"))),
    )
    body = json.loads(request.body)
    assert ("temperature" in body, body["top_k"], body["max_tokens"]) == (False, 1, 9)
    assert [(each.name, each.action) for each in request.receipt] == [("temperature", "dropped")]


# ---- errors --------------------------------------------------------------------------------------------------------


def refusal(status: int, kind: str, message: str, **headers: str) -> HttpResponse:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_body"}
    return HttpResponse(status, {"content-type": "application/json", **headers}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", InvalidRequest),
        (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", ContextTooLong),
        (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3", ContextTooLong),
        (401, "authentication_error", "invalid x-api-key", AuthFailed),
        (402, "billing_error", "Pay.", UpstreamError),
        (403, "permission_error", "no", AuthFailed),
        (404, "not_found_error", "model: claude-nobody", UnknownModel),
        (404, "not_found_error", "Not found", InvalidRequest),
        (413, "request_too_large", "Request exceeds the maximum size", PayloadTooLarge),
        (429, "rate_limit_error", "slow down", RateLimited),
        (500, "api_error", "Internal server error", UpstreamFailed),
        (504, "timeout_error", "too slow", UpstreamTimeout),
        (529, "overloaded_error", "Overloaded", Overloaded),
    ],
)
def test_errors_have_their_class(status: int, kind: str, message: str, expected: type[LollmsError]) -> None:
    error = CODEC.error(refusal(status, kind, message, **{"request-id": "req_1", "retry-after": "3"}), TARGET)
    assert type(error) is expected
    assert (error.status, error.provider, error.request_id, error.retry_after) == (status, "box", "req_1", 3.0)


def test_errors_of_others_are_read_as_well() -> None:
    page = HttpResponse(502, {"content-type": "text/html"}, b"<html>bad gateway</html>")
    assert type(CODEC.error(page, TARGET)) is UpstreamFailed
    assert type(CODEC.error(HttpResponse(302, {"location": "http://x"}, b""), TARGET)) is RedirectRefused
    leaked = CODEC.error(refusal(400, "invalid_request_error", f"the key {KEY} is odd", **{"request-id": KEY}), TARGET)
    assert KEY not in f"{leaked} {leaked!r} {leaked.request_id}"


# ---- the tool loop -------------------------------------------------------------------------------------------------


class TwoRounds:
    """A port that calls tools in the first round and answers in the second."""

    def __init__(self) -> None:
        self.asked: list[GenerationCall] = []

    @contextlib.contextmanager
    def open(self, asked: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        self.asked.append(asked)
        reader = CODEC.reader(asked, "text/event-stream")
        name = "text" if len(self.asked) > 1 else "thinking_and_tools"
        yield iter([reader.feed((TRANSCRIPTS / "anthropic" / f"{name}.sse").read_bytes()), reader.close()])

    def tool(self, asked: ToolCall, cancel: Cancel) -> Generator[Batch, None, str]:
        yield ()
        return f"{asked.name} says so"


def test_signed_thoughts_go_back_with_the_results_of_tools() -> None:
    own = ("get_weather", "get_time", "now")
    ports: Any = TwoRounds()
    asked = call(tools=tuple(Tool(name) for name in own), params=Params(extra={"thinking": True}))
    for _ in drive(tool_loop(asked, own, 3), ports, Cancel()):
        pass
    came = json.loads((TRANSCRIPTS / "anthropic" / "thinking_and_tools.json").read_bytes())["content"]
    sent = body_of(ports.asked[1])["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert sent[1]["content"] == came, "the turn goes back word for word, with the signature"
    results = [(each["type"], each["tool_use_id"], each["content"]) for each in sent[2]["content"]]
    assert results == [("tool_result", each["id"], f"{each['name']} says so") for each in came[2:]]


def test_names_say_the_generation() -> None:
    assert profile_of("CLAUDE-OPUS-4@20250514") == profile_of("claude-4-opus-20250514") == profile_of("claude-opus-4-0")
    assert profile_of("anthropic/claude-3.7-sonnet:beta") == profile_of("claude-3-7-sonnet-latest")
