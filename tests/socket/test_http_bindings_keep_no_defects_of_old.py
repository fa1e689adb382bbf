"""What the earlier server got wrong with its OpenAI and Ollama bindings, each asked of a real server in front of a
backend on a socket: none of it may come back.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.chaos import ChaosServer
from tests.support.ollama_server import OllamaServer, png
from tests.support.openai_server import answering
from tests.support.raw_http import Answer, ask, prompt
from tests.support.server import Served, running_server

KINDS = ("openai", "ollama")
TEXT = "Grüße, 世界! It goes on\u2028and on."


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, dict[str, Any]]]:
    """The settings of an instance of each type, with a default model that sees nothing."""
    with ChaosServer() as chaos, OllamaServer() as ollama:
        openai = {"type": "openai_binding", "base_url": chaos.add("openai", answering), "default_model": "one"}
        yield {
            "openai": openai,
            "ollama": {"type": "ollama_binding", "host": ollama.origin, "default_model": "llama3.2"},
            "dead": {"type": "ollama_binding", "host": "http://127.0.0.1:1", "default_model": "llama3.2"},
        }


@contextlib.contextmanager
def in_front_of(backends: dict[str, dict[str, Any]]) -> Iterator[Served]:
    config = {
        "bindings_map": {name: settings["type"] for name, settings in backends.items()},
        "defaults": {"ttt_binding": next(iter(backends))},
    }
    with running_server(None, config, backends) as server:
        server.wait_until(lambda: server.services.manager.models != "loading", 20)
        yield server


@pytest.fixture(scope="module")
def server(backends: dict[str, dict[str, Any]]) -> Iterator[Served]:
    with in_front_of(backends) as served:
        yield served


def post(server: Served, text: str, **more: Any) -> Answer:
    return ask(server.port, "POST", "/api/v1/generate", prompt(text, **more), server.headers)


def with_image(server: Served, kind: str, model: str | None = None) -> Answer:
    image = {"type": "image", "role": "input_image", "data": base64.b64encode(png()).decode(), "mime_type": "image/png"}
    body = prompt("What is it?", binding_name=kind, model_name=model)
    body["input_data"].append(image)
    return ask(server.port, "POST", "/api/v1/generate", body, server.headers)


@pytest.mark.parametrize("kind", KINDS)
def test_an_instance_is_made_and_answers(server: Served, kind: str) -> None:
    """W-S2: the OpenAI binding could not be instantiated at all."""
    said = post(server, TEXT, binding_name=kind)
    assert said.status == 200, said
    assert said.json()["output"][0]["data"] == TEXT
    active = ask(server.port, "GET", "/api/v1/list_active_bindings", None, server.headers).json()["bindings"]
    assert active[kind]["type"] == f"{kind}_binding"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_carries_the_text_and_final_carries_it_again(server: Served, kind: str) -> None:
    """W-S3: streams of the OpenAI binding had no text. W-S4: those of Ollama ended with an internal error."""
    answer = post(server, TEXT, binding_name=kind, stream=True)
    assert answer.status == 200, answer
    *chunks, final = answer.events()
    assert len(chunks) > 3
    assert {chunk["type"] for chunk in chunks} == {"chunk"}
    assert "".join(chunk["content"] for chunk in chunks) == TEXT
    assert final["type"] == "final" and "status" not in final["metadata"]
    assert [(item["type"], item["data"]) for item in final["content"]] == [("text", TEXT)]


@pytest.mark.parametrize(("kind", "model", "size"), [("openai", "two", 32768), ("ollama", "llama3.2", 131072)])
def test_model_info_is_found_for_a_model_that_is_there(server: Served, kind: str, model: str, size: int) -> None:
    """W-S7: 404 for every model, because the binding called its name something else than the server did."""
    path = f"/api/v1/get_model_info/{kind}"
    found = ask(server.port, "GET", f"{path}?model_name={model}", None, server.headers)
    assert found.status == 200, found
    assert (found.json()["model_name"], found.json()["context_size"]) == (model, size)
    assert ask(server.port, "GET", path, None, server.headers).json()["model_name"] in ("one", "llama3.2")
    missing = ask(server.port, "GET", f"{path}?model_name=nobody", None, server.headers)
    assert missing.status == 404, missing


def test_images_are_taken_or_refused_the_same_before_and_after_text(backends: dict[str, dict[str, Any]]) -> None:
    """W-S8: whether a model can see was looked up only once some request had loaded it."""
    with in_front_of(backends) as fresh:
        first = with_image(fresh, "ollama", "llava")
        assert first.status == 200, first
        assert first.json()["output"][0]["data"] == "I see [(3, 2)]."
        blind = with_image(fresh, "ollama")
        assert blind.status == 400, blind
        assert "input_data[1]" in blind.json()["detail"]
        assert with_image(fresh, "openai").json()["output"][0]["data"] == "1 images"
        post(fresh, "x", binding_name="ollama")
        post(fresh, "x", binding_name="ollama", model_name="llava")
        assert with_image(fresh, "ollama", "llava").status == 200
        assert with_image(fresh, "ollama").status == 400


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_gets_the_model_of_another(server: Served, kind: str) -> None:
    """W-S9: the model was a variable of the binding, which all requests shared."""
    models = {"openai": ["a", "b", "c", None], "ollama": ["llava", "qwen3", "old", None]}[kind]
    default = {"openai": "one", "ollama": "llama3.2"}[kind]

    def one(number: int) -> None:
        model = models[number % 4]
        canary = f"canary {kind} {number}"
        answer = post(server, canary, binding_name=kind, model_name=model, stream=number % 8 < 4)
        assert answer.status == 200, answer
        output = answer.events()[-1]["content"] if number % 8 < 4 else answer.json()["output"]
        assert output[0]["data"] == canary
        assert output[0]["metadata"]["model_used"] == (model or default)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(200)))


def test_a_backend_that_is_not_there_fails_its_own_requests_alone(server: Served) -> None:
    assert post(server, "x", binding_name="dead").status == 503
    assert with_image(server, "dead").status == 503
    assert post(server, "x", binding_name="ollama").status == 200
