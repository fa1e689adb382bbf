"""The Ollama binding over a real socket: text, thoughts, tools, images, schemas, and the same whole and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    LollmsError,
    Refused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.types import GenerationCall, ImagePart, Message, Params, Reply, Tool, ToolCall, Usage
from lollms_server.zoos.bindings.ollama_binding import OllamaBinding
from tests.support.attached import attached, reply_of, said
from tests.support.chaos import refused_url
from tests.support.ollama_server import OllamaServer, png

TOOL = Tool("weather", "Tells it.", {"type": "object", "properties": {"n": {"type": "integer"}}})
SEES = ImagePart(png(5, 4), "image/png")


@pytest.fixture(scope="module")
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer() as server:
        yield server


def answer(ollama: OllamaServer, call: GenerationCall, **config: Any) -> Reply:
    async def work() -> Reply:
        async with attached(OllamaBinding, **{"host": ollama.origin, **config}) as binding:
            return await reply_of(binding, call)

    return asyncio.run(work())


def error_of(ollama: OllamaServer, call: GenerationCall, **config: Any) -> LollmsError:
    with pytest.raises(LollmsError) as caught:
        answer(ollama, call, **config)
    return caught.value


def both(ollama: OllamaServer, call: GenerationCall) -> Reply:
    """The answer, after a look that it is the same whole and streamed."""
    whole = answer(ollama, msgspec.structs.replace(call, stream=False))
    assert answer(ollama, msgspec.structs.replace(call, stream=True)) == whole
    return whole


def test_text_usage_and_the_models_name(ollama: OllamaServer) -> None:
    text = "Grüße, 世界 🦙\u2028!\r\n"
    assert both(ollama, said(text, "llama3.2")) == Reply(
        text=text, usage=Usage(11, 7, 18), finish_reason="stop", model="llama3.2"
    )


@pytest.mark.parametrize("model", ["qwen3", "old"])
def test_thoughts_are_apart_from_the_text_however_they_come(ollama: OllamaServer, model: str) -> None:
    reply = both(ollama, said("Hi", model))
    assert (reply.thoughts, reply.text) == ("Let me see.", "Hi")


def test_thinking_can_be_switched_off(ollama: OllamaServer) -> None:
    reply = answer(ollama, said("Hi", "qwen3", params=Params(extra={"think": False})))
    assert (reply.thoughts, reply.receipt) == ("", ())
    assert ollama.requests[-1].json()["think"] is False


def test_tools_are_called_and_their_results_are_named(ollama: OllamaServer) -> None:
    reply = both(ollama, said("tool:weather", "llama3.2", tools=(TOOL,)))
    assert reply.finish_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("weather", {"n": 0, "ü": ["☃"]}),
        ("weather", {"n": 1, "ü": ["☃"]}),
    ]
    assert len({call.id for call in reply.tool_calls}) == 2
    turns = (
        Message.user("tool:weather"),
        Message.assistant("", reply.tool_calls),
        *(Message.tool(call.id, f"sun {call.arguments['n']}") for call in reply.tool_calls),
    )
    assert both(ollama, GenerationCall(turns, "llama3.2", tools=(TOOL,))).text == "weather said sun 1"


def test_ids_of_calls_that_come_again_name_the_latest_tool(ollama: OllamaServer) -> None:
    turns = (
        Message.assistant("", [ToolCall("call_0", "first", {})]),
        Message.tool("call_0", "a"),
        Message.assistant("", [ToolCall("call_0", "second", {})]),
        Message.tool("call_0", "b"),
    )
    assert answer(ollama, GenerationCall(turns, "llama3.2")).text == "second said b"
    assert [each.get("tool_name") for each in ollama.requests[-1].json()["messages"]] == [None, "first", None, "second"]


def test_images_reach_a_model_that_sees(ollama: OllamaServer) -> None:
    other = ImagePart(png(7, 1), "image/png")
    call = GenerationCall((Message.user("What is it?", [SEES, other]),), "llava")
    assert both(ollama, call).text == "I see [(5, 4), (7, 1)]."


def test_an_answer_is_held_to_a_schema(ollama: OllamaServer) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    assert both(ollama, said("x", "llama3.2", schema=schema)).text == '{"age": 1}'
    assert ollama.requests[-1].json()["format"] == schema


def test_every_parameter_has_its_place_and_others_are_reported(ollama: OllamaServer) -> None:
    params = Params(
        max_tokens=1, temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, repeat_penalty=1.2, repeat_last_n=33,
        presence_penalty=0.1, frequency_penalty=0.2, seed=2**64 - 1, stop=("a", "b"), n_threads=2, ctx_size=2048,
        extra={"num_keep": 4, "num_gpu": 99, "keep_alive": -1, "nonsense": 1},
    )  # fmt: skip
    reply = answer(ollama, said("x", "llama3.2", params=params))
    assert reply.finish_reason == "length"
    assert ollama.requests[-1].json()["options"] == {
        "num_predict": 1, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.2,
        "repeat_last_n": 33, "presence_penalty": 0.1, "frequency_penalty": 0.2, "seed": 2**63 - 1,
        "stop": ["a", "b"], "num_thread": 2, "num_ctx": 2048, "num_keep": 4,
    }  # fmt: skip
    assert {(each.name, each.action) for each in reply.receipt} == {
        ("seed", "clamped"), ("num_gpu", "dropped"), ("keep_alive", "dropped"), ("nonsense", "dropped"),
    }  # fmt: skip
    assert both(ollama, said("x", "llama3.2", params=params)) == reply


def test_nothing_is_sent_that_nobody_set(ollama: OllamaServer) -> None:
    answer(ollama, said("x", "llama3.2"))
    assert set(ollama.requests[-1].json()) == {"model", "messages", "stream"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("call", "kind", "status"),
    [
        (said("x", "nobody"), UnknownModel, 404),
        (said("x", "old", tools=(TOOL,)), UnsupportedFeature, 400),
        (GenerationCall((Message.user("x", [SEES]),), "llama3.2"), UnsupportedFeature, 400),
        (said("x", "llama3.2", params=Params(extra={"think": True})), UnsupportedFeature, 400),
        (said("x", "embed"), UnsupportedFeature, 400),
    ],
    ids=["model", "tools", "images", "thinking", "chat"],
)
def test_what_ollama_refuses_is_told_by_class(
    ollama: OllamaServer, call: GenerationCall, kind: type[LollmsError], status: int, stream: bool
) -> None:
    error = error_of(ollama, msgspec.structs.replace(call, stream=stream))
    assert (type(error), error.status, error.provider) == (kind, status, "main")


def test_a_failure_in_the_middle_of_a_stream_is_an_error(ollama: OllamaServer) -> None:
    assert type(error_of(ollama, said("a long story", "broken"))) is UpstreamError
    assert type(error_of(ollama, said("a long story", "broken", stream=False))) is UpstreamFailed


@pytest.mark.parametrize(
    ("extra", "param"), [({"think": 3}, "think"), ({"think": ""}, "think"), ({"think": "x" * 33}, "think")]
)
def test_values_that_cannot_be_meant_are_refused(ollama: OllamaServer, extra: dict[str, Any], param: str) -> None:
    error = error_of(ollama, said("x", "llama3.2", params=Params(extra=extra)))
    assert (type(error), error.param) == (InvalidRequest, param)


def test_a_call_without_a_model_says_so(ollama: OllamaServer) -> None:
    before = len(ollama.requests)
    error = error_of(ollama, said("x"))
    assert (type(error), error.param) == (InvalidRequest, "model_name")
    assert len(ollama.requests) == before
    assert answer(ollama, said("x"), default_model="llama3.2").model == "llama3.2"


def test_a_key_is_sent_where_there_is_one_and_never_shown() -> None:
    with OllamaServer(key="canary-key-0123456789") as guarded:
        assert answer(guarded, said("x", "llama3.2"), api_key="canary-key-0123456789").text == "x"
        error = error_of(guarded, said("x", "llama3.2"), api_key="canary-wrong-0123456789")
        assert type(error) is AuthFailed
        assert "canary" not in str(error)


def test_nobody_there_is_refused(ollama: OllamaServer) -> None:
    error = error_of(ollama, said("x", "llama3.2"), host=refused_url())
    assert isinstance(error, Refused)


def test_leaving_a_stream_closes_the_connection(ollama: OllamaServer) -> None:
    ollama.hold()

    async def work() -> None:
        async with attached(OllamaBinding, host=ollama.origin) as binding:
            async with binding.open(said("a long story", "llama3.2")) as batches:
                async for _ in batches:
                    break
            assert await asyncio.to_thread(ollama.requests[-1].connection.closed_after) < 0.25

    try:
        asyncio.run(work())
    finally:
        ollama.release()
