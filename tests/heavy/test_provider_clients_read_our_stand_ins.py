"""Our stand-ins for Ollama and OpenAI are read by the official clients, which know nothing of our codecs.

What our codecs are tested against is so held to a third party's reading of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chaos import ChaosServer
from tests.support.ollama_server import MODELS, OllamaServer, png
from tests.support.openai_server import answering

pytestmark = pytest.mark.group("sdks")

TEXT = "Grüße 🦙"
TOOL = {"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}


@pytest.fixture
def ollama_client() -> Iterator[Any]:
    import ollama

    with OllamaServer() as server:
        client = ollama.Client(host=server.origin, trust_env=False)
        yield client
        client._client.close()


@pytest.fixture
def openai_client() -> Iterator[Any]:
    import httpx2
    import openai

    with ChaosServer() as server:
        plain = httpx2.Client(trust_env=False)
        url = server.add("openai", answering)
        with openai.OpenAI(base_url=url, api_key="secret", max_retries=0, http_client=plain) as client:
            yield client


def messages(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text, **more}]


# ---- Ollama --------------------------------------------------------------------------------------------------------


def test_ollama_text_whole_and_streamed(ollama_client: Any) -> None:
    whole = ollama_client.chat(model="qwen3", messages=messages(TEXT), think=True)
    assert (whole.message.content, whole.message.thinking, whole.done_reason) == (TEXT, "Let me see.", "stop")
    assert (whole.prompt_eval_count, whole.eval_count) == (11, 7)
    parts = list(ollama_client.chat(model="qwen3", messages=messages(TEXT), stream=True))
    assert "".join(part.message.content or "" for part in parts) == TEXT
    assert "".join(part.message.thinking or "" for part in parts) == "Let me see."
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_ollama_tools_images_and_schemas(ollama_client: Any) -> None:
    asked = {"model": "llama3.2", "messages": messages("tool:weather"), "tools": [TOOL]}
    calls = ollama_client.chat(**asked).message.tool_calls
    assert [(call.function.name, call.function.arguments["n"]) for call in calls] == [("weather", 0), ("weather", 1)]
    streamed = [part.message.tool_calls for part in ollama_client.chat(**asked, stream=True)]
    assert [call for part in streamed for call in part or ()] == list(calls)
    turns = [*messages("x"), {"role": "assistant", "tool_calls": calls}]
    turns.append({"role": "tool", "tool_name": "weather", "content": "sun"})
    assert ollama_client.chat(model="llama3.2", messages=turns).message.content == "weather said sun"
    seen = ollama_client.chat(model="llava", messages=messages("?", images=[png(5, 4)]))
    assert seen.message.content == "I see [(5, 4)]."
    held = ollama_client.chat(model="llama3.2", messages=messages("?"), format=SCHEMA)
    assert held.message.content == '{"age": 1}'


def test_ollama_models_and_embeddings(ollama_client: Any) -> None:
    listed = ollama_client.list().models
    assert [model.model for model in listed] == list(MODELS)
    assert listed[0].details.quantization_level == "Q4_K_M"
    shown = ollama_client.show("llava")
    assert shown.capabilities == ["completion", "vision"]
    assert shown.modelinfo["llama.context_length"] == 32768
    assert ollama_client.embed(model="embed", input=["a", "bc"]).embeddings == [[1.0, 0.5, -1.0], [2.0, 0.5, -1.0]]
    (loaded,) = ollama_client.ps().models
    assert (loaded.model, loaded.size_vram, loaded.context_length) == ("llama3.2:latest", 10**9, 4096)
    assert loaded.expires_at.year == 2026


def test_ollama_errors(ollama_client: Any) -> None:
    import ollama

    for model, status, words in (("nobody", 404, "not found"), ("embed", 400, "does not support chat")):
        with pytest.raises(ollama.ResponseError, match=words) as caught:
            ollama_client.chat(model=model, messages=messages("x"))
        assert caught.value.status_code == status
    with pytest.raises(ollama.ResponseError, match="an error was encountered"):
        list(ollama_client.chat(model="broken", messages=messages("a long story"), stream=True))


# ---- OpenAI --------------------------------------------------------------------------------------------------------


def test_openai_text_whole_and_streamed(openai_client: Any) -> None:
    whole = openai_client.chat.completions.create(model="thinker", messages=messages(TEXT))
    choice = whole.choices[0]
    assert (choice.message.content, choice.message.reasoning_content) == (TEXT, "Let me see.")
    assert (choice.finish_reason, whole.usage.total_tokens, whole.model) == ("stop", 18, "thinker")
    stream = openai_client.chat.completions.create(
        model="thinker", messages=messages(TEXT), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == TEXT
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "Let me see."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [chunk.usage for chunk in chunks][:-1] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage.completion_tokens == 7


def test_openai_tools_images_and_schemas(openai_client: Any) -> None:
    create = openai_client.chat.completions.create
    asked = {"model": "one", "messages": messages("tool:weather"), "tools": [TOOL]}
    answer = create(**asked).choices[0]
    assert answer.finish_reason == "tool_calls"
    calls = [(call.id, call.function.name, call.function.arguments) for call in answer.message.tool_calls]
    assert calls == [(f"call_{at}", "weather", '{"n": 0, "ü": ["☃"]}') for at in "ab"]
    streamed: dict[int, list[str]] = {}
    for chunk in create(**asked, stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            pieces = streamed.setdefault(call.index, ["", "", ""])
            found = (call.id, call.function.name, call.function.arguments)
            streamed[call.index] = [old + (new or "") for old, new in zip(pieces, found, strict=True)]
    assert [tuple(pieces) for _, pieces in sorted(streamed.items())] == calls
    turns = [*messages("x"), answer.message, {"role": "tool", "tool_call_id": "call_a", "content": "sun"}]
    assert create(model="one", messages=turns).choices[0].message.content == "call_a said sun"
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
    seen = create(model="one", messages=[{"role": "user", "content": [{"type": "text", "text": "?"}, image]}])
    assert seen.choices[0].message.content == "1 images"
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    held = create(model="one", messages=messages("?"), response_format=shape)
    assert held.choices[0].message.content == '{"age": 1}'


def test_openai_completions_models_and_embeddings(openai_client: Any) -> None:
    whole = openai_client.completions.create(model="one", prompt=TEXT, max_tokens=1)
    assert (whole.choices[0].text, whole.choices[0].finish_reason, whole.usage.prompt_tokens) == (TEXT, "length", 11)
    streamed = list(openai_client.completions.create(model="one", prompt=TEXT, stream=True))
    assert "".join(part.choices[0].text for part in streamed) == TEXT
    assert streamed[-1].choices[0].finish_reason == "stop"
    assert [model.id for model in openai_client.models.list()] == ["one", "two"]
    found = openai_client.embeddings.create(model="one", input=["a", "bc"], encoding_format="float")
    assert {each.index: each.embedding for each in found.data} == {0: [1], 1: [2]}


def test_openai_errors(openai_client: Any) -> None:
    import openai

    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.chat.completions.create(model="nobody", messages=messages("x"))
    assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")
