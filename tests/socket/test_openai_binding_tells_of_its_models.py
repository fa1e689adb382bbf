"""What the OpenAI binding tells of models, embeddings and whether its endpoint is there, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from lollms_core.errors import ConfigError, LollmsError, UnknownModel, UnsupportedFeature
from lollms_core.types import Embeddings
from lollms_server.zoos.bindings.openai_binding import OpenAIBinding
from tests.support.attached import attached
from tests.support.chaos import ChaosServer, refused_url
from tests.support.openai_server import answering

T = TypeVar("T")


@pytest.fixture(scope="module")
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        server.add("openai", answering)
        yield server


def ask(url: str, question: Callable[[OpenAIBinding], Awaitable[T]], **config: Any) -> T:
    async def work() -> T:
        async with attached(OpenAIBinding, base_url=url, **config) as binding:
            return await question(binding)

    return asyncio.run(work())


def refused(url: str, question: Callable[[OpenAIBinding], Awaitable[Any]]) -> LollmsError:
    with pytest.raises(LollmsError) as caught:
        ask(url, question)
    return caught.value


def test_models_and_one_of_them(chaos: ChaosServer) -> None:
    url = chaos.url("openai")
    models = ask(url, lambda binding: binding.list_available_models(), context_size=4096)
    assert [(model["name"], model["context_size"]) for model in models] == [("one", 4096), ("two", 32768)]
    info = ask(url, lambda binding: binding.get_model_info("two"))
    assert (info["name"], info["model_name"], info["context_size"], info["model_type"]) == ("two", "two", 32768, "ttt")
    assert isinstance(refused(url, lambda binding: binding.get_model_info("three")), UnknownModel)


def test_images_are_taken_without_asking(chaos: ChaosServer) -> None:
    before = len(chaos.requests)
    assert list(ask(chaos.url("openai"), lambda binding: binding.get_model_input_modalities("x"))) == ["text", "image"]
    assert len(chaos.requests) == before


def test_embeddings_come_in_the_order_of_the_texts(chaos: ChaosServer) -> None:
    found = ask(chaos.url("openai"), lambda binding: binding.embed(["a", "bcd", ""], "two"))
    assert found == Embeddings(((1.0,), (3.0,), (0.0,)), "two")
    assert chaos.requests[-1].json() == {"input": ["a", "bcd", ""], "model": "two"}


def test_tokens_cannot_be_asked_for(chaos: ChaosServer) -> None:
    for question in (lambda binding: binding.tokenize("x"), lambda binding: binding.count_tokens("x")):
        assert isinstance(refused(chaos.url("openai"), question), UnsupportedFeature)


@pytest.mark.parametrize(
    ("mode", "well"), [("openai", True), ("status-404", True), ("status-401", False), ("html", True)]
)
def test_health_is_one_quick_question(chaos: ChaosServer, mode: str, well: bool) -> None:
    before = len(chaos.requests)
    found, words = ask(chaos.url(mode), lambda binding: binding.health_check(), api_key="canary-key-0123456789")
    assert (found, bool(words)) == (well, True)
    assert "canary" not in words
    assert [seen.path for seen in chaos.requests[before:]] == [f"/{mode}/models"]


def test_where_there_is_no_list_of_models_health_cannot_be_asked(chaos: ChaosServer) -> None:
    before = len(chaos.requests)
    url = chaos.url("openai")
    well, words = ask(url, lambda binding: binding.health_check(), provider="perplexity", api_key="a-key")
    assert (well, "cannot be asked" in words) == (True, True)
    assert chaos.requests[before:] == []


def test_an_address_with_a_query_is_refused_and_not_shown(chaos: ChaosServer) -> None:
    for address in ("http://127.0.0.1:9/v1?key=secret-of-mine", "http://127.0.0.1:9/v1#x"):
        error = refused(address, lambda binding: binding.health_check())
        assert isinstance(error, ConfigError)
        assert "secret" not in str(error)


def test_health_says_when_nobody_is_there() -> None:
    well, words = ask(refused_url(), lambda binding: binding.health_check())
    assert not well and words
