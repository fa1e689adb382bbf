"""An error about a model that Ollama does not have ends with the command that gets it, and with no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import InvalidRequest, LollmsError, ProtocolError, UnknownModel
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.ollama import OllamaCodec
from lollms_core.protocols.ollama_catalog import OllamaCatalog

TARGET = Target("http://box:11434", key="canary-key-0123456789", provider="box")


def said(message: str, status: int = 404) -> LollmsError:
    body = json.dumps({"error": message}).encode()
    return OllamaCodec().error(HttpResponse(status, {"content-type": "application/json"}, body), TARGET)


@pytest.mark.parametrize("name", ["llama3", "llama3.2:3b-q4_K_M", "hf.co/some/model:latest", "me/mine@1"])
def test_the_command_is_there(name: str) -> None:
    for quote in "'\"":
        error = said(f"model {quote}{name}{quote} not found, try pulling it first")
        assert isinstance(error, UnknownModel)
        assert str(error).endswith(f" Get it first: ollama pull {name}")


@pytest.mark.parametrize(
    "name", ["$(reboot)", "a;b", "-f", "a|b", "`x`", "a b", "", "a" * 300, "canary-key-0123456789"]
)
def test_a_name_that_is_no_name_of_a_model_is_in_no_command(name: str) -> None:
    error = said(f"model '{name}' not found")
    assert isinstance(error, UnknownModel)
    assert "ollama pull" not in str(error)


def test_other_errors_have_no_command() -> None:
    assert "ollama pull" not in str(said("model 'x' is not well", 500))
    assert "ollama pull" not in str(said("unauthorized", 401))


def thrown(error: LollmsError) -> LollmsError:
    """What asking for a model comes to when its request fails so."""
    question = OllamaCatalog().model("nobody", TARGET)
    next(question)
    with pytest.raises(LollmsError) as caught:
        question.throw(error)
    return caught.value


def test_asking_for_a_model_says_it_too() -> None:
    assert str(thrown(said("model 'nobody' not found"))).endswith(" Get it first: ollama pull nobody")
    assert "ollama pull" not in str(thrown(InvalidRequest("404 page not found", status=404)))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"models": None}, []),
        ({"models": [{"model": "a"}, {"name": "b", "size": 3}, {}, {"name": 7}]}, ["a", "b"]),
        ({}, None),
        ([], None),
        ({"models": [1]}, None),
    ],
)
def test_what_is_in_memory(body: Any, found: list[str] | None) -> None:
    question = OllamaCatalog().running(TARGET)
    request = next(question)
    assert (request.method, request.url) == ("GET", "http://box:11434/api/ps")
    response = HttpResponse(200, {}, json.dumps(body).encode())
    with pytest.raises(ProtocolError if found is None else StopIteration) as end:
        question.send(response)
    if found is not None:
        assert [each["model_name"] for each in end.value.value] == found
