"""Conversations of other providers, and settings that a model does not have, through `LollmsClient`.

Where Anthropic and Google would refuse the call, it is made in another way; what is learned of one setting does not
forbid the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import UnsupportedFeature
from lollms_core.types import ImagePart, Message, Reply, TextPart, Tool, ToolCall
from tests.support.anthropic_server import AnthropicServer
from tests.support.gemini_server import KEY, GeminiServer
from tests.support.ollama_server import png

TOOL = Tool("weather", "Now.", {"type": "object", "properties": {"n": {}}})
CALLS = [ToolCall("call_0", "weather", {}), ToolCall("call_1", "weather", {})]
ROUND = [Message.assistant("", CALLS), *(Message.tool(call.id, "sun") for call in CALLS)]


@pytest.fixture(scope="module")
def google() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def anthropic() -> Iterator[AnthropicServer]:
    with AnthropicServer(key="canary-key-0123456789") as server:
        yield server


def gemini(google: GeminiServer, model: str) -> LollmsClient:
    return LollmsClient("gemini", google.base, model_name=model, service_key=KEY)


def claude(anthropic: AnthropicServer, model: str) -> LollmsClient:
    return LollmsClient("claude", anthropic.origin, model_name=model, service_key="canary-key-0123456789")


def told(reply: Reply) -> dict[str, str]:
    return {each.name: each.action for each in reply.receipt}


@pytest.mark.parametrize("model", ["claude-sonnet-4-5-20250929", "claude-opus-4-6", "claude-opus-5-5"])
def test_claude_goes_on_with_the_calls_of_others(anthropic: AnthropicServer, model: str) -> None:
    with claude(anthropic, model) as client:
        reply = client.complete([Message.user("?"), *ROUND, *ROUND], tools=[TOOL], thinking=2000)
    assert reply.text == "call_0_2 said sun; call_1_2 said sun"


def test_claude_says_that_it_does_not_continue_answers(anthropic: AnthropicServer) -> None:
    begun = [Message.user("?"), Message.assistant("Well, ")]
    with claude(anthropic, "claude-sonnet-4-5-20250929") as client:
        assert client.complete(begun).text == "Well,"
    with claude(anthropic, "claude-opus-4-6") as client, pytest.raises(UnsupportedFeature, match="prefill"):
        client.complete(begun)


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-pro-preview"])
def test_gemini_goes_on_with_the_calls_of_others(google: GeminiServer, model: str) -> None:
    with gemini(google, model) as client:
        reply = client.complete([Message.user("?"), *ROUND, *ROUND], tools=[TOOL], thinking=True)
    assert reply.text == "weather said sun weather said sun"


def test_gemini_thinks_as_far_as_it_can(google: GeminiServer) -> None:
    for model in ("gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-2.5-flash"):
        with gemini(google, model) as client:
            reply = client.complete("Hi", thinking="low")
            assert (bool(reply.thoughts), told(reply)) == (True, {"thinking": "rewritten"})
            off = client.complete("Hi", thinking=False)
            assert told(off) == ({"thinking": "dropped"} if model == "gemini-2.5-pro" else {})
            for more in (2000, True):
                reply = client.complete("Hi", thinking=more)
                assert (bool(reply.thoughts), told(reply)) == (True, {})


def test_gemini_looks_at_what_a_tool_shows(google: GeminiServer) -> None:
    shown = Message("tool", (TextPart("Here."), ImagePart(png(3, 4), "image/png")), tool_call_id="call_0")
    turns = [Message.user("?"), Message.assistant("", CALLS), shown, Message.tool("call_1", "No.")]
    with gemini(google, "gemini-3-pro-preview") as client:
        assert client.complete(turns, tools=[TOOL]).text == "weather said Here. weather said No. [(3, 4)]"
    with gemini(google, "gemini-2.5-flash") as client, pytest.raises(UnsupportedFeature):
        client.complete(turns, tools=[TOOL])
