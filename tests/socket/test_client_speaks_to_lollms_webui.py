"""The binding `lollms_webui` speaks the protocol of the older web UI: prompts with headers, answers of plain text."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import ELF_COMPLETION_FORMAT, MSG_TYPE, AsyncLollmsClient, LollmsClient
from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    LollmsError,
    ProtocolError,
    Refused,
    TransportError,
    TruncatedStream,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.lollms_webui import LollmsWebuiCodec
from lollms_core.protocols.retry import NO_RETRY
from lollms_core.types import Message
from tests.support.chaos import refused_url
from tests.support.ollama_server import png
from tests.support.webui_server import MODELS, PERSONALITIES, WebuiServer

TEXT = "Grüße,\n 世界 🦙! {not json}\n\n"


@pytest.fixture
def webui() -> Iterator[WebuiServer]:
    with WebuiServer() as server:
        yield server


@pytest.fixture
def client(webui: WebuiServer) -> Iterator[LollmsClient]:
    with LollmsClient("lollms_webui", webui.origin) as made:
        yield made


def test_a_prompt_goes_as_it_is_with_what_was_set(webui: WebuiServer) -> None:
    config = {"personality": 1, "service_key": "secret"}
    with LollmsClient("lollms_webui", webui.origin, model_name="llava", llm_binding_config=config) as client:
        assert client.generate_text("Once upon") == "Once upon"
        client.generate_text(
            "Hi",
            stream=True,
            n_predict=7,
            temperature=0.5,
            top_k=3,
            top_p=0.5,
            repeat_penalty=1.2,
            repeat_last_n=9,
            seed=4,
            n_threads=2,
        )
    first, second = webui.requests
    assert (first.method, first.path) == ("POST", "/lollms_generate")
    assert first.headers["authorization"] == "Bearer secret"
    assert first.json() == {"prompt": "Once upon", "stream": False, "model_name": "llava", "personality": 1}
    assert second.json() == {
        "prompt": "Hi",
        "stream": True,
        "model_name": "llava",
        "personality": 1,
        "n_predict": 7,
        "temperature": 0.5,
        "top_k": 3,
        "top_p": 0.5,
        "repeat_penalty": 1.2,
        "repeat_last_n": 9,
        "seed": 4,
        "n_threads": 2,
    }


def test_a_conversation_becomes_a_prompt_with_headers(webui: WebuiServer, client: LollmsClient) -> None:
    client.generate_text("Hi", system_prompt="Be kind.")
    client.complete([Message.user("a"), Message.assistant("b"), Message.user("c")])
    client.generate_from_messages([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b and"}])
    assert [seen.json()["prompt"] for seen in webui.requests] == [
        "!@>system:\nBe kind.\n!@>user:\nHi\n!@>assistant:\n",
        "!@>user:\na\n!@>assistant:\nb\n!@>user:\nc\n!@>assistant:\n",
        "!@>user:\na\n!@>assistant:\nb and",
    ]
    assert set(webui.requests[0].json()) == {"prompt", "stream"}


def test_streamed_or_whole_it_is_the_same_to_the_last_blank(client: LollmsClient) -> None:
    pieces: list[Any] = []
    assert client.generate_text(TEXT, streaming_callback=lambda *each: pieces.append(each)) == TEXT
    assert "".join(text for text, _ in pieces) == TEXT
    assert {kind for _, kind in pieces} == {MSG_TYPE.MSG_TYPE_CHUNK}
    assert len(pieces) > 1
    assert all(text for text, _ in pieces)
    assert client.complete(TEXT) == client.stream(TEXT).result()
    assert client.complete(TEXT).text == TEXT
    assert client.complete(TEXT).usage is None


def test_coroutines_get_the_same(webui: WebuiServer) -> None:
    async def ask() -> str:
        made = AsyncLollmsClient("lollms_webui", webui.origin)
        reply = await made.complete(TEXT)
        await made.close()
        return reply.text

    assert asyncio.run(ask()) == TEXT


@pytest.mark.parametrize(
    "text", ['{"status": false, "error": "as asked"}', "<!DOCTYPE html><p>as asked</p>", "null", ""]
)
def test_a_text_is_a_text_whatever_it_looks_like(client: LollmsClient, text: str) -> None:
    assert client.complete([Message.system(text), Message.user("x")]).text.startswith(f"!@>system:\n{text}")
    assert client.complete(text or " ").text == client.stream(text or " ").result().text == (text or " ")


def test_thoughts_come_apart_from_the_text(client: LollmsClient) -> None:
    for reply in (client.complete("Please think"), client.stream("Please think").result()):
        assert (reply.thoughts, reply.text) == ("Let me see.", "Please think")


def test_images_go_to_a_route_of_their_own(webui: WebuiServer, client: LollmsClient) -> None:
    pictures = [png(2, 2), png(3, 3)]
    assert client.generate_text("What?", images=pictures) == "I see 2 images: What?"
    seen = webui.requests[-1]
    assert seen.path == "/lollms_generate_with_images"
    assert [base64.b64decode(image) for image in seen.json()["images"]] == pictures


def test_what_it_cannot_do_is_said(webui: WebuiServer, client: LollmsClient) -> None:
    reply = client.complete("Hi", stop=["X"], min_p=0.1, ctx_size=512, odd=1)
    assert {item.name for item in reply.receipt} == {"stop", "min_p", "ctx_size", "odd"}
    with pytest.raises(UnsupportedFeature, match="tools"):
        client.complete("Hi", tools=[{"name": "f"}])
    with pytest.raises(UnsupportedFeature, match="JSON Schema"):
        client.complete("Hi", schema={"type": "object"})
    with pytest.raises(UnsupportedFeature, match="tool calls"):
        client.complete([Message.user("a"), Message.tool("1", "b")])
    with pytest.raises(UnsupportedFeature, match="its own model"):
        client.embed("abc", model="bge-m3")
    assert len(webui.requests) == 1


def test_models_personalities_tokens_and_embeddings(webui: WebuiServer, client: LollmsClient) -> None:
    assert client.list_models() == client.listModels() == [{"model_name": name} for name in MODELS]
    assert client.listMountedPersonalities() == PERSONALITIES
    assert client.tokenize("né") == list("né".encode())
    assert client.detokenize(list("né".encode())) == "né"
    assert client.count_tokens("né") == 3
    assert client.embed("abc") == [3.0, 0.5]
    assert client.embed(["abc", ""]) == [[3.0, 0.5], [0.0, 0.5]]
    info = client.get_model_info()
    assert (info["binding_name"], info["host_address"], info["personality"]) == ("lollms_webui", webui.origin, None)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("error", UpstreamError, "CUDA out of memory"),
        ("nothing", UpstreamFailed, "no model loaded"),
        ("page", ProtocolError, "Check the address"),
        ("latin", ProtocolError, "not UTF-8"),
        ("half", TruncatedStream, "middle of a character"),
        ("broken", UpstreamFailed, "HTTP 500"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_answers_are_typed_errors(
    monkeypatch: pytest.MonkeyPatch, stream: bool, fault: str, error: type[LollmsError], words: str
) -> None:
    monkeypatch.setattr(LollmsWebuiCodec, "retry", NO_RETRY, raising=False)
    with WebuiServer(fault=fault) as webui, LollmsClient("lollms_webui", webui.origin) as client:
        with pytest.raises(error, match=words) as caught:
            client.stream("Hello").result() if stream else client.complete("Hello")
        assert type(caught.value) is error
        assert len(webui.requests) == 1
        if fault in ("latin", "half"):
            assert caught.value.partial is not None
            assert caught.value.partial.text == "Hello"


def test_a_cut_stream_is_not_taken_for_an_answer() -> None:
    with WebuiServer(fault="cut") as webui, LollmsClient("lollms_webui", webui.origin) as client:
        with pytest.raises(TransportError) as caught:
            client.stream("Hello").result()
    assert isinstance(caught.value, TruncatedStream)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


def test_early_versions_sent_texts_in_quotes() -> None:
    with WebuiServer(fault="quoted") as webui, LollmsClient("lollms_webui", webui.origin) as client:
        assert client.complete(TEXT).text == TEXT


def test_keys_and_addresses() -> None:
    with WebuiServer(key="secret-key-123") as webui:
        with LollmsClient("lollms_webui", webui.origin, service_key="secret-key-123") as client:
            assert client.list_models()
            assert client.tokenize("a") == [97]
        with LollmsClient("lollms_webui", webui.origin, service_key="another-key-45") as client:
            for ask in (client.list_models, lambda: client.complete("Hi")):
                with pytest.raises(AuthFailed) as caught:
                    ask()
                assert "another-key-45" not in str(caught.value)
    with (
        LollmsClient("lollms_webui", refused_url()) as client,
        pytest.raises(Refused, match="No lollms web UI answers"),
    ):
        client.complete("Hi")
    binding: Any = LollmsClient("lollms_webui").binding
    assert binding.host_address == "http://localhost:9600"


def test_the_constructor_takes_what_is_documented() -> None:
    for value in (ELF_COMPLETION_FORMAT.Instruct, "chat", 1, None):
        LollmsClient("lollms_webui", llm_binding_config={"default_completion_format": value, "personality": -1})
    with pytest.raises(InvalidRequest, match="default_completion_format"):
        LollmsClient("lollms_webui", llm_binding_config={"default_completion_format": 7})
    with pytest.raises(InvalidRequest, match="number of a mounted personality"):
        LollmsClient("lollms_webui", llm_binding_config={"personality": "artbot"})
