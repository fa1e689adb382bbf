"""Chat completions are what is asked; Responses where the model is served over nothing else, known or learned once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import AuthFailed, ContextTooLong, InvalidRequest, LollmsError, UnknownModel
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.dialects import GENERIC, OPENAI
from lollms_core.protocols.lessons import Lesson, lesson_of
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.openai_reader import ChatReader
from lollms_core.protocols.responses import ResponsesCodec
from lollms_core.protocols.responses_reader import ResponsesReader
from lollms_core.protocols.responses_routing import (
    RoutingCodec,
    codec_for,
    is_served_over_responses,
    wants_responses,
)
from lollms_core.types import GenerationCall, Message, Params

OWN = Target("https://api.openai.com/v1", provider="OpenAI")
PROXY = Target("https://proxy.example.test/v1", provider="Proxy")
ONLY_RESPONSES = "This model is only supported in v1/responses and not in v1/chat/completions."

FAMILIES = """
o1-pro o1-pro-2025-03-19 o3-pro gpt-5-pro gpt-5-pro-2025-10-06 gpt-5.5-pro gpt-5-codex gpt-5.1-codex-max
gpt-5.1-codex-mini codex-mini-latest o3-deep-research o4-mini-deep-research-2025-06-26 computer-use-preview
gpt-5.6-cyber GPT-5-Codex
"""
OTHERS = """
gpt-4o o1 o3 o3-mini o4-mini gpt-5 gpt-5.5 gpt-5-mini chatgpt-4o-latest my-codex-tune prof llama3
"""


def call(model: str = "m", **params: Any) -> GenerationCall:
    return GenerationCall((Message.user("Hi"),), model, Params(**params))


def request(codec: RoutingCodec, asked: GenerationCall, target: Target) -> HttpRequest:
    with pytest.raises(StopIteration) as end:
        next(codec.prepare(asked, target))
    made: HttpRequest = end.value.value
    return made


def refused(words: str, status: int = 404, code: str | None = None, target: Target = PROXY) -> LollmsError:
    error = {"error": {"message": words, "type": "invalid_request_error", "param": "model", "code": code}}
    answer = HttpResponse(status, {"content-type": "application/json"}, json.dumps(error).encode())
    return RoutingCodec(GENERIC).error(answer, target)


@pytest.mark.parametrize("model", FAMILIES.split())
def test_families_that_have_nothing_else_are_known_at_openai(model: str) -> None:
    assert is_served_over_responses(model)
    codec = RoutingCodec(OPENAI)
    assert request(codec, call(model), OWN).url.endswith("/v1/responses")
    assert isinstance(codec.reader(call(model), "", OWN), ResponsesReader)
    assert request(codec, call(model), PROXY).url.endswith("/v1/chat/completions")


@pytest.mark.parametrize("model", OTHERS.split())
def test_other_models_are_asked_for_chat_completions(model: str) -> None:
    codec = RoutingCodec(OPENAI)
    assert request(codec, call(model), OWN).url.endswith("/v1/chat/completions")
    assert isinstance(codec.reader(call(model), "", OWN), ChatReader)


def test_the_model_of_the_target_counts_where_the_call_names_none() -> None:
    own = Target(OWN.base_url, model="o3-pro")
    assert request(RoutingCodec(OPENAI), call(""), own).url.endswith("/responses")


def test_a_chat_goes_out_as_without_the_choice() -> None:
    routed = request(RoutingCodec(GENERIC), call(temperature=0.5, seed=1), PROXY)
    plain = ChatCodec(GENERIC).request(call(temperature=0.5, seed=1), PROXY)
    assert (routed.url, routed.body, routed.headers) == (plain.url, plain.body, plain.headers)
    assert set(routed.optional) == {*plain.optional, "api:chat"}


WORDS = [
    (ONLY_RESPONSES, 404, None),
    (ONLY_RESPONSES, 400, None),
    (
        "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
        "Did you mean to use v1/completions?",
        404,
        None,
    ),
    ("The chatCompletion operation does not work with the specified model, x.", 400, "OperationNotSupported"),
    ("Function tools with reasoning_effort are not supported for x. Please use /v1/responses instead.", 400, None),
    ('model "x" is not accessible via the /chat/completions endpoint', 400, "unsupported_api_for_model"),
    ("No.", 400, "unsupported_api_for_model"),
    ("This model is served by the Responses API only.", 422, None),
]


@pytest.mark.parametrize(("words", "status", "code"), WORDS)
def test_a_provider_that_says_so_is_asked_over_responses_from_then_on(words: str, status: int, code: str) -> None:
    error = refused(words, status, code)
    assert isinstance(error, InvalidRequest)
    assert words.rstrip(".") in error.message
    codec = RoutingCodec(GENERIC)
    lesson = lesson_of(error, request(codec, call(), PROXY).optional)
    assert lesson is not None and lesson.field == "api:chat"
    told = Target(PROXY.base_url, lessons=(lesson,))
    again = request(codec, call(), told)
    assert again.url.endswith("/v1/responses")
    assert "api:chat" not in again.optional
    assert isinstance(codec.reader(call(), "", told), ResponsesReader)
    assert again.receipt == ()


@pytest.mark.parametrize(
    ("words", "status", "code", "kind"),
    [
        ("The model `m` does not exist", 404, "model_not_found", UnknownModel),
        ("This model's maximum context length is 10 tokens.", 400, "context_length_exceeded", ContextTooLong),
        ("Unsupported parameter: 'seed' is not supported with this model.", 400, "unsupported_parameter", LollmsError),
        (ONLY_RESPONSES, 401, None, AuthFailed),
        (ONLY_RESPONSES, 500, None, LollmsError),
        ("Two responses were empty.", 400, None, InvalidRequest),
    ],
)
def test_other_errors_say_nothing_of_it(words: str, status: int, code: str, kind: type[LollmsError]) -> None:
    error = refused(words, status, code)
    assert isinstance(error, kind)
    assert error.param != "api:chat"
    assert error.status == status


@pytest.mark.parametrize(
    "words", ["This api does not support it: unsupported.", "temperature is unsupported by the api."]
)
def test_a_word_of_the_message_is_no_reason_to_switch(words: str) -> None:
    codec = RoutingCodec(GENERIC)
    lesson = lesson_of(refused(words, 400), request(codec, call(temperature=0.5), PROXY).optional)
    assert lesson in (None, Lesson("temperature"))


def test_an_error_of_responses_is_no_such_lesson() -> None:
    error = refused("Invalid URL (POST /v1/responses)", target=Target(PROXY.base_url, lessons=(Lesson("api:chat"),)))
    assert (error.status, error.param) == (404, "model")


def test_what_was_learned_of_other_fields_is_heeded_by_both() -> None:
    told = Target(PROXY.base_url, lessons=(Lesson("temperature"), Lesson("api:chat")))
    again = request(RoutingCodec(GENERIC), call(temperature=0.5), told)
    assert "temperature" not in json.loads(again.body)
    assert [item.name for item in again.receipt] == ["temperature"]


def test_the_choice_may_be_made_once_for_all() -> None:
    assert type(codec_for("chat", OPENAI)) is ChatCodec
    assert type(codec_for("responses", OPENAI)) is ResponsesCodec
    assert type(codec_for("auto", OPENAI)) is RoutingCodec
    with pytest.raises(InvalidRequest, match="auto, chat or responses"):
        codec_for("soap", OPENAI)


def test_the_recogniser_needs_a_refusal() -> None:
    assert not wants_responses(InvalidRequest(ONLY_RESPONSES))
    assert wants_responses(InvalidRequest(ONLY_RESPONSES, status=404))
