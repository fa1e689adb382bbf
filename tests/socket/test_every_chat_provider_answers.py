"""Every provider of the chat protocol answers through both clients, whole and streamed, from a stand-in that is strict.

The stand-in refuses whatever its provider's reference does not list, so an answer says that nothing of it was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    LollmsError,
    RateLimited,
    Refused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamError,
)
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.retry import NO_RETRY
from lollms_core.types import GenerationCall, ImagePart, Message, Reply, ToolCall, Usage
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.upstream import Upstream
from tests.support.chaos import ChaosServer, refused_url
from tests.support.ollama_server import png
from tests.support.strict_chat_rules import RULES
from tests.support.strict_chat_server import CITIES, KEY, THOUGHT, strict

TEXT = "Grüße 🦙, 世界!"
EVERYTHING = {
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "presence_penalty": 0.2,
    "frequency_penalty": 0.3,
    "seed": 7,
    "stop": [f"s{n}" for n in range(20)],
}
TOOL = {
    "name": "weather",
    "description": "",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
IN_PROMPT, NO_IMAGES = {"perplexity"}, {"deepseek"}

each_provider = pytest.mark.parametrize("name", RULES)


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def binding_of(name: str) -> str:
    return "azure_openai" if name == "azure_openai_v1" else name


def client_of(chaos: ChaosServer, name: str, model: str = "m", key: str = KEY) -> LollmsClient:
    return LollmsClient(binding_of(name), strict(chaos, name), model_name=model, service_key=key)


def answers(chaos: ChaosServer, name: str, model: str, prompt: Any, **asked: Any) -> list[Reply]:
    """The replies of both clients, whole and streamed, which must all be one."""

    async def of_coroutines() -> list[Reply]:
        client = AsyncLollmsClient(binding_of(name), strict(chaos, name), model_name=model, service_key=KEY)
        async with client:
            whole = await client.complete(prompt, **asked)
            async with client.stream(prompt, **asked) as stream:
                async for _ in stream:
                    pass
            return [whole, await stream.result()]

    with client_of(chaos, name, model) as client:
        replies = [client.complete(prompt, **asked), client.stream(prompt, **asked).result()]
    return replies + asyncio.run(of_coroutines())


def the_one(replies: list[Reply]) -> Reply:
    assert replies == [replies[0]] * 4
    return replies[0]


@each_provider
def test_text_with_every_parameter(chaos: ChaosServer, name: str) -> None:
    replies = answers(chaos, name, "m", TEXT, **EVERYTHING)
    assert [reply.text for reply in replies] == [TEXT] * 4
    assert {reply.finish_reason for reply in replies} == {"stop"}
    assert {reply.model for reply in replies} == {"m"}
    usages = {reply.usage for reply in (replies[0], replies[2])}
    assert usages == {Usage(11, 7, 18)}
    dropped = {item.name for item in replies[0].receipt}
    assert "repeat_last_n" in dropped or name == "localai"
    if name == "azure_openai":  # its older versions cannot be asked for usage, which is learned at the first refusal
        refused = [seen for seen in chaos.requests if b"stream_options" in seen.body]
        assert len(refused) == 2  # once by each client
        assert {reply.usage for reply in (replies[1], replies[3])} == {None}
    else:
        assert len(chaos.requests) == 4  # nothing was refused
        assert {reply.usage for reply in replies} == usages


@each_provider
def test_thoughts_are_no_part_of_the_answer(chaos: ChaosServer, name: str) -> None:
    for reply in answers(chaos, name, "thinker", TEXT):
        assert (reply.text, reply.thoughts) == (TEXT, "" if RULES[name].thoughts == "none" else THOUGHT)


@each_provider
def test_tools_are_called_and_answered(chaos: ChaosServer, name: str) -> None:
    model = "thinker" if name in ("deepseek", "open_router") else "m"
    replies = answers(chaos, name, model, "tool:weather", tools=[TOOL])
    for reply in replies:
        assert [(call.name, call.arguments) for call in reply.tool_calls] == [("weather", {"city": c}) for c in CITIES]
        assert reply.finish_reason == "tool_calls"
    reply = replies[1]
    turns = [
        Message.user("tool:weather"),
        Message.assistant(reply.text, reply.tool_calls, reply.native),
        *(Message.tool(call.id, "sun") for call in reply.tool_calls),
        Message.user(TEXT),
    ]
    # calls and answers of another provider are taken as well
    other = [turns[0], Message.assistant("", [ToolCall("call_1", "weather", {})]), Message.tool("call_1", "sun")]
    with client_of(chaos, name, "m") as client:
        for before in (turns[:-1], other, [*other, Message.assistant("sun")]):
            said = client.complete([*before, Message.user(TEXT)], tools=[TOOL]).text
            assert said.endswith(TEXT) if name in IN_PROMPT else said == TEXT
        client.complete(turns[:-1], tools=[TOOL])  # as an agent goes on, with the results last
    assert all(("tools" in body) is (name not in IN_PROMPT) for body in bodies(chaos))


def bodies(chaos: ChaosServer) -> list[dict[str, Any]]:
    return [seen.json() for seen in chaos.requests if seen.method == "POST"]


def test_a_tool_loop_in_words(chaos: ChaosServer) -> None:
    """Perplexity has no tools: the model reads of them, of its calls, and of their results, in turns that alternate."""
    with client_of(chaos, "perplexity") as client:
        reply = client.stream("tool:weather", tools=[TOOL], system="Be brief.").result()
        assert [(item.name, item.action) for item in reply.receipt] == [("tools", "rewritten")]
        results = [Message.tool(call.id, text) for call, text in zip(reply.tool_calls, ("sun", "rain"), strict=True)]
        turns = [Message.user("tool:weather"), Message.assistant(reply.text, reply.tool_calls), *results]
        client.complete([*turns, Message.user("So?")], tools=[TOOL], system="Be brief.")
    system, asked, called, answered = bodies(chaos)[-1]["messages"]
    assert system["content"].startswith("Be brief.")
    assert '"name":"weather"' in system["content"]
    assert asked == {"role": "user", "content": "tool:weather"}
    assert called["role"] == "assistant"
    assert called["content"].count("<tool_call>") == len(CITIES)
    assert all(each in answered["content"] for each in ("sun", "rain", "weather"))
    assert answered["content"].endswith("</tool_response>\n\nSo?")


def test_the_user_does_not_speak_behind_a_result_at_mistral(chaos: ChaosServer) -> None:
    """It refuses that, and a last turn of the assistant that is not marked as the beginning of its answer."""
    turns = [Message.user("a"), Message.assistant("", [ToolCall("call_1", "weather", {})]), Message.tool("call_1", "b")]
    with client_of(chaos, "mistral") as client:
        assert client.complete([*turns, Message.user("c")]).text == "c"
        assert client.complete([*turns, Message.assistant("It is")]).text == "It is"
    between, last = (body["messages"][3] for body in bodies(chaos))
    assert between == {"role": "assistant", "content": " "}
    assert last == {"role": "assistant", "content": "It is", "prefix": True}


@pytest.mark.parametrize("name", ["azure_openai", "azure_openai_v1"])
def test_what_azure_refuses_is_said(chaos: ChaosServer, name: str) -> None:
    with client_of(chaos, name, "filtered") as client, pytest.raises(InvalidRequest, match="filtered") as stopped:
        client.complete(TEXT)
    assert (stopped.value.status, stopped.value.upstream_code, stopped.value.param) == (400, "content_filter", "prompt")
    with client_of(chaos, name, "nobody") as client, pytest.raises(LollmsError, match="does not exist") as missing:
        client.stream(TEXT).result()
    assert (missing.value.status, missing.value.upstream_code) == (404, "DeploymentNotFound")


@each_provider
def test_schemas_and_images(chaos: ChaosServer, name: str) -> None:
    assert the_one([_plain(each) for each in answers(chaos, name, "m", TEXT, schema=SCHEMA)]).text == '{"n": 1}'
    picture = Message.user("What is it?", [ImagePart(png(), "image/png")])
    with client_of(chaos, name) as client:
        if name in NO_IMAGES:
            with pytest.raises(UnsupportedFeature, match="images"):
                client.complete([picture])
        else:
            assert client.complete([picture]).text == "an image"


def _plain(reply: Reply) -> Reply:
    return Reply(reply.text, finish_reason=reply.finish_reason, model=reply.model)


@each_provider
def test_models_and_embeddings(chaos: ChaosServer, name: str) -> None:
    rules = RULES[name]
    with client_of(chaos, name) as client:
        if rules.models:
            assert [each["model_name"] for each in client.list_models()] == ["one"]
        else:
            with pytest.raises(UnsupportedFeature, match="no list of its models"):
                client.list_models()
        if rules.embeddings:
            assert client.embed(["a", "bcd"]) == [[1.0], [3.0]]
        else:
            with pytest.raises(UnsupportedFeature, match="no embeddings"):
                client.embed("a")


@each_provider
def test_errors_are_typed(chaos: ChaosServer, name: str) -> None:
    with client_of(chaos, name, key="wrong-key") as client, pytest.raises(AuthFailed) as auth:
        client.complete(TEXT)
    assert (auth.value.status, "wrong-key" in str(auth.value)) == (401, False)
    with client_of(chaos, name, "breaks") as client:
        stream = client.stream(TEXT)
        with pytest.raises(UpstreamError, match="The engine died"):
            stream.result()


@each_provider
def test_a_provider_that_is_busy_says_how_long(chaos: ChaosServer, name: str) -> None:
    with client_of(chaos, name, "busy") as client:
        binding: Any = client.binding
        call = GenerationCall((Message.user("Hi"),), model="busy")
        transport = HttpTransport()
        try:
            upstream = Upstream(binding.codec, binding.target, transport, retry=NO_RETRY)
            request = ChatCodec(binding.dialect).request(call, binding.target)
            with pytest.raises(RateLimited) as caught:
                upstream.fetch(request)
        finally:
            transport.close()
    assert (caught.value.status, caught.value.retry_after) == (429, 2.0)


@pytest.mark.parametrize(
    "name", ["litellm", "vllm", "sglang", "openllm", "openwebui", "tensor_rt", "lm_studio", "localai"]
)
def test_a_server_that_is_not_there_says_how_it_is_started(name: str) -> None:
    with LollmsClient(name, refused_url(), model_name="m") as client, pytest.raises(Refused, match="Start it with `"):
        client.complete(TEXT)


def test_without_a_key_none_is_sent(chaos: ChaosServer) -> None:
    address = strict(chaos, "vllm", key="")
    with LollmsClient("vllm", address, model_name="m") as client:
        assert client.complete(TEXT).text == TEXT


def test_the_stand_in_would_notice(chaos: ChaosServer) -> None:
    """It refuses a field that its reference does not list, and that is learned from once."""
    with client_of(chaos, "groq") as client:
        for _ in range(2):
            reply = client.complete(TEXT, search_settings={})
            assert [(item.name, item.action) for item in reply.receipt] == [("search_settings", "dropped")]
        assert len(chaos.requests) == 3
    with LollmsClient("openai", strict(chaos, "groq"), model_name="m", service_key=KEY) as client:
        assert client.complete(TEXT, max_tokens=5).receipt  # the generic row was wrong about a name, and learned


def test_an_unknown_path_is_not_found(chaos: ChaosServer) -> None:
    address = strict(chaos, "groq").removesuffix("/openai/v1")
    with LollmsClient("groq", address, model_name="m", service_key=KEY) as client:
        with pytest.raises((UnknownModel, LollmsError)) as caught:
            client.complete(TEXT)
    assert caught.value.status == 404
