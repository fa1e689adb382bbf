"""The binding `ollama` asks as Ollama wants to be asked, reads all that it answers, and says what to do on errors."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lollms_client import MSG_TYPE, AsyncLollmsClient, LollmsClient
from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    LollmsError,
    ProtocolError,
    Refused,
    TruncatedStream,
    UnknownModel,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.ollama import OllamaCodec
from lollms_core.protocols.retry import NO_RETRY
from lollms_core.types import Message, ToolCall, Usage
from tests.support.chaos import ChaosServer, refused_url
from tests.support.chaos_modes import END, chunk, head, reply
from tests.support.ollama_server import MODELS, OllamaServer, png

TEXT = "Grüße, 世界 🦙!"
TOOL = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"n": {}}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer() as server:
        yield server


@pytest.fixture
def client(ollama: OllamaServer) -> Iterator[LollmsClient]:
    with LollmsClient("ollama", ollama.origin, model_name="llama3.2") as made:
        yield made


def asked(ollama: OllamaServer) -> Any:
    """The body of the last request to chat."""
    return ollama.asked("/api/chat")[-1].json()


def show_to(events: list[Any]) -> Callable[..., None]:
    """A callback that keeps what it is shown."""
    return lambda text, kind: events.append((text, kind))


def answer(client: LollmsClient, stream: bool) -> Any:
    return client.stream("Hi").result() if stream else client.complete("Hi")


def test_a_call_says_what_was_set_and_nothing_else(ollama: OllamaServer, client: LollmsClient) -> None:
    client.generate_text("Hi")
    assert asked(ollama) == {
        "model": "llama3.2",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
    }
    client.generate_text(
        "Hi",
        system_prompt="Be kind.",
        stream=True,
        n_predict=7,
        temperature=0.5,
        top_k=3,
        repeat_penalty=1.2,
        seed=42,
        ctx_size=2048,
        n_threads=2,
        stop=["X", "Y"],
    )
    body = asked(ollama)
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert body["stream"] is True
    assert body["options"] == {
        "num_predict": 7,
        "temperature": 0.5,
        "top_k": 3,
        "repeat_penalty": 1.2,
        "seed": 42,
        "num_ctx": 2048,
        "num_thread": 2,
        "stop": ["X", "Y"],
    }


def test_streamed_or_whole_it_is_the_same(client: LollmsClient) -> None:
    pieces: list[Any] = []
    assert client.generate_text(TEXT, streaming_callback=lambda *each: pieces.append(each)) == TEXT
    assert "".join(text for text, _ in pieces) == TEXT
    assert {kind for _, kind in pieces} == {MSG_TYPE.MSG_TYPE_CHUNK}
    assert all(text for text, _ in pieces)
    whole, streamed = client.complete(TEXT), client.stream(TEXT).result()
    assert whole == streamed
    assert (whole.text, whole.usage, whole.model, whole.finish_reason) == (TEXT, Usage(11, 7, 18), "llama3.2", "stop")
    assert client.complete(TEXT, n_predict=1).finish_reason == "length"
    assert client.complete(TEXT, odd=1).receipt[0].name == "odd"


def test_coroutines_get_the_same(ollama: OllamaServer, client: LollmsClient) -> None:
    async def ask() -> Any:
        made = AsyncLollmsClient("ollama", ollama.origin, model_name="llama3.2")
        reply_ = await made.complete(TEXT)
        models = await made.list_models()
        await made.close()
        return reply_, models

    assert asyncio.run(ask()) == (client.complete(TEXT), client.list_models())


def test_a_history_and_a_discussion_in_a_prompt(ollama: OllamaServer, client: LollmsClient) -> None:
    turns = [Message.system("S"), Message.user("a"), Message.assistant("b"), Message.user("c")]
    assert client.complete(turns).text == "c"
    sent = [{"role": each.role, "content": each.text} for each in turns]
    assert asked(ollama)["messages"] == sent
    assert client.generate_from_messages(sent) == "c"
    assert asked(ollama)["messages"] == sent
    assert client.generate_text("!@>system:\nS\n!@>user:\na\n!@>assistant:\nb\n!@>user:\nc", split=True) == "c"
    assert asked(ollama)["messages"] == sent


def test_images_stand_in_their_message(ollama: OllamaServer, client: LollmsClient) -> None:
    picture = png(5, 4)
    assert client.complete("?", images=[picture], model="llava").text == "I see [(5, 4)]."
    sent = asked(ollama)["messages"][-1]
    assert base64.b64decode(sent["images"][0]) == picture
    with pytest.raises(UnsupportedFeature, match="does not support image"):
        client.complete("?", images=[picture])


def test_thoughts_come_apart_from_the_text(client: LollmsClient) -> None:
    for model in ("qwen3", "old"):  # in a field of their own, and between tags
        events: list[Any] = []
        reply_ = client.complete("Hi", model=model)
        assert (reply_.thoughts, reply_.text) == ("Let me see.", "Hi")
        assert client.stream("Hi", model=model).result() == reply_
        client.load_model(model)
        assert client.generate_text("Hi", streaming_callback=show_to(events)) == "Hi"
        assert events[0][1] is MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK
        assert events[-1][1] is MSG_TYPE.MSG_TYPE_CHUNK
    assert client.complete("Hi", model="qwen3", think=False).thoughts == ""


def test_tools_are_called_and_their_results_go_back(ollama: OllamaServer, client: LollmsClient) -> None:
    for reply_ in (client.complete("tool:weather", tools=[TOOL]), client.stream("tool:weather", tools=[TOOL]).result()):
        assert reply_.finish_reason == "tool_calls"
        assert reply_.tool_calls == (
            ToolCall("call_0", "weather", {"n": 0, "ü": ["☃"]}),
            ToolCall("call_1", "weather", {"n": 1, "ü": ["☃"]}),
        )
    assert asked(ollama)["tools"] == [{"type": "function", "function": TOOL}]
    turns = [Message.user("?"), Message.assistant("", reply_.tool_calls[:1]), Message.tool("call_0", "sun")]
    assert client.complete(turns).text == "weather said sun"


def test_a_schema_holds_the_answer(ollama: OllamaServer, client: LollmsClient) -> None:
    assert json.loads(client.complete("?", schema=SCHEMA).text) == {"age": 1}
    assert asked(ollama)["format"] == SCHEMA


def test_models_are_described(ollama: OllamaServer, client: LollmsClient) -> None:
    models = {each["model_name"]: each for each in client.list_models()}
    assert list(models) == list(MODELS)
    llava = models["llava:latest"]
    assert (llava["context_size"], llava["supports_vision"], llava["supports_tools"]) == (32768, True, False)
    assert (llava["size"], llava["quantization_level"]) == (2019393189, "Q4_K_M")
    info = client.get_model_info()
    assert (info["binding_name"], info["model_name"], info["host_address"]) == ("ollama", "llama3.2", ollama.origin)
    assert (info["context_size"], info["supports_vision"], info["supports_structured_output"]) == (131072, False, True)
    assert client.get_ctx_size() == 131072
    assert client.get_ctx_size("llava") == 32768
    assert LollmsClient("ollama", ollama.origin).get_model_info()["model_name"] == ""


def test_what_is_in_memory(ollama: OllamaServer, client: LollmsClient) -> None:
    binding: Any = client.binding
    (loaded,) = binding.ps()
    assert (loaded["model_name"], loaded["size_vram"], loaded["context_length"]) == ("llama3.2:latest", 10**9, 4096)
    ollama.loaded = []
    assert binding.ps() == []


def test_switching_checks_the_name(client: LollmsClient, caplog: pytest.LogCaptureFixture) -> None:
    assert client.switch_model("llava") is True
    assert client.get_model_info()["model_name"] == "llava"
    with caplog.at_level("WARNING", "lollms_client"):
        assert client.switch_model("nobody:7b") is False
    assert "ollama pull nobody:7b" in caplog.text
    assert client.get_model_info()["model_name"] == "llava"
    with pytest.raises(InvalidRequest, match="Name a model"):
        client.load_model("")


def test_embeddings_of_one_text_or_several(ollama: OllamaServer, client: LollmsClient) -> None:
    assert client.embed("abc", model="embed") == [3.0, 0.5, -1.0]
    assert client.embed(["abc", "", "ü"], model="embed") == [[3.0, 0.5, -1.0], [0.0, 0.5, -1.0], [1.0, 0.5, -1.0]]
    with pytest.raises(UnknownModel, match="ollama pull bge-m3"):  # a model to chat with is not asked
        client.embed("abc")
    ollama.models["bge-m3:latest"] = MODELS["embed:latest"]
    assert client.embed("abc") == [3.0, 0.5, -1.0]
    assert ollama.asked("/api/embed")[-1].json()["model"] == "bge-m3"
    client.load_model("embed")
    assert client.embed(["abc"]) == [[3.0, 0.5, -1.0]]
    assert ollama.asked("/api/embed")[-1].json()["model"] == "embed"
    with pytest.raises(UnsupportedFeature):
        client.embed("abc", model="llama3.2")


def test_tokens_are_estimated_and_nothing_is_downloaded(ollama: OllamaServer, client: LollmsClient) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 20
    assert 160 <= client.count_tokens(text) <= 240
    for ask in (lambda: client.tokenize(text), lambda: client.detokenize([1])):
        with pytest.raises(UnsupportedFeature, match="count_tokens estimates"):
            ask()
    assert not ollama.requests


def test_a_model_that_is_not_pulled(ollama: OllamaServer) -> None:
    with LollmsClient("ollama", ollama.origin, model_name="nobody") as client:
        for ask in (
            lambda: client.complete("Hi"),
            lambda: client.stream("Hi").result(),
            client.get_model_info,
            client.get_ctx_size,
        ):
            with pytest.raises(UnknownModel, match=r"ollama pull nobody$"):
                ask()
        failed: Any = client.generate_text("Hi")
    assert failed["status"] is False
    assert failed["code"] == "unknown_model"
    assert "ollama pull nobody" in failed["error"]


def test_a_model_name_that_a_shell_would_misread_is_not_put_into_a_command() -> None:
    async def evil(connection: Any, seen: Any) -> None:
        await reply(connection, json.dumps({"error": "model '$(reboot)' not found"}).encode(), 404, "Not Found")

    with ChaosServer() as chaos, LollmsClient("ollama", chaos.add("evil", evil), model_name="m") as client:
        with pytest.raises(UnknownModel) as caught:
            client.complete("Hi")
    assert "ollama pull" not in str(caught.value)


def test_the_key_is_a_bearer_token() -> None:
    with OllamaServer(key="secret-key-123") as ollama:
        with LollmsClient("ollama", ollama.origin, "", "llama3.2", service_key="secret-key-123") as client:
            assert client.complete("Hi").text == "Hi"
            assert client.get_ctx_size() == 131072
        with LollmsClient("ollama", ollama.origin, model_name="llama3.2", service_key="another-key-45") as client:
            with pytest.raises(AuthFailed) as caught:
                client.complete("Hi")
    assert "another-key-45" not in str(caught.value)


def test_nobody_at_the_address() -> None:
    with LollmsClient("ollama", refused_url(), model_name="m") as client:
        for ask in (client.list_models, lambda: client.complete("Hi")):
            with pytest.raises(Refused, match="ollama serve"):
                ask()
    binding: Any = LollmsClient("ollama").binding
    assert binding.host_address == "http://localhost:11434"


PAGE = b"<!DOCTYPE html><title>Log in</title>"
LINE = b'{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n'


@pytest.mark.parametrize(
    ("status", "kind", "body", "error"),
    [
        (200, "text/html", PAGE, ProtocolError),
        (200, "application/x-ndjson", LINE, TruncatedStream),
        (200, "application/x-ndjson", LINE + b"nonsense\n", ProtocolError),
        (200, "application/x-ndjson", LINE + b'{"error":"it broke"}\n', UpstreamError),
        (200, "application/json", b"", TruncatedStream),
        (404, "text/plain", b"404 page not found", InvalidRequest),
        (500, "application/json", b'{"error":"llama runner process has terminated"}', UpstreamFailed),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_answers_are_typed_errors(
    monkeypatch: pytest.MonkeyPatch, stream: bool, status: int, kind: str, body: bytes, error: type[LollmsError]
) -> None:
    async def bad(connection: Any, seen: Any) -> None:
        await reply(connection, body, status, "x", content_type=kind)

    monkeypatch.setattr(OllamaCodec, "retry", NO_RETRY, raising=False)
    with ChaosServer() as chaos, LollmsClient("ollama", chaos.add("bad", bad), model_name="m") as client:
        with pytest.raises(error) as caught:
            answer(client, stream)
        assert type(caught.value) is error
        assert len(chaos.requests) == 1
        if LINE in body and stream:
            assert caught.value.partial is not None
            assert caught.value.partial.text == "Hi"


def test_an_error_in_the_middle_keeps_what_came(client: LollmsClient) -> None:
    with pytest.raises(UpstreamError, match="an error was encountered") as caught:
        client.stream("Once upon a time", model="broken").result()
    assert caught.value.partial is not None
    assert "Once upon a time".startswith(caught.value.partial.text)
    assert caught.value.partial.text


def test_stopping_closes_the_connection() -> None:
    async def endless(connection: Any, seen: Any) -> None:
        await connection.packet(head(content_type="application/x-ndjson", transfer_encoding="chunked"))
        await connection.packet(chunk(LINE))
        await connection.forever()
        await connection.send(END)

    with ChaosServer() as chaos, LollmsClient("ollama", chaos.add("endless", endless), model_name="m") as client:
        assert client.generate_text("Hi", streaming_callback=lambda *_: False) == "Hi"
        assert chaos.connections[0].closed_after() < 1


def test_it_is_patient_while_a_model_loads() -> None:
    binding: Any = LollmsClient("ollama", llm_binding_config={"timeouts": {"idle": 5}}).binding
    assert (binding.target.timeouts.first_byte, binding.target.timeouts.idle) == (600, 5)
