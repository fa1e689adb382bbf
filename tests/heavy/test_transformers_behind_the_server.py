"""Models of transformers behind the server, under both names of the type: the answers of llama.cpp with the same
weights, tools, two callers at once, and one who leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import InvalidRequest
from lollms_core.types import Message, TextDelta, Tool
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY, Served, running_server

pytestmark = [pytest.mark.group("torch"), pytest.mark.group("engine"), pytest.mark.timeout(180)]

HEADERS = {"X-API-Key": KEY}
HF = Path(__file__).resolve().parents[2] / "nano" / "hf"
TYPES = {"nano": "transformers_binding", "older": "hf_binding", "gguf": "llamacpp_binding"}
WEATHER = Tool(
    "get_weather", "Get the weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}}
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    instances: dict[str, dict[str, Any]] = {name: {"type": kind} for name, kind in TYPES.items()}
    for name in ("nano", "older"):
        instances[name] |= {"default_model": str(HF), "device": "cpu"}
    config = {"bindings_map": TYPES, "defaults": {"ttt_binding": "nano"}}
    with running_server(config=config, instances=instances) as made:
        deadline = time.monotonic() + 120
        while (models := health(made)["models"]) == "loading" and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert models == "ready"
        yield made


def health(server: Served) -> dict[str, Any]:
    found: dict[str, Any] = ask(server.port, "GET", "/api/v1/health").json()
    return found


def client_of(server: Served, instance: str) -> LollmsClient:
    config = {"instance": instance}
    return LollmsClient("lollms", host_address=server.url, service_key=KEY, llm_binding_config=config)


def said(server: Served, text: str, **more: Any) -> str:
    body = prompt(text, parameters={"temperature": 0, "max_tokens": 60}, **more)
    answer = ask(server.port, "POST", "/api/v1/generate", body, HEADERS)
    assert answer.status == 200, answer
    return str(answer.json()["output"][0]["data"]).strip()


@pytest.mark.parametrize("question", ["What is the capital of France?", "What is 34 + 48?"])
def test_all_three_types_say_the_same(server: Served, question: str) -> None:
    nano, older, gguf = (said(server, question, binding_name=name) for name in TYPES)
    assert nano == older == gguf != ""


def test_a_stream_is_the_whole_in_pieces(server: Served) -> None:
    with client_of(server, "nano") as client:
        whole = client.complete("Tell me a short story about a cat.", temperature=0.0, max_tokens=60)
        with client.stream("Tell me a short story about a cat.", temperature=0.0, max_tokens=60) as stream:
            text = "".join(event.text for event in stream if isinstance(event, TextDelta))
    assert text == whole.text and whole.usage is not None and whole.usage.completion_tokens


def test_tools_go_through(server: Served) -> None:
    asked = [Message.user("What is the weather in Paris?")]
    with client_of(server, "nano") as client:
        reply = client.complete(asked, tools=[WEATHER], temperature=0.0, max_tokens=80)
        assert [(call.name, call.arguments) for call in reply.tool_calls] == [("get_weather", {"city": "Paris"})]
        turns = [*asked, Message.assistant("", reply.tool_calls), Message.tool(reply.tool_calls[0].id, "sunny")]
        assert "sunny" in client.complete(turns, tools=[WEATHER], temperature=0.0, max_tokens=80).text


def test_two_clients_at_once_get_their_own_answers(server: Served) -> None:
    questions = {"What is the capital of France?": "Paris", "What is 34 + 48?": "82"}
    found: dict[str, list[str]] = {each: [] for each in questions}

    def work(question: str) -> None:
        with client_of(server, "nano") as client:
            for _ in range(3):
                found[question].append(client.complete(question, temperature=0.0, max_tokens=30).text)

    threads = [threading.Thread(target=work, args=(each,)) for each in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(found[each]) == 3 and all(word in text for text in found[each]) for each, word in questions.items())


def test_a_caller_who_leaves_stops_the_answer(server: Served) -> None:
    body = prompt("Tell me a story.", stream=True, parameters={"temperature": 1.8, "max_tokens": 900})
    begun = time.monotonic()
    with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=HEADERS) as request:
        next(request.read_head().pieces())
    server.wait_idle()
    assert "Paris" in said(server, "What is the capital of France?")
    assert time.monotonic() - begun < 10


def test_tokens_and_vectors_come_from_the_model(server: Served) -> None:
    tokens = ask(server.port, "POST", "/api/v1/tokenize", {"text": "Hello world"}, HEADERS).json()["tokens"]
    text = ask(server.port, "POST", "/api/v1/detokenize", {"tokens": tokens}, HEADERS).json()["text"]
    assert text == "Hello world"
    (vector,) = ask(server.port, "POST", "/api/v1/embed", {"input": ["Hello"]}, HEADERS).json()["embeddings"]
    assert len(vector) == 192


def test_what_is_known_of_the_model_is_told(server: Served) -> None:
    info = ask(server.port, "GET", "/api/v1/get_model_info/nano", None, HEADERS).json()
    assert info["context_size"] == 1024 and info["details"]["device"] == "cpu"


def test_a_prompt_that_is_too_long_is_a_fault_of_the_caller(server: Served) -> None:
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("word " * 3000), HEADERS)
    assert answer.status == 400 and b"1,024" in answer.body
    with client_of(server, "nano") as client, pytest.raises(InvalidRequest):
        client.complete("word " * 3000)
