"""The binding `openai` asks as it should, keeps its connection, and gives the same answer streamed or whole."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import ELF_COMPLETION_FORMAT, MSG_TYPE, LollmsClient
from lollms_core.errors import (
    AuthFailed,
    ConnectFailed,
    InvalidRequest,
    LollmsError,
    MissingDependency,
    ProtocolError,
    RateLimited,
    Refused,
    TruncatedStream,
    UnknownModel,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.retry import NO_RETRY
from lollms_core.types import Message, ToolCall, Usage
from tests.support.chaos import ChaosServer, refused_url
from tests.support.chaos_modes import TEXT, reply
from tests.support.ollama_server import png
from tests.support.openai_server import answering

PNG = png()


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


def test_the_key_is_the_one_given_else_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChaosServer() as chaos:
        monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
        monkeypatch.setenv("OPENAI_BASE_URL", chaos.url("ok"))
        for arguments in ({}, {"service_key": "given"}, {"llm_binding_config": {"service_key": "configured"}}):
            with LollmsClient("openai", chaos.url("ok"), model_name="m", **arguments) as client:  # type: ignore[arg-type]
                client.complete("Hi")
        monkeypatch.delenv("OPENAI_API_KEY")
        with LollmsClient("openai", chaos.url("ok"), model_name="m") as client:
            client.complete("Hi")
        keys = [seen.headers.get("authorization") for seen in chaos.requests]
        assert keys == ["Bearer from-environment", "Bearer given", "Bearer configured", None]


def test_a_key_of_the_environment_goes_to_no_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with ChaosServer() as chaos, LollmsClient("openai", chaos.url("ok"), model_name="m") as client:
        client.complete("Hi")
        assert "authorization" not in chaos.requests[0].headers
    binding: Any = LollmsClient("openai").binding
    assert binding.target.key == "from-environment"


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


# ---- everything that a call may ask for ----------------------------------------------------------------------------

TOOL = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"n": {}}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        server.add("openai", answering)
        yield server


@pytest.fixture
def client(chaos: ChaosServer) -> Iterator[LollmsClient]:
    with LollmsClient("openai", chaos.url("openai"), model_name="one") as made:
        yield made


def test_histories_images_stops_and_seeds(chaos: ChaosServer, client: LollmsClient) -> None:
    turns = [Message.system("S"), Message.user("a"), Message.assistant("b"), Message.user("c")]
    assert client.complete(turns, stop="X", seed=3, top_p=0.5).text == "c"
    body = chaos.requests[-1].json()
    assert body["messages"] == [{"role": each.role, "content": each.text} for each in turns]
    assert (body["stop"], body["seed"], body["top_p"]) == (["X"], 3, 0.5)
    assert client.complete("?", images=[png(), png(2, 2)]).text == "2 images"


def test_thoughts_usage_and_the_model_that_answered(client: LollmsClient) -> None:
    whole, streamed = client.complete("Hi", model="thinker"), client.stream("Hi", model="thinker").result()
    assert whole == streamed
    assert (whole.thoughts, whole.text, whole.usage, whole.model) == ("Let me see.", "Hi", Usage(11, 7, 18), "thinker")


def test_tools_are_called_and_their_results_go_back(chaos: ChaosServer, client: LollmsClient) -> None:
    for reply_ in (client.complete("tool:weather", tools=[TOOL]), client.stream("tool:weather", tools=[TOOL]).result()):
        assert reply_.finish_reason == "tool_calls"
        arguments = {"n": 0, "ü": ["☃"]}
        assert reply_.tool_calls == (ToolCall("call_a", "weather", arguments), ToolCall("call_b", "weather", arguments))
    assert chaos.requests[-1].json()["tools"] == [{"type": "function", "function": TOOL}]
    turns = [Message.user("?"), Message.assistant("", reply_.tool_calls[:1]), Message.tool("call_a", "sun")]
    assert client.complete(turns).text == "call_a said sun"


def test_a_schema_holds_the_answer(chaos: ChaosServer, client: LollmsClient) -> None:
    assert json.loads(client.complete("?", schema=SCHEMA).text) == {"age": 1}
    assert chaos.requests[-1].json()["response_format"]["json_schema"]["schema"] == SCHEMA


STATED = [
    {"id": "says-nothing"},
    {"id": "mistral", "max_context_length": 131072, "capabilities": {"vision": True, "function_calling": False}},
    {"id": "llamacpp", "meta": {"n_ctx_train": 4096}, "architecture": {"input_modalities": ["text", "image"]}},
    {"id": "router", "context_length": 8192, "supported_parameters": ["tools"], "architecture": {"modality": "text"}},
    {"id": "odd", "capabilities": "vision", "architecture": ["image"], "context_length": "8192"},
]


def test_facts_of_models_are_those_that_the_server_states(monkeypatch: pytest.MonkeyPatch, chaos: ChaosServer) -> None:
    monkeypatch.setattr(ChatCodec, "retry", NO_RETRY, raising=False)

    async def stating(connection: Any, seen: Any) -> None:
        await reply(connection, json.dumps({"object": "list", "data": STATED}).encode())

    with LollmsClient("openai", chaos.add("stating", stating), model_name="mistral") as client:
        facts = {
            each["model_name"]: [each.get(key) for key in ("context_size", "supports_vision", "supports_tools")]
            for each in client.list_models()
        }
        assert facts == {
            "says-nothing": [None, None, None],
            "mistral": [131072, True, None],
            "llamacpp": [4096, True, None],
            "router": [8192, None, True],
            "odd": [None, None, None],
        }
        assert client.get_ctx_size("llamacpp") == 4096
        assert client.get_ctx_size("says-nothing") == client.get_ctx_size("unheard-of") == client.default_ctx_size
        info = client.get_model_info()
        assert (info["binding_name"], info["model_name"], info["context_size"]) == ("openai", "mistral", 131072)
        assert (info["supports_vision"], info["host_address"]) == (True, chaos.url("stating"))
    for address in (chaos.url("status-404"), chaos.url("status-401"), refused_url()):  # no list can be had
        with LollmsClient("openai", address, model_name="m") as listless:
            assert listless.get_model_info()["model_name"] == "m"
            assert listless.get_ctx_size() == listless.default_ctx_size


def test_tokens_are_counted_without_a_network(
    monkeypatch: pytest.MonkeyPatch, chaos: ChaosServer, client: LollmsClient
) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 20
    assert 160 <= client.count_tokens(text) <= 240
    with pytest.raises(UnsupportedFeature, match="count_tokens estimates"):
        client.tokenize(text)
    monkeypatch.setitem(sys.modules, "bpe_openai", None)  # as where it is not installed
    client.load_model("gpt-4o")
    assert 160 <= client.count_tokens(text) <= 240
    with pytest.raises(MissingDependency, match="lollms install tokenizers"):
        client.detokenize([1])
    assert not chaos.requests


def test_tokens_of_openais_models_are_exact() -> None:
    pytest.importorskip("bpe_openai")
    client = LollmsClient("openai", model_name="gpt-4o")
    assert client.tokenize("hello world") == [24912, 2375]
    assert client.detokenize([24912, 2375]) == "hello world"
    assert client.count_tokens("hello world") == 2


# ---- models that continue a text -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [ELF_COMPLETION_FORMAT.Instruct, "instruct", 0])
def test_texts_are_continued_where_that_is_asked_for(chaos: ChaosServer, given: object) -> None:
    config = {"default_completion_format": given}
    with LollmsClient("openai", chaos.url("openai"), model_name="one", llm_binding_config=config) as client:
        pieces: list[str] = []
        text = "Es war <einmal>, 世界"
        assert client.generate_text(text, streaming_callback=lambda piece, _: pieces.append(piece)) == text
        assert "".join(pieces) == text
        reply_ = client.complete(text, n_predict=1, top_k=4)
        assert reply_ == client.stream(text, n_predict=1, top_k=4).result()
        assert (reply_.finish_reason, reply_.usage, reply_.model) == ("length", Usage(11, 7, 18), "one")
        assert [item.name for item in reply_.receipt] == ["top_k"]
        seen = chaos.requests[1]
        assert seen.path == "/openai/completions"
        assert seen.json() == {"prompt": text, "max_tokens": 1, "model": "one"}
        assert client.complete("Hi", system="S").text == "!@>system:\nS\n!@>user:\nHi\n!@>assistant:\n"
        told = client.complete("Hi", tools=[TOOL])  # such a model is told of them in its prompt
        assert "# Tools" in told.text
        for asked in ({"schema": SCHEMA}, {"images": [png()]}):
            with pytest.raises(UnsupportedFeature, match="Use the format Chat"):
                client.complete("Hi", **asked)  # type: ignore[arg-type]
        with pytest.raises(UnknownModel):
            client.complete("Hi", model="nobody")
        assert client.list_models()[0]["model_name"] == "one"


def test_openai_itself_is_asked_for_completions_in_its_words() -> None:
    config = {"default_completion_format": "Instruct", "service_key": "sk"}
    binding: Any = LollmsClient("openai", model_name="m", llm_binding_config=config).binding
    from lollms_core.types import GenerationCall, Params

    with pytest.raises(StopIteration) as end:
        next(binding.codec.prepare(GenerationCall((Message.user("Hi"),), params=Params(max_tokens=5)), binding.target))
    request = end.value.value
    assert request.url == "https://api.openai.com/v1/completions"
    assert json.loads(request.body) == {"prompt": "Hi", "max_tokens": 5}


def test_an_unknown_completion_format_is_refused() -> None:
    for given in ("poetry", 2, True, 1.5):
        with pytest.raises(InvalidRequest):
            LollmsClient("openai", "localhost:1/v1", llm_binding_config={"default_completion_format": given})


def test_the_lollms_binding_takes_the_documented_keys() -> None:
    for given in (ELF_COMPLETION_FORMAT.Chat, "chat", None):
        LollmsClient("lollms", llm_binding_config={"default_completion_format": given})
    with pytest.raises(UnsupportedFeature, match="set it to Chat"):
        LollmsClient("lollms", llm_binding_config={"default_completion_format": ELF_COMPLETION_FORMAT.Instruct})


# ---- errors, each asked for once -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("status-401", AuthFailed),
        ("status-404", InvalidRequest),
        ("status-429-after-700", RateLimited),
        ("status-500", UpstreamFailed),
        ("page", ProtocolError),
        ("short", TruncatedStream),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_a_typed_error_and_no_second_request(
    monkeypatch: pytest.MonkeyPatch, mode: str, error: type[LollmsError], stream: bool
) -> None:
    async def page(connection: Any, seen: Any) -> None:
        await reply(connection, b"<!DOCTYPE html><title>Log in</title>", content_type="text/html")

    async def short(connection: Any, seen: Any) -> None:
        event = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
        await reply(connection, event if stream else b"", content_type="text/event-stream")

    monkeypatch.setattr(ChatCodec, "retry", NO_RETRY, raising=False)
    with ChaosServer() as chaos:
        chaos.add("page", page)
        chaos.add("short", short)
        with LollmsClient("openai", chaos.url(mode), model_name="m", service_key="secret-key-123") as client:
            events: list[Any] = []
            failed: Any = client.generate_text("Hi", stream=stream, streaming_callback=lambda *e: events.append(e))
            assert failed["status"] is False
            assert events[-1] == (failed["error"], MSG_TYPE.MSG_TYPE_EXCEPTION)
            with pytest.raises(error) as caught:
                client.complete("Hi")
        assert type(caught.value) is error
        assert "secret-key-123" not in str(caught.value)
        assert [seen.json().get("temperature") for seen in chaos.requests] == [None, None]


def test_a_model_that_is_not_there_and_a_server_that_is_not(client: LollmsClient) -> None:
    for ask in (client.complete, lambda prompt, model: client.stream(prompt, model=model).result()):
        with pytest.raises(UnknownModel, match="list of models"):
            ask("Hi", model="nobody")
    with LollmsClient("openai", refused_url(), model_name="m") as lonely, pytest.raises(Refused):
        lonely.complete("Hi")


def test_all_chunks_come_and_none_is_empty(client: LollmsClient) -> None:
    """The limit counts the backend's tokens, and never our chunks."""
    chunks: list[str] = []
    text = "word " * 50
    said = client.generate_text(text, n_predict=2, streaming_callback=lambda piece, _: chunks.append(piece))
    assert said == text == "".join(chunks)
    assert len(chunks) > 2
    assert all(chunks)


def test_penalties_are_not_mixed_up(chaos: ChaosServer, client: LollmsClient) -> None:
    reply_ = client.complete("Hi", repeat_penalty=1.1)
    assert [item.name for item in reply_.receipt] == ["repeat_penalty"]
    assert set(chaos.requests[-1].json()) == {"model", "messages"}


@pytest.mark.parametrize("binding", ["openai", "ollama", "lollms_webui"])
def test_certificates_are_checked_unless_that_is_switched_off(binding: str) -> None:
    with ChaosServer(tls=True) as chaos:
        with LollmsClient(binding, chaos.url("ok"), model_name="m") as client, pytest.raises(ConnectFailed):
            client.list_models()
        assert not chaos.requests
        with LollmsClient(binding, chaos.url("ok"), model_name="m", verify_ssl_certificate=False) as client:
            with pytest.raises(ProtocolError):
                client.list_models()
        assert chaos.requests
