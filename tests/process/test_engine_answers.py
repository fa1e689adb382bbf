"""The llama.cpp engine with the embedded model: it starts by itself, answers both drivers alike, and keeps its key."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from lollms_core.errors import ContextTooLong, UnsupportedFeature
from lollms_core.types import Batch, GenerationCall, ImagePart, Message, Params, Progress, Tool
from lollms_runtime.engines.llamacpp import LlamaCppEngine
from tests.support.engines import aask, ask, asking, running

pytestmark = pytest.mark.group("engine")

HELLO = asking("Say hello.", temperature=0.0)


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppEngine]:
    with running(alias="lollms-nano", parallel=2) as it:
        it.ready().result(30)
        yield it


def test_starting_returns_at_once_and_loading_is_told() -> None:
    with running() as engine:
        assert engine.state == "stopped"
        start = time.monotonic()
        engine.start()
        assert time.monotonic() - start < 0.05
        assert engine.state == "loading"
        batches: list[Batch] = []
        reply = ask(engine, HELLO, batches.append)
        assert isinstance(batches[0][0], Progress) and batches[0][0].kind == "load"
        assert engine.state == "ready"
        assert reply.text and reply.model == "lollms-nano-q8_0"
        assert reply.usage is not None and reply.usage.prompt_tokens


def test_both_drivers_give_the_same_reply(engine: LlamaCppEngine) -> None:
    assert ask(engine, HELLO) == asyncio.run(aask(engine, HELLO))


def test_asked_for_a_stream_or_not_the_reply_is_the_same(engine: LlamaCppEngine) -> None:
    whole = GenerationCall(HELLO.messages, params=HELLO.params, stream=False)
    assert ask(engine, whole) == ask(engine, HELLO)


def test_tools_and_schemas_work(engine: LlamaCppEngine) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = Tool("get_weather", "Get the weather of a city", parameters)
    call = GenerationCall((Message.user("What is the weather in Paris?"),), tools=(tool,))
    reply = ask(engine, call)
    assert reply.tool_calls or reply.text
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked = GenerationCall((Message.user("Give me a number."),), schema=schema, params=Params(max_tokens=50))
    assert ask(engine, asked).text.lstrip().startswith("{")


def test_every_route_but_health_wants_the_key(engine: LlamaCppEngine) -> None:
    target = engine.ready().result(10)
    assert target.key not in repr(target)

    def status(path: str, key: str | None) -> int:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        request = urllib.request.Request(target.base_url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    assert status("/health", None) == 200
    for path in ("/props", "/slots", "/v1/models", "/metrics", "/lora-adapters", "/tokenize", "/v1/chat/completions"):
        assert status(path, None) == 401, path
        assert status(path, "wrong") == 401, path
    assert status("/slots", target.key) == 200
    assert status("/", None) == 404  # no web page


def test_a_web_page_of_another_origin_gets_no_permission(engine: LlamaCppEngine) -> None:
    target = engine.ready().result(10)
    headers = {"authorization": f"Bearer {target.key}", "origin": "http://evil.example"}
    request = urllib.request.Request(target.base_url + "/slots", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.headers.get("access-control-allow-origin") in (None, "")


def test_the_key_is_on_no_command_line(engine: LlamaCppEngine) -> None:
    target = engine.ready().result(10)
    with open(f"/proc/{engine.pid}/cmdline", "rb") as cmdline, open(f"/proc/{engine.pid}/environ", "rb") as environ:
        assert target.key.encode() not in cmdline.read() + environ.read()


def test_tokens_and_facts_in_both_forms(engine: LlamaCppEngine) -> None:
    async def all_of_it() -> tuple[list[int], str, int, object]:
        tokens = await engine.atokenize("Grüße, world")
        text = await engine.adetokenize(tokens)
        return tokens, text, await engine.acount_tokens("Grüße, world"), await engine.amodel_info()

    tokens = engine.tokenize("Grüße, world")
    assert engine.detokenize(tokens) == "Grüße, world"
    info = engine.model_info()
    assert (info.name, info.context_size, info.supports_tools, info.supports_vision) == (
        "lollms-nano",
        1024,
        True,
        False,
    )
    assert asyncio.run(all_of_it()) == (tokens, "Grüße, world", engine.count_tokens("Grüße, world"), info)


def test_too_long_a_conversation_is_refused_with_both_counts(engine: LlamaCppEngine) -> None:
    call = asking("word " * 3000)
    with pytest.raises(ContextTooLong, match=r"has [23],\d{3} tokens .* holds 1,024"):
        ask(engine, call)
    with pytest.raises(ContextTooLong):
        asyncio.run(aask(engine, call))
    assert ask(engine, HELLO).text


def test_what_the_model_cannot_do_is_refused(engine: LlamaCppEngine) -> None:
    with pytest.raises(UnsupportedFeature, match="images"):
        ask(engine, GenerationCall((Message.user("look", [ImagePart(b"x", "image/png")]),)))
    with pytest.raises(UnsupportedFeature, match="embedding"):
        engine.embed(["hello"])


def test_more_requests_than_slots_all_get_their_turn(engine: LlamaCppEngine) -> None:
    texts: list[str] = []
    queued: list[Progress] = []

    def seen(batch: Batch) -> None:
        queued.extend(event for event in batch if isinstance(event, Progress) and event.kind == "queue")

    threads = [threading.Thread(target=lambda: texts.append(ask(engine, HELLO, seen).text)) for _ in range(6)]

    async def tasks() -> list[str]:
        return [reply.text for reply in await asyncio.gather(*(aask(engine, HELLO, seen) for _ in range(6)))]

    for thread in threads:
        thread.start()
    texts += asyncio.run(tasks())
    for thread in threads:
        thread.join(30)
    assert len(texts) == 12
    assert len(set(texts)) == 1
    assert queued


def test_a_conversation_that_goes_on_reads_only_what_is_new(engine: LlamaCppEngine) -> None:
    read: list[Progress] = []

    def seen(batch: Batch) -> None:
        read.extend(event for event in batch if isinstance(event, Progress) and event.kind == "prefill")

    first = asking("My name is Ada. " * 100, max_tokens=8, temperature=0.0)
    reply = ask(engine, first, seen)
    assert reply.usage is not None and (reply.usage.prompt_tokens or 0) > 400
    assert read
    read.clear()
    for _ in range(3):  # others come in between
        ask(engine, HELLO)
    more = (*first.messages, Message.assistant(reply.text), Message.user("And now?"))
    ask(engine, GenerationCall(more, params=Params(max_tokens=2)), seen)
    assert not read


def test_a_chat_format_replaces_the_template_and_refuses_tools() -> None:
    with running(chat_format="chatml") as engine:
        assert ask(engine, asking("Say hello.", max_tokens=5)).usage is not None
        assert not engine.model_info().supports_tools
        with pytest.raises(UnsupportedFeature, match="tools"):
            ask(engine, GenerationCall(HELLO.messages, tools=(Tool("add"),)))


def test_an_engine_for_embeddings_embeds_and_still_answers() -> None:
    with running(embedding=True) as engine:
        vectors = engine.embed(["a cat", "a dog", "stock exchange"]).vectors
        assert [len(vector) for vector in vectors] == [192] * 3
        assert asyncio.run(engine.aembed(["a cat"])).vectors[0] == pytest.approx(vectors[0], abs=1e-3)
        assert ask(engine, HELLO).text
