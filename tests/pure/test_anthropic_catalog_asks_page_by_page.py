"""The catalog of Anthropic's API: pages that follow each other and end, facts of models, and counts of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lollms_core.errors import InvalidRequest, ProtocolError, UnknownModel, UnsupportedFeature
from lollms_core.protocols.anthropic_catalog import AnthropicCatalog
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.types import ModelInfo

TARGET = Target("https://box.example/v1", key="canary-key-0123456789", provider="box", model="claude-opus-4-6")
CATALOG = AnthropicCatalog()


def answered(question: Any, *answers: Any) -> tuple[Any, list[HttpRequest]]:
    """What a question comes to when it gets these answers, and what it asked."""
    asked: list[HttpRequest] = []
    left = list(answers)
    value: Any = None
    try:
        request = next(question)
        while True:
            asked.append(request)
            value = left.pop(0)
            if isinstance(value, Exception):
                request = question.throw(value)
            else:
                request = question.send(HttpResponse(200, {}, json.dumps(value).encode()))
    except StopIteration as end:
        assert not left
        return end.value, asked


def page(*names: str, more: bool = False, last: str | None = None) -> dict[str, Any]:
    return {"data": [{"type": "model", "id": name} for name in names], "has_more": more, "last_id": last}


def test_pages_follow_each_other() -> None:
    found, asked = answered(CATALOG.models(TARGET), page("a", "b", more=True, last="b/ü"), page("c"))
    assert [model.name for model in found] == ["a", "b", "c"]
    assert [request.url for request in asked] == [
        "https://box.example/v1/models?limit=1000",
        "https://box.example/v1/models?limit=1000&after_id=b%2F%C3%BC",
    ]
    assert {request.method for request in asked} == {"GET"}
    assert all(request.headers["x-api-key"] == TARGET.key for request in asked)
    assert all(request.headers["anthropic-version"] for request in asked)


@pytest.mark.parametrize(
    "pages",
    [
        [page("a", more=True, last="a"), page("a", more=True, last="a")],
        [page("a", more=True, last=None)],
        [page(more=True, last="a")],
    ],
)
def test_pages_that_lead_nowhere_end(pages: list[Any]) -> None:
    found, _ = answered(CATALOG.models(TARGET), *pages)
    assert len(found) <= 1


def test_a_server_that_always_has_more_is_left_in_the_end() -> None:
    found, asked = answered(CATALOG.models(TARGET), *(page(str(n), more=True, last=str(n)) for n in range(100)))
    assert len(found) == len(asked) == 100


def test_facts_are_those_that_are_stated_else_those_that_are_published() -> None:
    stated = {"type": "model", "id": "claude-opus-5-5", "max_input_tokens": 7, "max_tokens": 3, "display_name": "Opus"}
    blind = {**stated, "capabilities": {"image_input": {"supported": False}}, "retires_at": None}
    found, asked = answered(CATALOG.model("claude-opus-5-5", TARGET), blind)
    assert asked[0].url == "https://box.example/v1/models/claude-opus-5-5"
    assert (found.context_size, found.max_output_tokens, found.supports_vision) == (7, 3, False)
    assert set(found.details) == {"max_input_tokens", "max_tokens", "display_name", "capabilities"}
    (known, stranger), _ = answered(CATALOG.models(TARGET), page("claude-sonnet-4-5", "someone-elses"))
    assert (known.context_size, known.max_output_tokens, known.supports_vision) == (200_000, 64_000, True)
    assert stranger == ModelInfo("someone-elses", supports_tools=True)


def test_a_name_stays_in_its_place_of_the_address() -> None:
    _, asked = answered(CATALOG.model("a/../b?c", TARGET), {"id": "x"})
    assert asked[0].url == "https://box.example/v1/models/a%2F..%2Fb%3Fc"


def test_a_model_that_there_is_not() -> None:
    gone = InvalidRequest("no", status=404)
    with pytest.raises(UnknownModel, match="nobody"):
        answered(CATALOG.model("nobody", TARGET), gone)
    with pytest.raises(InvalidRequest) as caught:
        answered(CATALOG.model("nobody", TARGET), InvalidRequest("odd", status=400))
    assert type(caught.value) is InvalidRequest


@pytest.mark.parametrize("name", ["..", ".", "\ud800"])
def test_names_that_mean_another_place_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        next(CATALOG.model(name, TARGET))
    assert caught.value.param == "model_name"


def test_tokens_are_counted_there() -> None:
    counted, (request,) = answered(CATALOG.count("one two", "", TARGET), {"input_tokens": 10})
    assert counted == (10, True)
    assert (request.method, request.url) == ("POST", "https://box.example/v1/messages/count_tokens")
    assert json.loads(request.body) == {
        "model": "claude-opus-4-6",
        "messages": [{"role": "user", "content": "one two"}],
    }
    assert answered(CATALOG.count("", "", TARGET)) == ((0, True), [])
    with pytest.raises(UnsupportedFeature):
        answered(CATALOG.count(" \n", "", TARGET))


@pytest.mark.parametrize(
    "question",
    [CATALOG.models, lambda target: CATALOG.model("m", target), lambda target: CATALOG.count("x", "", target)],
)
@pytest.mark.parametrize(
    "odd", [[], {"error": "x"}, {"data": 3}, {"input_tokens": "3"}, {"input_tokens": -3}, "x", None]
)
def test_answers_of_another_form_are_typed_errors(question: Callable[[Target], Any], odd: Any) -> None:
    with pytest.raises(ProtocolError):
        answered(question(TARGET), odd)


def test_what_there_is_not() -> None:
    for question in (
        CATALOG.embed(["x"], "m", TARGET),
        CATALOG.tokens("x", "m", TARGET),
        CATALOG.text([1], "m", TARGET),
    ):
        with pytest.raises(UnsupportedFeature):
            next(question)
    assert CATALOG.ping(TARGET).url == "https://box.example/v1/models?limit=1"
