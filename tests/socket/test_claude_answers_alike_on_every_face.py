"""The binding `claude` in the client and `claude_binding` in the server: the same events, errors, and no key shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from lollms_client import MSG_TYPE, AsyncLollmsClient, LollmsClient
from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    LollmsError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    UnknownModel,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.flows.agent import tool_loop
from lollms_core.protocols.anthropic import MessagesCodec
from lollms_core.protocols.base import Target
from lollms_core.protocols.retry import NO_RETRY
from lollms_core.types import (
    Batch,
    Done,
    Event,
    GenerationCall,
    Message,
    Native,
    Params,
    Reply,
    Tool,
    ToolCall,
    Usage,
)
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import drive
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.upstream import Upstream
from tests.support.anthropic_rules import MODELS, signature_of
from tests.support.anthropic_server import THOUGHTS, AnthropicServer
from tests.support.feeding import merged
from tests.support.ollama_server import png
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import Served, running_server

KEY = "canary-claude-key-0123456789"
TEXT = "Grüße, 世界 🦙!"
OLD, NEW = "claude-sonnet-4-5-20250929", "claude-sonnet-5-5"
TOOL = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"n": {}}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
COUNTED = Usage(11, 7, 18)


@pytest.fixture(scope="module")
def api() -> Iterator[AnthropicServer]:
    with AnthropicServer(key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def server(api: AnthropicServer) -> Iterator[Served]:
    settings = {"type": "claude_binding", "base_url": api.origin, "default_model": OLD, "api_key": KEY}
    instances = {"there": settings, "locked": {**settings, "api_key": "canary-wrong-key-0123456789"}}
    config = {"bindings_map": dict.fromkeys(instances, "claude_binding"), "defaults": {"ttt_binding": "there"}}
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # its instances do not ask again, so that no test has to wait
            patch.setattr(MessagesCodec, "retry", NO_RETRY, raising=False)
            served = stack.enter_context(running_server(None, config, instances))
            served.wait_until(lambda: served.services.manager.models != "loading", 20)
        yield served


@pytest.fixture
def client(api: AnthropicServer) -> Iterator[LollmsClient]:
    with LollmsClient("claude", api.origin, model_name=OLD, service_key=KEY) as made:
        yield made


# ---- faces ---------------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """One question as the clients are asked it; `more` are the other arguments."""

    text: str
    more: dict[str, Any]


def sync_face(api: AnthropicServer, server: Served, asked: Asked) -> tuple[list[Any], Reply]:
    with LollmsClient("claude", api.origin, model_name=OLD, service_key=KEY) as client:
        with client.stream(asked.text, **asked.more) as stream:
            events: list[Event] = list(stream)
            return told(events), stream.result()


def async_face(api: AnthropicServer, server: Served, asked: Asked) -> tuple[list[Any], Reply]:
    async def run() -> tuple[list[Event], Reply]:
        client = AsyncLollmsClient("claude", f"{api.origin}/v1", model_name=OLD, service_key=KEY)
        try:
            async with client.stream(asked.text, **asked.more) as stream:
                events = [event async for event in stream]
                return events, await stream.result()
        finally:
            await client.close()

    events, reply = asyncio.run(run())
    return told(events), reply


def through_the_server(api: AnthropicServer, server: Served, asked: Asked) -> tuple[list[Any], Reply]:
    with LollmsClient("lollms", server.url, service_key=server.key) as client:
        with client.stream(asked.text, **asked.more) as stream:
            events: list[Event] = list(stream)
            return told(events), stream.result()


def told(events: list[Event]) -> list[Any]:
    """Without `Done` and `Native`, whose content is in the reply, and with neighbouring deltas joined."""
    return merged(each for each in events if not isinstance(each, Done | Native))


QUESTIONS = {
    "text": Asked(TEXT, {}),
    "parameters": Asked(
        "One. END Two.", {"temperature": 0.5, "top_p": 0.5, "stop": ["END"], "seed": 3, "n_predict": 9}
    ),
    "length": Asked(TEXT, {"n_predict": 1}),
    "thoughts": Asked(TEXT, {"thinking": True, "temperature": 0.3}),
    "tools": Asked("tool:weather", {"tools": [TOOL]}),
    "thoughts and tools": Asked("tool:weather", {"tools": [TOOL], "thinking": 2000}),
    "schema": Asked("?", {"schema": SCHEMA}),
    "image": Asked("?", {"images": [png(5, 4)]}),
    "instructions": Asked("Hi", {"system": "Be kind."}),
    "refusal": Asked("refuse", {}),
}
FACES = (async_face, through_the_server)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_face_gives_the_same_events(name: str, face: Any, api: AnthropicServer, server: Served) -> None:
    events, reply = sync_face(api, server, QUESTIONS[name])
    others, other = face(api, server, QUESTIONS[name])
    assert others == events
    if face is through_the_server:  # what only the provider can read stays with whoever asked it
        reply, other = (without(each) for each in (reply, other))
    assert other == reply
    sent = [body for body in api.asked() if body.get("stream")][-2:]
    assert sent[0] == sent[1]


def without(reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, native=None)


@pytest.mark.parametrize("name", QUESTIONS)
def test_streamed_or_whole_it_is_the_same(name: str, client: LollmsClient, api: AnthropicServer) -> None:
    asked = QUESTIONS[name]
    assert client.complete(asked.text, **asked.more) == client.stream(asked.text, **asked.more).result()


# ---- what is asked and answered ------------------------------------------------------------------------------------


def test_what_comes_of_a_call(client: LollmsClient, api: AnthropicServer) -> None:
    reply = client.complete(TEXT)
    assert (reply.text, reply.usage, reply.model, reply.finish_reason) == (TEXT, COUNTED, OLD, "stop")
    assert api.asked()[-1] == {"model": OLD, "max_tokens": 64_000, "messages": [{"role": "user", "content": TEXT}]}
    seen = api.requests[-1]
    assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in seen.headers
    tuned = client.complete(*QUESTIONS["parameters"][:1], **QUESTIONS["parameters"].more)
    assert (tuned.text, tuned.finish_reason) == ("One. ", "stop")
    assert {each.name: each.action for each in tuned.receipt} == {"top_p": "dropped", "seed": "dropped"}
    assert client.complete(TEXT, n_predict=1).finish_reason == "length"
    assert client.complete("refuse").finish_reason == "content_filter"


def test_thoughts_are_shown_and_go_back_signed(client: LollmsClient, api: AnthropicServer) -> None:
    events: list[Any] = []
    client.generate_text(TEXT, thinking=True, streaming_callback=lambda text, kind: events.append((text, kind)))
    assert events[0][1] is MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK
    reply = client.complete("tool:weather", tools=[TOOL], thinking=2000)
    assert (reply.thoughts, reply.finish_reason) == (THOUGHTS, "tool_calls")
    arguments = {"n": 0, "ü": ["☃"]}
    assert reply.tool_calls == tuple(ToolCall(f"toolu_{at}", "weather", arguments) for at in "ab")
    assert reply.native is not None
    turns = [
        Message.user("tool:weather"),
        Message.assistant(reply.text, reply.tool_calls, reply.native),
        *(Message.tool(each.id, "sun") for each in reply.tool_calls),
    ]
    # the server refuses calls without the signed thoughts before them
    assert client.complete(turns, tools=[TOOL], thinking=2000).text == "toolu_a said sun; toolu_b said sun"
    thoughts = {"type": "thinking", "thinking": THOUGHTS, "signature": signature_of(THOUGHTS)}
    assert api.asked()[-1]["messages"][1]["content"][0] == thoughts
    without_them = [turns[0], Message.assistant("", reply.tool_calls), *turns[2:]]
    anew = client.complete(without_them, tools=[TOOL], thinking=2000)
    assert (anew.text, anew.thoughts) == ("toolu_a said sun; toolu_b said sun", "")
    assert [(each.name, each.action) for each in anew.receipt] == [("thinking", "dropped")]
    assert client.complete(turns).text == "toolu_a said sun; toolu_b said sun", "also when no tool is offered any more"


def returned(steps: Generator[Any, None, Reply]) -> Reply:
    """What a flow comes to."""
    reply: Reply | None = None
    while reply is None:
        try:
            next(steps)
        except StopIteration as end:
            reply = end.value
    return reply


class WithTools(Upstream):
    """The way to a model, with tools that run here."""

    def tool(self, asked: ToolCall, cancel: Cancel) -> Generator[Batch, None, str]:
        yield ()
        return "sun"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [OLD, NEW])
def test_functions_run_between_signed_thoughts(api: AnthropicServer, model: str, stream: bool) -> None:
    tools = (Tool("weather", "Now.", TOOL["parameters"]),)
    params = Params(extra={"thinking": True})
    call = GenerationCall((Message.user("tool:weather"),), model, params, stream=stream, tools=tools)
    transport = HttpTransport()
    ports: Any = WithTools(MessagesCodec(), Target(api.origin, KEY), transport)
    steps = drive(tool_loop(call, ["weather"], 2), ports, Cancel())
    try:
        reply = returned(steps)
    finally:
        transport.close()
    assert (reply.text, reply.thoughts) == ("toolu_a said sun; toolu_b said sun", f"{THOUGHTS}\n\n{THOUGHTS}")
    assert reply.usage == Usage(22, 14, 36)
    assert [block["type"] for block in api.asked()[-1]["messages"][1]["content"]] == [
        "thinking",
        "tool_use",
        "tool_use",
    ]


def test_a_model_that_is_told_in_another_way(client: LollmsClient, api: AnthropicServer) -> None:
    reply = client.complete("Hi", model=NEW, thinking=2000, temperature=0.5)
    assert (reply.text, reply.thoughts) == ("Hi", THOUGHTS)
    assert {each.name: each.action for each in reply.receipt} == {"thinking": "rewritten", "temperature": "dropped"}
    sent = api.asked()[-1]
    assert (sent["thinking"], sent["max_tokens"]) == ({"type": "adaptive", "display": "summarized"}, 128_000)
    assert client.complete("Hi", model=NEW, thinking="low").text == "Hi"
    assert client.complete("Hi", model=NEW, thinking=False).thoughts == ""
    assert client.complete("Hi", model="claude-opus-5-5", thinking=False).receipt[0].action == "dropped"
    assert client.complete("Hi", model="claude-opus-4-6", thinking=True).thoughts == THOUGHTS


def test_what_a_model_refuses_is_learned_once(client: LollmsClient, api: AnthropicServer) -> None:
    before = len(api.requests)
    for _ in range(3):
        reply = client.complete("Hi", model="claude-haiku-4-5-20251001", thinking={"type": "adaptive"})
        assert (reply.text, [each.name for each in reply.receipt]) == ("Hi", ["thinking"])
    assert len(api.requests) - before == 4, "one refusal, three answers"


def test_a_schema_holds_the_answer(client: LollmsClient, api: AnthropicServer) -> None:
    reply = client.complete("?", schema=SCHEMA)
    assert json.loads(reply.text) == {"age": 1}
    sent = api.asked()[-1]["output_config"]["format"]["schema"]
    assert sent["additionalProperties"] is False and "minimum" not in sent["properties"]["age"]
    assert "schema" in {each.name for each in reply.receipt}


def test_images_go_with_their_kind(client: LollmsClient, api: AnthropicServer) -> None:
    assert client.complete("What?", images=[png(5, 4), png(3, 2)]).text == "I see [(5, 4), (3, 2)]."
    kinds = [block["type"] for block in api.asked()[-1]["messages"][0]["content"]]
    assert sorted(kinds) == ["image", "image", "text"]


def test_models_and_tokens(client: LollmsClient, api: AnthropicServer) -> None:
    models = client.list_models()
    assert [each["model_name"] for each in models] == list(MODELS), "all pages"
    assert {each["context_size"] for each in models} == {200_000, 1_000_000}
    assert models[0]["supports_vision"] and models[0]["supports_tools"]
    info = client.get_model_info()
    assert (info["model_name"], info["context_size"], info["max_tokens"]) == (OLD, 200_000, 64_000)
    assert client.get_ctx_size("claude-opus-5-5") == 1_000_000
    assert client.count_tokens("one two three") == 8 + len(
        json.dumps([{"role": "user", "content": "one two three"}]).split()
    )
    asked = len(api.requests)
    assert client.count_tokens("") == 0
    assert client.count_tokens("  \n") >= 1
    assert len(api.requests) == asked, "blanks are not counted there"
    for unknown in (lambda: client.tokenize("x"), lambda: client.detokenize([1]), lambda: client.embed("x")):
        with pytest.raises(UnsupportedFeature):
            unknown()


# ---- errors --------------------------------------------------------------------------------------------------------

FAILURES: list[tuple[int, str, type[LollmsError], str]] = [
    (400, "invalid_request_error", InvalidRequest, "invalid_request"),
    (401, "authentication_error", AuthFailed, "auth_failed"),
    (403, "permission_error", AuthFailed, "auth_failed"),
    (413, "request_too_large", PayloadTooLarge, "payload_too_large"),
    (429, "rate_limit_error", RateLimited, "rate_limited"),
    (500, "api_error", UpstreamFailed, "upstream_failed"),
    (529, "overloaded_error", Overloaded, "overloaded"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind", "expected", "code"), FAILURES)
def test_errors_have_their_class_on_every_face(
    monkeypatch: pytest.MonkeyPatch,
    api: AnthropicServer,
    client: LollmsClient,
    server: Served,
    stream: bool,
    status: int,
    kind: str,
    expected: type[LollmsError],
    code: str,
) -> None:
    monkeypatch.setattr(MessagesCodec, "retry", NO_RETRY, raising=False)
    api.fail(status, kind, retry_after="7")
    with pytest.raises(expected) as caught:
        client.stream("Hi").result() if stream else client.complete("Hi")
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.retry_after, caught.value.request_id) == (status, 7.0, "req_1")
    api.fail(status, kind)
    answer = post(server, "Hi", stream=stream)
    assert answer.json()["code"] == code, answer


def test_it_is_asked_again_where_that_may_help(api: AnthropicServer, client: LollmsClient) -> None:
    api.fail(529, "overloaded_error", retry_after="0")
    assert client.complete("Hi").text == "Hi"
    api.fail(429, "rate_limit_error", retry_after="0")
    assert client.stream("Hi").result().text == "Hi"


def test_requests_that_are_refused(api: AnthropicServer, client: LollmsClient) -> None:
    with pytest.raises(UnknownModel, match="claude-nobody"):
        client.complete("Hi", model="claude-nobody")
    with pytest.raises(InvalidRequest, match="maximum allowed number of output tokens"):
        client.complete("Hi", n_predict=999_999)
    api.largest = 2000
    try:
        with pytest.raises(PayloadTooLarge):
            client.complete("x" * 3000)
    finally:
        api.largest = 32 * 2**20


def test_an_error_in_the_middle_keeps_what_came(client: LollmsClient, server: Served) -> None:
    with pytest.raises(Overloaded) as caught:
        client.stream("Once upon a time", model="claude-broken").result()
    assert caught.value.partial is not None and caught.value.partial.text == "Onc"
    events = post(server, "Once upon a time", model_name="claude-broken", stream=True).events()
    *chunks, error, final = events
    assert [each["content"] for each in chunks] == ["Onc"]
    assert (error["metadata"]["code"], final["metadata"]["status"]) == ("overloaded", "failed")


def post(server: Served, text: str, **more: Any) -> Answer:
    return ask(server.port, "POST", "/api/v1/generate", prompt(text, **more), server.headers)


# ---- stopping ------------------------------------------------------------------------------------------------------


def test_stopping_closes_the_connection(api: AnthropicServer, client: LollmsClient) -> None:
    api.hold()
    number = len(api.requests) + 1
    try:
        assert client.generate_text("Hello there", streaming_callback=lambda *_: False) == "Hel"
        assert api.wait_request(number).connection.closed_after() < 1
    finally:
        api.release()


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_the_server_closes_the_connection_behind_it(api: AnthropicServer, server: Served, stream: bool) -> None:
    api.hold()
    number = len(api.requests) + 1
    try:
        body = prompt("Hello there", stream=stream)
        with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers) as request:
            seen = api.wait_request(number)
            if stream:
                request.read_head()
            request.leave()
            assert seen.connection.closed_after() < 0.25
    finally:
        api.release()
    server.wait_idle()


# ---- the server's listings, and keys -------------------------------------------------------------------------------


def test_the_server_lists_and_describes_models(server: Served) -> None:
    listed = ask(server.port, "GET", "/api/v1/list_available_models/there", None, server.headers)
    models = {each["name"]: each for each in listed.json()["models"]}
    assert list(models) == list(MODELS)
    assert models["claude-opus-5-5"]["context_size"] == 1_000_000
    info = ask(server.port, "GET", f"/api/v1/get_model_info/there?model_name={NEW}", None, server.headers).json()
    assert (info["supports_vision"], info["max_output_tokens"], info["model_type"]) == (True, 128_000, "vlm")
    unknown = ask(server.port, "GET", "/api/v1/get_model_info/there?model_name=claude-nobody", None, server.headers)
    assert unknown.json()["code"] == "unknown_model"
    counted = ask(server.port, "POST", "/api/v1/count_tokens", {"text": "one two", "model_name": OLD}, server.headers)
    assert counted.json().get("count") == 8 + len(json.dumps([{"role": "user", "content": "one two"}]).split()), counted


def test_the_key_goes_to_anthropic_alone(monkeypatch: pytest.MonkeyPatch, api: AnthropicServer) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    binding: Any = LollmsClient("claude").binding
    assert (binding.host_address, binding.model_name) == ("https://api.anthropic.com", "claude-3-sonnet-20240229")
    assert binding.find_key() == KEY
    assert binding.target.timeouts.first_byte == 600
    assert KEY not in repr(binding.target) + repr(binding)
    versioned: Any = LollmsClient("claude", "https://api.anthropic.com/v1/").binding
    assert versioned.find_key() == KEY
    with LollmsClient("claude", api.origin, model_name=OLD) as client, pytest.raises(AuthFailed) as caught:
        client.complete("Hi")
    assert "ANTHROPIC_API_KEY was not sent" in str(caught.value) and KEY not in str(caught.value)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.origin)
    with LollmsClient("claude", model_name=OLD) as client:
        assert client.complete("Hi").text == "Hi"


def test_no_key_is_shown(api: AnthropicServer, server: Served, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "canary-wrong-key-0123456789"
    with caplog.at_level(logging.DEBUG):
        with LollmsClient("claude", api.origin, model_name=OLD, service_key=wrong) as client:
            with pytest.raises(AuthFailed) as caught:
                client.complete("Hi")
            shown: list[Callable[[], Any]] = [
                client.get_model_info,
                lambda: client.binding,
                lambda: client.generate_text("Hi"),
            ]
            said = str([repr(each()) for each in shown]) + repr(caught.value) + str(caught.value)
        paths = ["list_bindings", "list_active_bindings", "list_available_models/locked", "get_model_info/locked"]
        answers = [ask(server.port, "GET", f"/api/v1/{path}", None, server.headers).body for path in paths]
        locked = post(server, "Hi", binding_name="locked")
    assert locked.json()["code"] == "auth_failed"
    assert b"canary" not in b"".join([*answers, locked.body])
    assert "canary" not in said + caplog.text + repr(vars(server.services.manager))
    assert all("canary" not in seen.path for seen in api.requests)
