"""The binding to another lollms server, between two real servers: what is asked of the near one is done by the far."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import pytest
from typing_extensions import override

from lollms_core.errors import AuthFailed, LollmsError, NotFound, Refused, UnknownModel
from lollms_core.types import (
    Embeddings,
    GenerationCall,
    ImagePart,
    Message,
    Params,
    ReceiptItem,
    Reply,
    Tool,
    ToolCall,
    Usage,
)
from lollms_runtime.scripted import Script
from lollms_server.core.bindings import TokenCount
from lollms_server.zoos.bindings.lollms_binding import LollmsBinding
from tests.support.attached import attached, reply_of, said
from tests.support.chaos import refused_url
from tests.support.ollama_server import png
from tests.support.raw_http import ask, prompt
from tests.support.server import PortsBinding, Served, running_server

T = TypeVar("T")

ANSWER = Reply(
    text="Paris.",
    thoughts="Easy.",
    tool_calls=(ToolCall("c1", "weather", {"city": "Paris"}),),
    usage=Usage(3, 4, 7),
    finish_reason="tool_calls",
    model="m-2026",
    receipt=(ReceiptItem("top_k", "dropped", "no such thing"),),
)


class Far(PortsBinding):
    """Sees, counts letters as tokens, and embeds a text by its length."""

    @override
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"]

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": "m", "size": 5, "context_size": 64, "supports_vision": True}]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        if model_name not in (None, "m"):
            raise UnknownModel("There is m only.")
        return {"name": "m", "model_name": "m", "context_size": 64, "supports_vision": True}

    @override
    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        return [*([1] if add_bos else []), *map(ord, text)]

    @override
    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        return "".join(map(chr, tokens))

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        return Embeddings(tuple((float(len(text)), 0.5) for text in texts), "m", Usage(len(texts)))


@pytest.fixture(scope="module")
def script() -> Script:
    return Script(lambda call: ANSWER)


@pytest.fixture(scope="module")
def far(script: Script) -> Iterator[Served]:
    other = PortsBinding(Script(lambda call: Reply(text="other")))
    with running_server({"main": Far(script), "other": other}) as served:
        yield served


def asked(far: Served, question: Callable[[LollmsBinding], Awaitable[T]], **config: Any) -> T:
    async def work() -> T:
        settings = {"base_url": far.url, "service_key": far.key, **config}
        async with attached(LollmsBinding, **settings) as binding:
            return await question(binding)

    return asyncio.run(work())


def failed(far: Served, question: Callable[[LollmsBinding], Awaitable[Any]], **config: Any) -> LollmsError:
    with pytest.raises(LollmsError) as caught:
        asked(far, question, **config)
    return caught.value


def test_calls_arrive_as_they_were_made_and_answers_come_back_whole(far: Served, script: Script) -> None:
    call = GenerationCall(
        (
            Message.system("Be kind."),
            Message.user("Hi"),
            Message.assistant("Hello."),
            Message.user("Look!", [ImagePart(png(), "image/png")]),
        ),
        "m",
        Params(temperature=0.5, max_tokens=9),
        tools=(Tool("weather", "Tells it.", {"type": "object"}),),
        schema={"type": "object"},
    )
    for stream in (True, False):
        wanted = msgspec.structs.replace(call, stream=stream)
        reply = asked(far, lambda binding, wanted=wanted: reply_of(binding, wanted))  # type: ignore[misc]
        assert reply == ANSWER
        assert script.calls[-1] == wanted


def test_an_instance_can_be_chosen(far: Served) -> None:
    reply = asked(far, lambda binding: reply_of(binding, said("x")), instance="other")
    assert reply.text == "other"
    assert isinstance(failed(far, lambda binding: reply_of(binding, said("x")), instance="nobody"), NotFound)


def test_models_are_those_of_the_far_instance(far: Served) -> None:
    models = asked(far, lambda binding: binding.list_available_models())
    assert [(model["name"], model["size"], model["context_size"]) for model in models] == [("m", 5, 64)]
    info = asked(far, lambda binding: binding.get_model_info())
    assert (info["model_name"], info["context_size"], info["model_type"]) == ("m", 64, "vlm")
    assert isinstance(failed(far, lambda binding: binding.get_model_info("nobody")), UnknownModel)
    assert asked(far, lambda binding: binding.get_model_input_modalities("m")) == ["text", "image"]


def test_tokens_are_the_far_ones(far: Served) -> None:
    assert asked(far, lambda binding: binding.tokenize("hi", add_bos=True)) == [1, 104, 105]
    assert asked(far, lambda binding: binding.detokenize([104, 105])) == "hi"
    assert asked(far, lambda binding: binding.count_tokens("hello")) == 5
    assert asked(far, lambda binding: binding.token_count("hello")) == TokenCount(5, exact=True)
    estimated = asked(far, lambda binding: binding.token_count("hello"), instance="other")
    assert estimated.count > 0 and not estimated.exact


def test_texts_are_embedded_there(far: Served) -> None:
    found = asked(far, lambda binding: binding.embed(["a", "bcd"]))
    assert (found.vectors, found.model) == (((1.0, 0.5), (3.0, 0.5)), "m")


def test_a_wrong_key_and_nobody_there_are_said(far: Served) -> None:
    error = failed(far, lambda binding: reply_of(binding, said("x")), service_key="canary-wrong-0123456789")
    assert isinstance(error, AuthFailed) and "canary" not in str(error)
    assert asked(far, lambda binding: binding.health_check()) == (True, "main answers.")
    away = {"base_url": "", "host_address": refused_url()}
    assert isinstance(failed(far, lambda binding: reply_of(binding, said("x")), **away), Refused)
    well, words = asked(far, lambda binding: binding.health_check(), **away)
    assert not well and words


def test_a_server_in_front_of_a_server_answers_the_same(far: Served) -> None:
    instances = {"near": {"type": "lollms_binding", "base_url": far.url, "service_key": far.key}}
    config = {"bindings_map": {"near": "lollms_binding"}, "defaults": {"ttt_binding": "near"}}
    image = {"type": "image", "role": "input_image", "data": base64.b64encode(png()).decode(), "mime_type": "image/png"}
    body = prompt("What is it?")
    body["input_data"].append(image)
    with running_server(None, config, instances) as near:
        near.wait_until(lambda: near.services.manager.models != "loading", 20)
        said = [ask(served.port, "POST", "/api/v1/generate", body, served.headers).json() for served in (near, far)]
        assert said[0]["output"] == said[1]["output"]
        streamed = ask(near.port, "POST", "/api/v1/generate", {**body, "stream": True}, near.headers).events()
        assert streamed[-1]["content"] == said[0]["output"]
        assert "".join(each["content"] for each in streamed if each["type"] == "chunk") == "Paris."
