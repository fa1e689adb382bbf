"""The binding `openai` asks as it should, keeps its connection, and gives the same answer streamed or whole."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_core.types import Usage
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import TEXT, reply

PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)


def test_a_call_is_what_the_protocol_says() -> None:
    with ChaosServer() as chaos:
        client = LollmsClient("openai", f"{chaos.url('ok')}/v1/", model_name="m", service_key="secret")
        with client:
            client.generate_text("Hi", images=[PNG], system_prompt="Be kind.", n_predict=7, temperature=0.5)  # type: ignore[list-item]
        seen = chaos.requests[0]
        assert (seen.method, seen.path) == ("POST", "/ok/v1/chat/completions")
        assert seen.headers["authorization"] == "Bearer secret"
        body = seen.json()
        assert body["model"] == "m"
        assert body["max_tokens"] == 7
        assert body["temperature"] == 0.5
        assert not {"top_k", "top_p", "repeat_penalty", "seed", "frequency_penalty"} & set(body)
        assert body["messages"][0] == {"role": "system", "content": "Be kind."}
        url = body["messages"][1]["content"][1]["image_url"]["url"]
        assert url == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.mark.parametrize("mode", ["ok", "one_packet", "slicer", "split_utf8", "until_close", "ok_gzip"])
def test_streamed_or_whole_it_is_the_same(mode: str) -> None:
    with ChaosServer() as chaos, LollmsClient("openai", chaos.url(mode), model_name="m") as client:
        chunks: list[str] = []
        streamed = client.generate_text("Hi", streaming_callback=lambda chunk, _: chunks.append(chunk))
        assert streamed == TEXT
        assert "".join(chunks) == TEXT
        assert all(chunks)
        if mode == "ok":
            assert client.complete("Hi") == client.stream("Hi").result()
            assert isinstance(client.complete("Hi").usage, Usage)


def test_one_connection_serves_many_calls() -> None:
    with ChaosServer() as chaos, LollmsClient("openai", chaos.url("ok"), model_name="m") as client:
        for _ in range(3):
            assert client.generate_text("Hi") == TEXT
            assert client.generate_text("Hi", stream=True) == TEXT
        assert len(chaos.connections) == 1
        client.close()
        assert chaos.connections[0].closed_after() < 1
        assert client.generate_text("Hi") == TEXT  # it may be used again


def test_the_key_comes_from_the_environment_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChaosServer() as chaos:
        monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
        for arguments in ({}, {"service_key": "given"}, {"llm_binding_config": {"service_key": "configured"}}):
            with LollmsClient("openai", chaos.url("ok"), model_name="m", **arguments) as client:  # type: ignore[arg-type]
                client.complete("Hi")
        monkeypatch.delenv("OPENAI_API_KEY")
        with LollmsClient("openai", chaos.url("ok"), model_name="m") as client:
            client.complete("Hi")
        keys = [seen.headers.get("authorization") for seen in chaos.requests]
        assert keys == ["Bearer from-environment", "Bearer given", "Bearer configured", None]


def test_what_the_protocol_does_not_know_is_reported() -> None:
    with ChaosServer() as chaos, LollmsClient("openai", chaos.url("ok"), model_name="m") as client:
        reply_ = client.complete("Hi", top_k=5, odd=1)
        assert {item.name: item.action for item in reply_.receipt} == {"top_k": "dropped", "odd": "dropped"}


def test_models_and_embeddings() -> None:
    async def serve(connection: Any, seen: Any) -> None:
        if seen.path.endswith("/models"):
            body: Any = {"data": [{"id": "small", "owned_by": "us"}, {"id": "large", "context_length": 8192}]}
        else:
            texts = json.loads(seen.body)["input"]
            body = {"data": [{"index": index, "embedding": [index, 0.5]} for index in range(len(texts))]}
        await reply(connection, json.dumps(body).encode())

    with ChaosServer() as chaos, LollmsClient("openai", chaos.add("serve", serve), model_name="m") as client:
        assert [each["model_name"] for each in client.listModels()] == ["small", "large"]
        assert client.list_models()[1]["context_size"] == 8192
        assert client.embed("one") == [0.0, 0.5]
        assert client.embed(["one", "two"]) == [[0.0, 0.5], [1.0, 0.5]]
        assert chaos.requests[-1].json()["model"] == "m"
        info = client.get_model_info()
        assert (info["model_name"], info["host_address"]) == ("m", chaos.url("serve"))


def test_openai_itself_is_asked_in_its_own_words() -> None:
    client = LollmsClient("openai", model_name="gpt-4o", llm_binding_config={"service_key": "sk"})
    binding: Any = client.binding
    assert binding.target.base_url == "https://api.openai.com/v1"
    assert (binding.dialect.name, binding.target.key) == ("openai", "sk")
    assert "sk" not in repr(binding.target)
    elsewhere: Any = LollmsClient("openai", "localhost:8000/v1").binding
    assert elsewhere.host_address == "http://localhost:8000/v1"
    assert elsewhere.dialect.name == "openai-compatible"
