"""What is asked of another lollms server, route by route, and how its answers are read; no server is needed for it."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

from lollms_core.errors import LollmsError, NotFound, ProtocolError, UnknownModel, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.lollms_catalog import LollmsCatalog
from lollms_core.types import Embeddings, ModelInfo, Usage

T = TypeVar("T")
CATALOG = LollmsCatalog()
TARGET = Target("http://far:9601", key="k-0123456789", provider="far", options={"instance": "a/b?c"})
NOBODYS = Target("http://far:9601", key="k-0123456789", provider="far", options={"instance": None})


def run(steps: Generator[HttpRequest, HttpResponse, T], *answers: Any) -> tuple[T, list[HttpRequest]]:
    """The result of an exchange whose requests get these answers in turn; an error is thrown in."""
    asked: list[HttpRequest] = []
    left = list(answers)
    try:
        request = next(steps)
        while True:
            asked.append(request)
            answer = left.pop(0)
            if isinstance(answer, LollmsError):
                request = steps.throw(answer)
            else:
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                request = steps.send(HttpResponse(200, {}, body))
    except StopIteration as end:
        assert not left
        return end.value, asked


def said(request: HttpRequest) -> tuple[str, str, Any]:
    assert request.headers["x-api-key"] == "k-0123456789"
    assert request.url.startswith("http://far:9601/api/v1/")
    return request.method, request.url.removeprefix("http://far:9601/api/v1/"), json.loads(request.body or b"null")


def test_models_of_the_instance() -> None:
    entry = {"name": "m", "size": 5, "family": None, "context_size": 8, "max_output_tokens": 3, "supports_vision": True}
    models, asked = run(
        CATALOG.models(TARGET), {"models": [{**entry, "details": {"digest": "d"}}, {"name": ""}, 3, {"size": 1}]}
    )
    assert [said(each) for each in asked] == [("GET", "list_available_models/a%2Fb%3Fc", None)]
    assert models == [ModelInfo("m", 8, 3, supports_vision=True, details={"size": 5, "digest": "d"})]


def test_the_default_instance_is_looked_up() -> None:
    defaults = {"defaults": {"ttt_binding": "main"}}
    _, asked = run(CATALOG.models(NOBODYS), defaults, {"models": []})
    assert [said(each)[1] for each in asked] == ["get_default_bindings", "list_available_models/main"]
    with pytest.raises(UnsupportedFeature, match="no default instance"):
        run(CATALOG.models(NOBODYS), {"defaults": {"ttt_binding": None}})


def test_one_model() -> None:
    answer = {
        "binding_instance_name": "main",
        "model_name": "real",
        "model_type": "vlm",
        "context_size": 9,
        "max_output_tokens": None,
        "supports_vision": True,
        "supports_audio": False,
        "supports_streaming": True,
        "details": {"family": "f"},
    }
    model, asked = run(CATALOG.model("a b&c", TARGET), answer)
    assert model == ModelInfo("real", 9, supports_vision=True, details={"family": "f"})
    assert said(asked[0])[1] == "get_model_info/a%2Fb%3Fc?model_name=a+b%26c"
    _, asked = run(CATALOG.model("", TARGET), answer)
    assert said(asked[0])[1] == "get_model_info/a%2Fb%3Fc"
    with pytest.raises(UnknownModel):
        run(CATALOG.model("x", TARGET), NotFound("No such model.", status=404))


def test_texts_and_tokens() -> None:
    chosen = {"binding_name": "a/b?c", "model_name": "m"}
    found, asked = run(
        CATALOG.embed(["a", "b"], "m", TARGET),
        {"embeddings": [[1, 2], [3, 4.5]], "model_name": "e", "usage": {"prompt_tokens": 2}},
    )
    assert found == Embeddings(((1, 2), (3, 4.5)), "e", Usage(2))
    assert said(asked[0]) == ("POST", "embed", {"input": ["a", "b"], **chosen})
    tokens, asked = run(CATALOG.tokens("hi", "m", TARGET, add_bos=True), {"tokens": [1, 2], "count": 2})
    assert tokens == [1, 2]
    assert said(asked[0]) == ("POST", "tokenize", {"text": "hi", "add_bos": True, "add_eos": False, **chosen})
    text, asked = run(CATALOG.text([1, 2], "", NOBODYS), {"text": "hi"})
    assert text == "hi"
    assert said(asked[0]) == ("POST", "detokenize", {"tokens": [1, 2]})
    for answer, wanted in (({"count": 2}, (2, True)), ({"count": 3, "exact": False}, (3, False))):
        counted, asked = run(CATALOG.count("hi", "m", TARGET), answer)
        assert counted == wanted
        assert said(asked[0])[:2] == ("POST", "count_tokens")


def test_a_server_that_cannot_be_asked_says_so() -> None:
    with pytest.raises(UnsupportedFeature, match="POST /api/v1/embed: There is nothing"):
        run(CATALOG.embed(["a"], "m", TARGET), NotFound("There is nothing at this path.", status=404))


@pytest.mark.parametrize("answer", [b"", b"<html>", [1], {}, {"tokens": ["x"], "embeddings": [["x"]], "text": 3}])
def test_other_answers_are_a_broken_protocol(answer: Any) -> None:
    for question in (
        lambda: CATALOG.models(TARGET),
        lambda: CATALOG.embed(["a"], "m", TARGET),
        lambda: CATALOG.tokens("a", "m", TARGET),
        lambda: CATALOG.text([1], "m", TARGET),
        lambda: CATALOG.count("a", "m", TARGET),
    ):
        with pytest.raises(ProtocolError):
            run(question(), answer)
    with pytest.raises(ProtocolError, match="1 embeddings for 2 texts"):
        run(CATALOG.embed(["a", "b"], "m", TARGET), {"embeddings": [[1]]})
