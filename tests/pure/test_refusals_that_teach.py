"""A refusal of a parameter is a lesson for that model; whatever else is refused teaches nothing."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.http_errors import http_error
from lollms_core.protocols.lessons import Lesson, heeded, lesson_of
from lollms_core.protocols.openai import ChatCodec
from lollms_core.types import GenerationCall, Message, Params, ReceiptItem, Tool
from lollms_runtime.lesson_book import LessonBook

TARGET = Target("http://127.0.0.1:9/v1", model="m", provider="box")
OPTIONAL = (
    *("temperature", "top_p", "top_k", "topK", "max_tokens", "max_completion_tokens", "presence_penalty", "seed"),
    *("frequency_penalty", "logit_bias", "reasoning_effort", "stop", "stream_options", "presencePenalty"),
)


def refusal(error: Any, status: int = 400) -> LollmsError:
    body = error if isinstance(error, dict) else {"error": {"message": error, "type": "invalid_request_error"}}
    return http_error(HttpResponse(status, {"content-type": "application/json"}, json.dumps(body).encode()), TARGET)


def openai(message: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


TEACH: list[tuple[Any, Lesson]] = [
    (
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            "max_tokens",
            "unsupported_parameter",
        ),
        Lesson("max_tokens", "max_completion_tokens"),
    ),
    (
        openai(
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is "
            "supported.",
            "temperature",
            "unsupported_value",
        ),
        Lesson("temperature"),
    ),
    (
        openai("Unsupported parameter: 'temperature' is not supported with this model.", "temperature", None),
        Lesson("temperature"),
    ),
    (openai("Unrecognized request argument supplied: top_k", None, None), Lesson("top_k")),
    (openai("Unknown parameter: 'top_k'.", "top_k", "unknown_parameter"), Lesson("top_k")),
    (
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        Lesson("top_p", beside="temperature"),
    ),
    ("`temperature` is deprecated for this model.", Lesson("temperature")),
    (
        "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation.",
        Lesson("temperature"),
    ),
    ("`top_k` must be unset when thinking is enabled.", Lesson("top_k")),
    ("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.", Lesson("top_p")),
    ("top_k: Extra inputs are not permitted", Lesson("top_k")),
    (
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'top_k'), 'msg': 'Extra inputs "
            "are not permitted', 'input': 5}]",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        Lesson("top_k"),
    ),
    (
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "seed"],
                    "msg": "Extra inputs are not permitted",
                    "input": 7,
                }
            ]
        },
        Lesson("seed"),
    ),
    ("property 'logit_bias' is unsupported", Lesson("logit_bias")),
    ("reasoning_effort is not supported with this model", Lesson("reasoning_effort")),
    (
        {
            "code": "Client specified an invalid argument",
            "error": "Argument not supported on this model: presencePenalty",
        },
        Lesson("presencePenalty"),
    ),
    (
        {
            "error": {
                "code": 400,
                "status": "INVALID_ARGUMENT",
                "message": "Invalid JSON payload received. Unknown name "
                "\"topK\" at 'generation_config': Cannot find field.",
            }
        },
        Lesson("topK"),
    ),
    ("got an unexpected keyword argument 'seed'", Lesson("seed")),
    ("stream_options is not allowed here", Lesson("stream_options")),
]

TEACH_NOTHING: list[tuple[Any, int]] = [
    (
        openai(
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
            "temperature",
            "decimal_above_max_value",
        ),
        400,
    ),
    ("temperature: Input should be less than or equal to 1", 400),
    ("max_tokens must not exceed 4096; larger values are not allowed.", 400),
    ("stop: more than 4 sequences are not supported.", 400),
    ("Too many values for stop; unsupported.", 400),
    ("Negative values are not allowed for top_k.", 400),
    ("seed exceeds what is supported; larger values are not permitted.", 422),
    ("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for m", 400),
    (
        openai(
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
            "max_tokens",
            "invalid_value",
        ),
        400,
    ),
    (
        openai(
            "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: "
            "'low', 'medium', and 'high'.",
            "reasoning_effort",
            "unsupported_value",
        ),
        400,
    ),
    ("unexpected value; permitted values: 'low', 'high' (reasoning_effort)", 422),
    (openai("Incorrect API key provided; temperature is not supported.", None, "invalid_api_key"), 401),
    (
        openai(
            "This model's maximum context length is 10 tokens; max_tokens is not supported above.",
            "messages",
            "context_length_exceeded",
        ),
        400,
    ),
    (openai("The model `m` does not exist; temperature not supported", "model", "model_not_found"), 400),
    (openai("Unsupported content in 'temperature is not supported, is it?'", "messages.0.content", None), 400),
    (openai("Invalid type: temperature is not supported", "messages[0].temperature", "unsupported_parameter"), 400),
    (
        openai(
            "Unsupported parameter: 'response_format' is not supported; temperature is.",
            "response_format",
            "unsupported_parameter",
        ),
        400,
    ),
    (openai("Unsupported parameter: 'tools'", "tools", "unsupported_parameter"), 400),
    (
        {
            "detail": [
                {
                    "type": "string_type",
                    "loc": ["body", "messages", 0, "content"],
                    "msg": "not permitted",
                    "input": "why is temperature not supported by you?",
                }
            ]
        },
        422,
    ),
    ('Blocked by policy: "the parameter temperature is not supported" was found in your prompt.', 400),
    ("Rate limit reached; temperature is not supported", 429),
    ("temperature is not supported", 500),
    ("This endpoint does not support images.", 400),
    ("", 400),
]


@pytest.mark.parametrize(("error", "lesson"), TEACH, ids=range(len(TEACH)))
def test_a_refusal_of_a_parameter_is_understood(error: Any, lesson: Lesson) -> None:
    status = 422 if isinstance(error, dict) and "detail" in error else 400
    found = refusal(error, status)
    assert lesson_of(found, OPTIONAL) == lesson
    assert lesson_of(found, OPTIONAL, (lesson,)) != lesson
    assert lesson_of(found, ()) is None


@pytest.mark.parametrize(("error", "status"), TEACH_NOTHING, ids=range(len(TEACH_NOTHING)))
def test_other_refusals_teach_nothing(error: Any, status: int) -> None:
    assert lesson_of(refusal(error, status), OPTIONAL) is None


def test_a_name_that_was_refused_is_not_tried_again() -> None:
    renamed = Lesson("max_tokens", "max_completion_tokens")
    words = "max_completion_tokens: Extra inputs are not permitted"
    assert lesson_of(refusal(words), OPTIONAL, (renamed,)) == Lesson("max_completion_tokens")
    fields, receipt = heeded({"max_tokens": 5}, (renamed, Lesson("max_completion_tokens")), {}, "box")
    assert fields == {}
    assert receipt[-1] == ReceiptItem(
        "max_completion_tokens", "dropped", "the model refused it when box was asked before"
    )


def test_what_is_refused_beside_another_is_sent_alone() -> None:
    lesson = (Lesson("top_p", beside="temperature"),)
    assert heeded({"top_p": 0.5}, lesson, {}, "box") == ({"top_p": 0.5}, [])
    fields, receipt = heeded({"top_p": 0.5, "temperature": 1}, lesson, {}, "box")
    assert fields == {"temperature": 1}
    assert "beside temperature" in receipt[0].reason


def test_the_names_in_a_receipt_are_ours() -> None:
    fields, receipt = heeded(
        {"maxOutputTokens": 5}, (Lesson("maxOutputTokens"),), {"maxOutputTokens": "max_tokens"}, "g"
    )
    assert (fields, receipt[0].name) == ({}, "max_tokens")


def test_what_is_asked_can_never_be_left_out() -> None:
    call = GenerationCall(
        (Message.user("Hi"),),
        params=Params(temperature=0.5, max_tokens=9, stop=("x",)),
        stream=True,
        tools=(Tool("t"),),
        schema={"type": "object"},
    )
    request = ChatCodec(OPENAI).request(call, TARGET)
    body = json.loads(request.body)
    optional = set(request.optional)
    assert optional == set(body) - {"model", "messages", "stream", "tools", "response_format"}
    for name in set(body) - optional:
        error = refusal(openai(f"Unsupported parameter: '{name}'", name, "unsupported_parameter"))
        assert lesson_of(error, request.optional) is None


# ---- the book -------------------------------------------------------------------------------------------------------


def test_lessons_belong_to_one_model_at_one_address() -> None:
    book, lesson = LessonBook(), Lesson("temperature")
    book.learn(TARGET, "one", lesson)
    assert book.told(TARGET, "one").lessons == (lesson,)
    assert book.told(TARGET, "two") is TARGET
    assert book.told(Target("http://127.0.0.1:8/v1", model="one"), "").lessons == ()
    assert book.told(Target(TARGET.base_url, model="one"), "").lessons == (lesson,)
    book.forget(TARGET, "one", lesson)
    assert book.known(TARGET, "one") == ()
    book.forget(TARGET, "never", lesson)


def test_a_book_is_bounded_and_safe_between_threads() -> None:
    book = LessonBook()

    def learn() -> None:
        for number in range(3000):
            book.learn(TARGET, f"m{number}", Lesson("temperature"))

    threads = [threading.Thread(target=learn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(book._known) <= 1000
    assert all(known == (Lesson("temperature"),) for known in book._known.values())
