"""A client behind a lollms server runs its tools with a provider that wants its signatures back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_core.types import Message, Native
from tests.support.gemini_server import KEY, SIGNATURE, GeminiServer
from tests.support.raw_http import Answer, ask, prompt
from tests.support.server import Served, running_server

MODEL = "gemini-3-pro-preview"
WEATHER = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"n": {}}}}


@pytest.fixture(scope="module")
def google() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(google: GeminiServer) -> Iterator[Served]:
    settings = {"type": "gemini_binding", "base_url": google.base, "google_api_key": KEY, "default_model": MODEL}
    config = {"bindings_map": {"google": "gemini_binding"}, "defaults": {"ttt_binding": "google"}}
    with running_server(None, config, {"google": settings}) as served:
        served.wait_until(lambda: served.services.manager.models != "loading", 20)
        yield served


def sent(google: GeminiServer) -> list[dict[str, Any]]:
    """The turns of the last conversation."""
    asked = [seen for seen in google.requests if "enerateContent" in seen.path]
    contents: list[dict[str, Any]] = asked[-1].json()["contents"]
    return contents


@pytest.mark.parametrize("stream", [False, True])
def test_signatures_go_there_and_back(google: GeminiServer, server: Served, stream: bool) -> None:
    address = server.url
    with LollmsClient("lollms", address, service_key=server.key) as client:
        conversation: list[Any] = [Message.user("tool:weather")]
        with client.stream(conversation, tools=[WEATHER]) as answer:
            for _ in answer if stream else ():
                pass
            first = answer.result()
        assert first.tool_calls
        assert isinstance(first.native, Native) and first.native.protocol == "gemini"
        assert SIGNATURE in json.dumps(first.native.data)
        conversation.append(Message.assistant(first.text, first.tool_calls, first.native))
        conversation += [Message.tool(call.id, "It rains.") for call in first.tool_calls]
        with client.stream(conversation, tools=[WEATHER]) as answer:
            second = answer.result()
    assert second.text
    (turn,) = [turn for turn in sent(google) if turn["role"] == "model"]
    assert turn["parts"] == first.native.data or turn == first.native.data


def post(server: Served, *items: dict[str, Any], **more: Any) -> Answer:
    body = {**prompt("x", **more), "input_data": [*items, {"type": "text", "role": "user_prompt", "data": "Hi"}]}
    return ask(server.port, "POST", "/api/v1/generate", body, server.headers)


def test_a_turn_of_another_provider_is_said_in_its_words(google: GeminiServer, server: Served) -> None:
    native = {"protocol": "somebody else", "data": [{"text": "canary"}]}
    item = {"type": "text", "role": "assistant_message", "data": "It rained.", "metadata": {"native": native}}
    assert post(server, item).status == 200
    (turn,) = [turn for turn in sent(google) if turn["role"] == "model"]
    assert turn["parts"] == [{"text": "It rained."}]


@pytest.mark.parametrize("native", ["x", {"protocol": "gemini"}, {"protocol": "", "data": []}, [1]])
def test_odd_ones_are_refused(server: Served, native: Any) -> None:
    item = {"type": "text", "role": "assistant_message", "data": "a", "metadata": {"native": native}}
    answer = post(server, item)
    assert answer.status == 400
    assert "input_data[0].metadata.native" in str(answer.json())
