"""The server in front of an Ollama server: the documented wire, failures in the middle, and leaving at any time."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chaos import refused_url
from tests.support.ollama_server import MODELS, OllamaServer, png
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import Served, running_server

KEY = "canary-ollama-key-0123456789"
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": {}}}


@pytest.fixture(scope="module")
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer(key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def server(ollama: OllamaServer) -> Iterator[Served]:
    settings = {"type": "ollama_binding", "host": f"{ollama.origin}/", "default_model": "llama3.2", "api_key": KEY}
    instances = {
        "box": settings,
        "away": {**settings, "host": refused_url()},
        "bare": {**settings, "default_model": None},
        "locked": {**settings, "api_key": "canary-wrong-key-0123456789"},
    }
    config = {"bindings_map": dict.fromkeys(instances, "ollama_binding"), "defaults": {"ttt_binding": "box"}}
    with running_server(None, config, instances) as served:
        served.wait_until(lambda: served.services.manager.models != "loading", 20)
        yield served


def post(server: Served, text: str, **more: Any) -> Answer:
    return ask(server.port, "POST", "/api/v1/generate", prompt(text, **more), server.headers)


def both(server: Served, text: str, **more: Any) -> list[Any]:
    """The output, after a look that `final` of the stream has the same."""
    whole = post(server, text, **more)
    assert whole.status == 200, whole
    streamed = post(server, text, stream=True, **more).events()
    assert streamed[-1]["content"] == whole.json()["output"]
    output: list[Any] = whole.json()["output"]
    return output


def test_text_thoughts_and_what_is_known_of_the_answer(server: Served) -> None:
    (item,) = both(server, "Grüße, 世界!", model_name="qwen3", parameters={"top_k": 4, "logit_bias": {}})
    assert (item["data"], item["thoughts"]) == ("Grüße, 世界!", "Let me see.")
    receipt = [{"name": "logit_bias", "action": "dropped", "reason": "ollama has no such parameter"}]
    assert item["metadata"] == {
        "model_used": "qwen3",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        "receipt": receipt,
    }
    events = post(server, "Hi there", model_name="qwen3", stream=True).events()
    assert "".join(event["thoughts"] or "" for event in events) == "Let me see."


def test_tools_of_the_caller_are_called(server: Served) -> None:
    output = both(server, "tool:weather", tools=[TOOL])
    calls = [item["data"] for item in output if item["metadata"].get("kind") == "tool_call"]
    assert [(call["name"], call["arguments"]["n"]) for call in calls] == [("weather", 0), ("weather", 1)]
    events = post(server, "tool:weather", tools=[TOOL], stream=True).events()
    assert [event["content"] for event in events if event["type"] == "function_call"] == calls


def test_history_schema_and_images_reach_it(server: Served, ollama: OllamaServer) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    assert json.loads(both(server, "x", response_schema=schema)[0]["data"]) == {"age": 1}
    image = {"type": "image", "role": "input_image", "data": base64.b64encode(png(5, 4)).decode()}
    turns = [
        {"type": "text", "role": "system_context", "data": "Be kind."},
        {"type": "text", "role": "user_message", "data": "Hi"},
        {"type": "text", "role": "assistant_message", "data": "Hello."},
        {"type": "text", "role": "user_prompt", "data": "What is it?"},
        {**image, "mime_type": "image/png"},
    ]
    body = {"input_data": turns, "model_name": "llava"}
    answer = ask(server.port, "POST", "/api/v1/generate", body, server.headers)
    assert answer.json()["output"][0]["data"] == "I see [(5, 4)]."
    sent = ollama.requests[-1].json()["messages"]
    assert [(each["role"], each["content"]) for each in sent] == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "What is it?"),
    ]
    assert sent[-1]["images"] == [image["data"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"model_name": "nobody"}, 400, "unknown_model"),
        ({"model_name": "old", "tools": [TOOL]}, 501, "unsupported_feature"),
        ({"parameters": {"think": 3}}, 400, "invalid_request"),
        ({"binding_name": "bare"}, 400, "invalid_request"),
        ({"binding_name": "away"}, 503, "connection_refused"),
        ({"binding_name": "locked"}, 502, "auth_failed"),
    ],
)
def test_what_cannot_be_answered_is_a_status(
    server: Served, more: dict[str, Any], status: int, code: str, stream: bool
) -> None:
    answer = post(server, "x", stream=stream, **more)
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    assert b"canary" not in answer.body


def test_a_failure_in_the_middle_keeps_what_came(server: Served) -> None:
    answer = post(server, "a long story", model_name="broken", stream=True)
    *chunks, error, final = answer.events()
    assert (answer.status, [chunk["content"] for chunk in chunks]) == (200, ["a l"])
    assert (error["type"], error["metadata"]["code"]) == ("error", "upstream_error")
    assert final["metadata"]["status"] == "failed"
    assert [item["type"] for item in final["content"]] == ["text", "error"]


@pytest.mark.parametrize("how", ["leave", "delete"])
@pytest.mark.parametrize("stream", [True, False])
def test_the_connection_closes_when_nobody_wants_the_answer(
    server: Served, ollama: OllamaServer, stream: bool, how: str
) -> None:
    ollama.hold()
    number, own = len(ollama.requests) + 1, f"stop-me-0123456789-{how}-{stream}".replace("_", "-")
    try:
        request = RawRequest(
            server.port,
            "POST",
            "/api/v1/generate",
            body=prompt("a long story", stream=stream),
            headers={**server.headers, "X-Request-ID": own},
        )
        with request:
            seen = ollama.wait_request(number)
            if stream:
                request.read_head()
            if how == "delete":
                assert ask(server.port, "DELETE", f"/api/v1/requests/{own}", None, server.headers).status == 204
            else:
                request.leave()
            assert seen.connection.closed_after() < 0.25
    finally:
        ollama.release()
    server.wait_idle()


def test_models_are_listed_and_described(server: Served) -> None:
    listed = ask(server.port, "GET", "/api/v1/list_available_models/box", None, server.headers)
    assert listed.status == 200, listed
    models = {model["name"]: model for model in listed.json()["models"]}
    assert list(models) == list(MODELS)
    assert models["llava:latest"]["supports_vision"] and models["llava:latest"]["context_size"] == 32768
    assert models["llama3.2:latest"]["details"]["digest"]
    info = ask(server.port, "GET", "/api/v1/get_model_info/box?model_name=llava", None, server.headers)
    assert (info.status, info.json()["supports_vision"], info.json()["model_type"]) == (200, True, "vlm")
    away = ask(server.port, "GET", "/api/v1/list_available_models/away", None, server.headers)
    assert (away.status, away.json()["code"]) == (503, "connection_refused")


def test_no_key_is_shown(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    paths = ["list_bindings", "list_active_bindings", "list_available_models/locked", "get_model_info/locked"]
    said = [ask(server.port, "GET", f"/api/v1/{path}", None, server.headers).body for path in paths]
    assert b"canary" not in b"".join(said)
    assert "canary" not in caplog.text + repr(vars(server.services.manager))
