"""Models of transformers through the client: the answers of llama.cpp with the same weights, and every promise of a
binding: streams, seeds, stop strings, tools, thoughts, embeddings, and a cancel that is heeded at the next token."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import Cancelled, ContextTooLong, InvalidRequest, LollmsError, UnsupportedFeature
from lollms_core.types import Done, GenerationCall, ImagePart, Message, Params, Reply, TextDelta, Tool
from lollms_runtime.cancel import Cancel

pytestmark = [pytest.mark.group("torch"), pytest.mark.timeout(180)]

HF = Path(__file__).resolve().parents[2] / "nano" / "hf"
WEATHER = Tool(
    "get_weather",
    "Get the weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PROMPTS = (
    "What is the capital of France?",
    "What is 34 + 48?",
    "How do you say water in Spanish?",
    "Write a Python function that reverses a string.",
    "Hello",
)


@pytest.fixture(scope="module")
def client() -> Iterator[LollmsClient]:
    with LollmsClient(binding_name="transformers", llm_binding_config=nano()) as made:
        made.complete("Hello", max_tokens=2)  # its threads are there before a test counts them
        yield made


@pytest.fixture(scope="module")
def llamacpp() -> Iterator[LollmsClient]:
    pytest.importorskip("xllamacpp")
    with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as made:
        made.complete("Hello", max_tokens=2)
        yield made


def nano(**more: Any) -> dict[str, Any]:
    return {"model_name_or_id": str(HF), "device": "cpu", **more}


def engine_of(client: LollmsClient) -> Any:
    return client.binding.engine()  # type: ignore[union-attr]


@pytest.mark.group("engine")
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_same_weights_say_the_same_as_in_llama_cpp(
    client: LollmsClient, llamacpp: LollmsClient, prompt: str
) -> None:
    ours = client.complete(prompt, temperature=0.0, max_tokens=60)
    theirs = llamacpp.complete(prompt, temperature=0.0, max_tokens=60)
    assert ours.text.strip() == theirs.text.strip() != ""
    assert ours.finish_reason == theirs.finish_reason == "stop"
    assert ours.usage is not None and theirs.usage is not None
    assert ours.usage.prompt_tokens == theirs.usage.prompt_tokens


@pytest.mark.group("engine")
def test_a_prompt_read_in_stages_says_the_same(client: LollmsClient, llamacpp: LollmsClient) -> None:
    facts = " ".join(f"Box {number} holds {number * 7} red balls." for number in range(30))
    call = {"system": f"Facts: {facts}", "temperature": 0.0, "max_tokens": 40}
    ours = client.complete("What is the capital of France?", **call)
    assert ours.usage is not None and ours.usage.prompt_tokens is not None and ours.usage.prompt_tokens > 256
    assert ours.text.strip() == llamacpp.complete("What is the capital of France?", **call).text.strip()


def test_a_stream_is_the_whole_in_pieces(client: LollmsClient) -> None:
    whole = client.complete("Tell me a short story about a cat.", temperature=0.0, max_tokens=60)
    with client.stream("Tell me a short story about a cat.", temperature=0.0, max_tokens=60) as stream:
        pieces = [event.text for event in stream if isinstance(event, TextDelta)]
        reply = stream.result()
    assert len(pieces) > 10 and "".join(pieces) == whole.text == reply.text
    assert reply.usage == whole.usage and reply.usage is not None and reply.usage.completion_tokens


def test_a_seed_repeats_an_answer_and_no_seed_does_not(client: LollmsClient) -> None:
    story = {"temperature": 1.5, "max_tokens": 40}
    texts = [client.complete("Tell me a story.", seed=seed, **story).text for seed in (1, 1, 2, 2**63 + 5, 2**63 + 5)]
    assert texts[0] == texts[1] != texts[2] and texts[3] == texts[4]
    hot = {"temperature": 5.0, "max_tokens": 40}  # the small model knows its story well
    assert len({client.complete("Tell me a story.", **hot).text for _ in range(6)}) > 1


def test_an_answer_ends_before_a_stop_string_also_across_tokens(client: LollmsClient) -> None:
    whole = client.complete("What is the capital of France?", temperature=0.0)
    assert whole.text.endswith("France is Paris.")
    with client.stream("What is the capital of France?", temperature=0.0, stop=["ce is Pa", "nothing"]) as stream:
        pieces = [event.text for event in stream if isinstance(event, TextDelta)]
        reply = stream.result()
    assert "".join(pieces) == reply.text == whole.text.split("ce is Pa")[0]
    assert reply.finish_reason == "stop"


def test_a_limit_is_told_as_one(client: LollmsClient) -> None:
    reply = client.complete("Tell me a story.", temperature=0.0, max_tokens=5)
    assert reply.finish_reason == "length" and reply.usage is not None and reply.usage.completion_tokens == 5


@pytest.mark.group("engine")
@pytest.mark.parametrize("penalty", [{"repeat_penalty": 1.5}, {"frequency_penalty": 9.0}, {"presence_penalty": 20.0}])
def test_penalties_are_those_of_llama_cpp(
    client: LollmsClient, llamacpp: LollmsClient, penalty: dict[str, float]
) -> None:
    call = {"temperature": 0.0, "max_tokens": 12}
    plain = client.complete("Tell me a story.", **call).text
    ours = client.complete("Tell me a story.", **call, **penalty).text
    assert ours != plain
    assert ours.strip() == llamacpp.complete("Tell me a story.", **call, **penalty).text.strip()


def test_a_tool_is_called_and_its_result_told(client: LollmsClient) -> None:
    asked = [Message.user("What is the weather in Paris?")]
    reply: Reply = client.complete(asked, tools=[WEATHER], temperature=0.0, max_tokens=80)
    assert reply.finish_reason == "tool_calls" and reply.text.strip() == ""
    (call,) = reply.tool_calls
    assert call.name == "get_weather" and call.arguments == {"city": "Paris"}
    result = Message.tool(call.id, '{"weather": "sunny", "temperature": 21}')
    told = client.complete(
        [*asked, Message.assistant("", reply.tool_calls), result], tools=[WEATHER], temperature=0.0, max_tokens=80
    )
    assert "sunny" in told.text and not told.tool_calls


@pytest.mark.group("engine")
def test_thoughts_are_no_part_of_the_answer(client: LollmsClient, llamacpp: LollmsClient) -> None:
    call = {"system": "Think before you answer.", "temperature": 0.0, "max_tokens": 120}
    theirs = llamacpp.complete("What is 12 + 7?", **call)
    ours = client.complete("What is 12 + 7?", **call)
    assert ours.thoughts.strip() == theirs.thoughts.strip() != ""
    assert ours.text.strip() == theirs.text.strip() and "<think" not in ours.text


def test_what_is_not_possible_is_refused_before_anything_is_generated(client: LollmsClient) -> None:
    with pytest.raises(ContextTooLong, match="1,024"):
        client.complete("word " * 3000)
    with pytest.raises(UnsupportedFeature, match="JSON Schema"):
        client.complete("x", schema={"type": "object", "properties": {"a": {"type": "string"}}})
    engine = engine_of(client)
    seen = GenerationCall((Message.user("x", [ImagePart(b"\x89PNG", "image/png")]),))
    with pytest.raises(UnsupportedFeature, match="text only"), engine.open(seen, Cancel()) as batches:
        list(batches)


def test_tokens_are_those_of_the_model(client: LollmsClient) -> None:
    text = "Hello wörld 🙂 <|im_end|>"
    tokens = client.tokenize(text)
    assert client.detokenize(tokens) == text and client.count_tokens(text) == len(tokens) > 5
    with pytest.raises(InvalidRequest):
        engine_of(client).detokenize([10**9])


@pytest.mark.group("engine")
def test_embeddings_are_means_of_length_one(client: LollmsClient) -> None:
    texts = ["Paris is the capital of France.", "def reverse(s): return s[::-1]"]
    ours = client.embed(texts)
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-4 for vector in ours)
    with LollmsClient(
        binding_name="pythonllamacpp", model_name="lollms-nano", llm_binding_config={"embedding": True}
    ) as other:
        theirs = other.embed(texts)
    for mine, its in zip(ours, theirs, strict=True):
        assert sum(a * b for a, b in zip(mine, its, strict=True)) > 0.97


def test_a_cancelled_answer_stops_within_a_token(client: LollmsClient) -> None:
    engine = engine_of(client)
    before, cancel = engine.pid, Cancel()
    call = GenerationCall((Message.user("Tell me a story."),), params=Params(temperature=1.8, max_tokens=900))
    pieces = 0
    begun = time.monotonic()
    with engine.open(call, cancel) as batches:
        while pieces < 3:
            pieces += any(isinstance(event, TextDelta) for event in next(batches))
        cancel.set()
        with pytest.raises(Cancelled):
            list(batches)
    assert client.complete("Hello", max_tokens=2).usage is not None
    assert time.monotonic() - begun < 10 and engine.pid == before


def test_threads_and_tasks_share_the_model(client: LollmsClient) -> None:
    expected = {prompt: client.complete(prompt, temperature=0.0, max_tokens=30).text for prompt in PROMPTS}
    found: dict[str, str] = {}

    def ask(prompt: str) -> None:
        found[prompt] = client.complete(prompt, temperature=0.0, max_tokens=30).text

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in PROMPTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_the_async_client_says_the_same_beside_another(client: LollmsClient) -> None:
    async def main() -> list[str]:
        async with AsyncLollmsClient(binding_name="transformers", llm_binding_config=nano()) as other:
            replies = await asyncio.gather(*(other.complete(each, temperature=0.0, max_tokens=30) for each in PROMPTS))
            return [reply.text for reply in replies]

    first = [client.complete(prompt, temperature=0.0, max_tokens=30).text for prompt in PROMPTS]
    assert asyncio.run(main()) == first


def test_what_is_known_of_the_model_is_told(client: LollmsClient) -> None:
    info = client.get_model_info()
    assert info["context_size"] == 1024 and info["device"] == "cpu" and info["dtype"] == "float32"
    assert info["revision"] is None and info["quantisation"] is None
    assert client.get_ctx_size() == 1024


def test_texts_are_continued_where_that_is_wanted() -> None:
    config = nano(default_completion_format="Instruct", ctx_size=64, dtype="bfloat16")
    with LollmsClient(binding_name="transformers", llm_binding_config=config) as plain:
        chat = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
        assert "Paris" in plain.complete(chat, temperature=0.0, max_tokens=20).text
        assert plain.get_model_info()["dtype"] == "bfloat16" and plain.get_ctx_size() == 64


def test_a_device_that_is_not_there_is_told() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a graphics card")
    with LollmsClient(binding_name="transformers", llm_binding_config=nano(device="cuda")) as other:
        with pytest.raises(LollmsError, match="torch does not find"):
            other.complete("x")


def test_the_last_event_says_what_was_not_done(client: LollmsClient) -> None:
    with client.stream("Hello", max_tokens=3, ctx_size=99, mirostat=2) as stream:
        done = [event for event in stream if isinstance(event, Done)]
    names = [item.name for event in done for item in event.receipt]
    assert "ctx_size" in names and "mirostat" in names
