"""What the Ollama binding tells of models: the documented forms, what each takes, embeddings, whether it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from lollms_core.errors import ContextTooLong, InvalidRequest, LollmsError, Refused, UnknownModel, UnsupportedFeature
from lollms_core.types import Embeddings, Usage
from lollms_server.zoos.bindings.ollama_binding import OllamaBinding
from tests.support.attached import attached
from tests.support.chaos import refused_url
from tests.support.ollama_server import MODELS, OllamaServer

T = TypeVar("T")


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer() as server:
        yield server


def ask(host: str, question: Callable[[OllamaBinding], Awaitable[T]], **config: Any) -> T:
    async def work() -> T:
        async with attached(OllamaBinding, host=host, **config) as binding:
            return await question(binding)

    return asyncio.run(work())


def refused(host: str, question: Callable[[OllamaBinding], Awaitable[Any]]) -> LollmsError:
    with pytest.raises(LollmsError) as caught:
        ask(host, question)
    return caught.value


def test_models_are_listed_in_the_documented_form(ollama: OllamaServer) -> None:
    models = ask(ollama.origin, lambda binding: binding.list_available_models())
    assert [model["name"] for model in models] == list(MODELS)
    digest = models[0]["details"].pop("digest")
    assert len(digest) == 64
    assert models[0] == {
        "name": "llama3.2:latest",
        "size": 2019393189,
        "modified_at": "2026-01-02T03:04:05.678901Z",
        "quantization_level": "Q4_K_M",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "3.2B",
        "context_size": 131072,
        "max_output_tokens": None,
        "template": "{{ .Prompt }}",
        "license": "Made up.",
        "homepage": None,
        "supports_vision": False,
        "supports_audio": False,
        "details": {"parameters": "stop    <|end|>", "capabilities": ["completion", "tools"]},
    }
    assert [model["name"] for model in models if model["supports_vision"]] == ["llava:latest", "old:latest"]


def test_a_model_that_cannot_be_shown_stays_in_the_list(ollama: OllamaServer) -> None:
    listed = dict(ollama.models)

    class Vanishing(dict[str, Any]):
        def __contains__(self, name: object) -> bool:
            return name != "llava:latest" and super().__contains__(name)

    ollama.models = Vanishing(listed)
    models = {model["name"]: model for model in ask(ollama.origin, lambda binding: binding.list_available_models())}
    assert set(models) == set(listed)
    assert (models["llava:latest"]["family"], models["llava:latest"]["context_size"]) == ("llama", None)
    assert models["qwen3:latest"]["context_size"] == 40960


def test_one_model_is_described_with_or_without_its_tag(ollama: OllamaServer) -> None:
    info = ask(ollama.origin, lambda binding: binding.get_model_info("llava"))
    assert (info["name"], info["model_name"], info["model_type"]) == ("llava", "llava", "vlm")
    assert (info["context_size"], info["supports_vision"], info["supports_streaming"]) == (32768, True, True)
    wanted = {"format", "family", "families", "parameter_size", "quantization_level"}
    assert wanted <= set(info["details"])
    default = ask(ollama.origin, lambda binding: binding.get_model_info(), default_model="qwen3")
    assert (default["model_name"], default["model_type"]) == ("qwen3", "ttt")


def test_an_unknown_model_is_said_to_be_unknown(ollama: OllamaServer) -> None:
    for name in ("nobody", "../../etc/passwd", "x" * 5000):
        error = refused(ollama.origin, lambda binding, name=name: binding.get_model_info(name))  # type: ignore[misc]
        assert isinstance(error, UnknownModel)
        assert len(str(error)) < 500
    assert isinstance(refused(ollama.origin, lambda binding: binding.get_model_info()), InvalidRequest)


@pytest.mark.parametrize(
    ("model", "takes"),
    [("llama3.2", ["text"]), ("llava", ["text", "image"]), ("old", ["text", "image"]), ("qwen3:latest", ["text"])],
)
def test_each_model_is_asked_what_it_takes(ollama: OllamaServer, model: str, takes: list[str]) -> None:
    assert ask(ollama.origin, lambda binding: binding.get_model_input_modalities(model)) == takes


def test_what_a_model_takes_is_remembered_for_a_while(ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("lollms_server.core.bindings.http.time.monotonic", lambda: now[0])

    async def twice(binding: OllamaBinding) -> None:
        await binding.get_model_input_modalities("llava")
        await binding.get_model_input_modalities("llava")
        assert len(ollama.asked("/api/show")) == 1
        now[0] += 31
        await binding.get_model_input_modalities("llava")
        assert len(ollama.asked("/api/show")) == 2

    ask(ollama.origin, twice)


def test_texts_are_embedded_in_their_order(ollama: OllamaServer) -> None:
    found = ask(ollama.origin, lambda binding: binding.embed(["a b", "c", ""], "embed"))
    assert found == Embeddings(((3.0, 0.5, -1.0), (1.0, 0.5, -1.0), (0.0, 0.5, -1.0)), "embed", Usage(prompt_tokens=3))
    assert isinstance(refused(ollama.origin, lambda binding: binding.embed(["a"], "llama3.2")), UnsupportedFeature)
    assert isinstance(refused(ollama.origin, lambda binding: binding.embed(["a"], "nobody")), UnknownModel)
    assert isinstance(refused(ollama.origin, lambda binding: binding.embed(["a"])), InvalidRequest)
    assert isinstance(refused(ollama.origin, lambda binding: binding.embed(["a" * 2001], "embed")), ContextTooLong)


def test_tokens_cannot_be_asked_for_and_are_estimated(ollama: OllamaServer) -> None:
    for question in (lambda binding: binding.tokenize("x"), lambda binding: binding.detokenize([1])):
        assert isinstance(refused(ollama.origin, question), UnsupportedFeature)
    counted = ask(ollama.origin, lambda binding: binding.token_count("Some words to count."))
    assert 2 < counted.count < 20 and not counted.exact
    assert not ollama.requests


def test_health_says_whether_anybody_is_there(ollama: OllamaServer) -> None:
    assert ask(ollama.origin, lambda binding: binding.health_check()) == (True, "main answers.")
    assert [seen.path for seen in ollama.requests] == ["/api/version"]
    well, words = ask(refused_url(), lambda binding: binding.health_check())
    assert not well and words
    assert isinstance(refused(refused_url(), lambda binding: binding.list_available_models()), Refused)


def test_health_says_when_the_key_is_wrong() -> None:
    with OllamaServer(key="canary-key-0123456789") as guarded:
        well, words = ask(guarded.origin, lambda binding: binding.health_check(), api_key="canary-wrong-0123456789")
        assert not well and "key" in words and "canary" not in words


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(LollmsError, match="host is 'localhost:11434'"):
        ask("localhost:11434", lambda binding: binding.health_check())
