"""What a call becomes on its way to the Gemini API: the target decides where it goes, the key stays in its header."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    ConfigError,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RedirectRefused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.protocols.base import HttpResponse, Target, Timeouts
from lollms_core.protocols.gemini import GeminiCodec, model_path
from lollms_core.protocols.lessons import Lesson, lesson_of
from lollms_core.types import GenerationCall, ImagePart, Message, Native, Params, ReceiptItem, TextPart, Tool, ToolCall
from tests.support.gemini_rules import fault_of

KEY = "AIza-canary-0123456789"
BASE = "https://box.example/v1beta"
TARGET = Target(BASE, key=KEY, provider="box", model="m", timeouts=Timeouts(idle=7), verify_tls=False)
CODEC = GeminiCodec()
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def call(**fields: Any) -> GenerationCall:
    return GenerationCall(**{"messages": (Message.user("Hi"),), **fields})


def body_of(asked: GenerationCall, target: Target = TARGET) -> Any:
    """The body, which is one that the service takes."""
    body = json.loads(CODEC.request(asked, target).body)
    assert fault_of("GenerateContentRequest", body) is None
    return body


def config_of(**params: Any) -> Any:
    return body_of(call(params=Params(**params))).get("generationConfig")


def dropped(asked: GenerationCall, target: Target = TARGET) -> dict[str, str]:
    return {each.name: each.action for each in CODEC.request(asked, target).receipt}


def learned(*fields: str) -> Target:
    return Target(BASE, model="m", provider="box", lessons=tuple(Lesson(field) for field in fields))


@pytest.mark.parametrize(
    ("stream", "verb", "accept"),
    [(True, "streamGenerateContent?alt=sse", "text/event-stream"), (False, "generateContent", "application/json")],
)
def test_the_request(stream: bool, verb: str, accept: str) -> None:
    request = CODEC.request(call(stream=stream), TARGET)
    assert (request.method, request.url) == ("POST", f"{BASE}/models/m:{verb}")
    assert (request.timeouts, request.verify_tls) == (TARGET.timeouts, False)
    assert request.headers == {"accept": accept, "x-goog-api-key": KEY, "content-type": "application/json"}
    assert json.loads(request.body) == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert KEY not in repr(request) and KEY not in request.url and KEY.encode() not in request.body
    assert "x-goog-api-key" not in CODEC.request(call(), Target(BASE, model="m")).headers


def test_preparing_takes_no_steps() -> None:
    with pytest.raises(StopIteration) as end:
        next(CODEC.prepare(call(), TARGET))
    assert end.value.value == CODEC.request(call(), TARGET)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("../../v1/files", "models/..%2F..%2Fv1%2Ffiles"),
        ("models/../x", "models/..%2Fx"),
        ("m:deleteAll?key=x#y", "models/m%3AdeleteAll%3Fkey%3Dx%23y"),
        ("a\r\nb c/ü", "models/a%0D%0Ab%20c%2F%C3%BC"),
        ("%2e%2e", "models/%252e%252e"),
    ],
)
def test_a_model_never_leaves_its_place_in_the_address(name: str, path: str) -> None:
    assert CODEC.request(call(model=name), TARGET).url == f"{BASE}/{path}:generateContent"


@pytest.mark.parametrize("name", ["..", ".", "models/", "models/..", "tunedModels/.", "\ud800"])
def test_names_that_mean_another_place_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        CODEC.request(call(model=name), TARGET)


def test_a_model_must_be_named() -> None:
    with pytest.raises(InvalidRequest, match="Name a model"):
        model_path("", Target(BASE))


def test_nothing_in_a_call_reaches_the_address_or_the_headers() -> None:
    evil = "http://evil.example/\r\nx: y"
    names = (
        "base_url",
        "host",
        "api_key",
        "headers",
        "model",
        "contents",
        "stream",
        "safetySettings",
        "safety_settings",
    )
    asked = call(params=Params(extra=dict.fromkeys((*names, "systemInstruction", "tools"), evil)))
    request = CODEC.request(asked, TARGET)
    assert (request.url, json.loads(request.body)) == (f"{BASE}/models/m:generateContent", body_of(call()))
    assert set(dropped(asked)) == {*names, "systemInstruction", "tools"}


# ---- parameters ----------------------------------------------------------------------------------------------------


def test_parameters_have_googles_names_and_others_are_dropped() -> None:
    params = Params(
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        seed=5,
        stop=tuple("abcdefg"),
        presence_penalty=0.25,
        frequency_penalty=0.5,
        min_p=0.1,
        repeat_penalty=1.1,
        repeat_last_n=3,
        n_threads=2,
        ctx_size=99,
    )
    assert body_of(call(params=params))["generationConfig"] == {
        "maxOutputTokens": 7,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 3,
        "seed": 5,
        "stopSequences": ["a", "b", "c", "d", "e"],
        "presencePenalty": 0.25,
        "frequencyPenalty": 0.5,
    }
    gone = ("min_p", "repeat_penalty", "repeat_last_n", "n_threads", "ctx_size")
    assert dropped(call(params=params)) == {**dict.fromkeys(gone, "dropped"), "stop": "clamped"}
    assert config_of(stop=()) is None
    large = call(params=Params(seed=2**40))
    assert (body_of(large)["generationConfig"], dropped(large)) == ({"seed": 2**31 - 1}, {"seed": "clamped"})
    with pytest.raises(InvalidRequest, match="finite"):
        config_of(temperature=float("nan"))


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"think": True}, {"includeThoughts": True}),
        ({"think": False}, {"thinkingBudget": 0, "includeThoughts": False}),
        ({"think": "low"}, {"thinkingLevel": "LOW", "includeThoughts": True}),
        ({"thinking": 512}, {"thinkingBudget": 512, "includeThoughts": True}),
        ({"thinking": {"type": "enabled", "budget_tokens": 99}}, {"thinkingBudget": 99, "includeThoughts": True}),
        ({"thinking": {"type": "disabled"}}, {"thinkingBudget": 0, "includeThoughts": False}),
        (
            {"thinking": {"thinkingLevel": "high", "includeThoughts": False}},
            {"thinkingLevel": "HIGH", "includeThoughts": False},
        ),
        ({"thinking_budget": -1}, {"thinkingBudget": -1, "includeThoughts": True}),
        (
            {"thinking_level": "minimal", "include_thoughts": False},
            {"thinkingLevel": "MINIMAL", "includeThoughts": False},
        ),
    ],
)
def test_thinking_is_asked_for_in_many_words(extra: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config_of(extra=extra) == {"thinkingConfig": expected}


@pytest.mark.parametrize(
    "extra",
    [
        {"think": "so, hard"},
        {"thinking": [1]},
        {"thinking_budget": "many"},
        {"thinking_budget": -2},
        {"thinking_level": 3},
        {"include_thoughts": "yes"},
        {"thinking": {"budget_tokens": True}},
    ],
)
def test_senseless_settings_of_thinking_are_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        config_of(extra=extra)
    assert caught.value.param in extra


def test_limits_and_safety_are_the_targets() -> None:
    safety = {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE", "HARM_CATEGORY_HATE_SPEECH": "BLOCK_ONLY_HIGH"}
    target = Target(BASE, model="m", options={"safety_settings": safety, "max_output_tokens": 100})
    body = body_of(call(), target)
    assert body["safetySettings"] == [{"category": key, "threshold": value} for key, value in safety.items()]
    assert body["generationConfig"] == {"maxOutputTokens": 100}
    longer, shorter = (call(params=Params(max_tokens=most)) for most in (5000, 5))
    assert body_of(longer, target)["generationConfig"] == {"maxOutputTokens": 100}
    assert dropped(longer, target) == {"max_tokens": "clamped"}
    assert body_of(shorter, target)["generationConfig"] == {"maxOutputTokens": 5}


# ---- what is said --------------------------------------------------------------------------------------------------


def test_turns_are_written_as_google_reads_them() -> None:
    calls = (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {}))
    turns = (
        Message.system("Be kind."),
        Message("user", (TextPart("Look:"), ImagePart(b"\x89PNG", "image/png"))),
        Message.assistant("Let me see.", calls),
        Message.tool("a", '{"sun": true}'),
        Message.tool("b", "rain"),
        Message.assistant(""),
        Message.system("Be short."),
        Message.user("And?"),
    )
    body = body_of(call(messages=turns))
    assert body["systemInstruction"] == {"parts": [{"text": "Be kind.\n\nBe short."}]}
    image = {"mimeType": "image/png", "data": base64.b64encode(b"\x89PNG").decode()}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "Look:"}, {"inlineData": image}]},
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}},
                {"functionCall": {"id": "b", "name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "f", "response": {"output": '{"sun": true}'}}},
                {"functionResponse": {"id": "b", "name": "g", "response": {"output": "rain"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]
    assert dropped(call(messages=turns)) == {"messages": "rewritten"}


def test_images_in_instructions_are_refused() -> None:
    with pytest.raises(UnsupportedFeature, match="images"):
        CODEC.request(call(messages=(Message("system", (ImagePart(b"x", "image/png"),)),)), TARGET)


def test_a_turn_in_googles_own_form_goes_back_untouched() -> None:
    parts = [
        {"text": "Hm.", "thought": True, "partMetadata": {"x": [1]}},
        {"functionCall": {"name": "f", "args": {"n": 1.0}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "b", "name": "g"}},
    ]
    calls = (ToolCall("call_0", "f", {"n": 1.0}), ToolCall("b", "g", {}))
    turns = (
        Message.user("?"),
        Message.assistant("", calls, Native("gemini", parts)),
        Message.tool("call_0", "one"),
        Message.tool("b", "two"),
    )
    contents = json.loads(CODEC.request(call(messages=turns), TARGET).body)["contents"]
    assert contents[1] == {"role": "model", "parts": parts}
    assert contents[2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "one"}}},  # the provider gave this call no id
        {"functionResponse": {"name": "g", "response": {"output": "two"}, "id": "b"}},
    ]


@pytest.mark.parametrize("native", [Native("anthropic", [{"text": "x"}]), Native("gemini", "x"), Native("gemini", [1])])
def test_a_turn_in_the_form_of_others_is_written_anew(native: Native) -> None:
    turns = (Message.user("?"), Message.assistant("Yes.", (), native), Message.user("!"))
    assert body_of(call(messages=turns))["contents"][1] == {"role": "model", "parts": [{"text": "Yes."}]}


def test_tools_and_schemas() -> None:
    tools = (Tool("f"), Tool("g", "G.", {"type": "object", "properties": {"x": {"type": "string"}}}))
    body = body_of(call(tools=tools, schema=SCHEMA))
    (offered,) = body["tools"]
    assert [each["name"] for each in offered["functionDeclarations"]] == ["f", "g"]
    assert "parametersJsonSchema" not in offered["functionDeclarations"][0]
    assert offered["functionDeclarations"][1]["parametersJsonSchema"]["properties"] == {"x": {"type": "string"}}
    assert body["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    odd = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^a"}}}
    request = CODEC.request(call(schema=odd), TARGET)
    assert b"pattern" not in request.body.partition(b"description")[0]
    assert request.receipt and request.receipt[0].action in ("dropped", "rewritten")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("f", {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_a_tool_may_be_demanded(choice: Any, expected: dict[str, Any]) -> None:
    asked = call(tools=(Tool("f"),), params=Params(extra={"tool_choice": choice}))
    assert body_of(asked)["toolConfig"] == {"functionCallingConfig": expected}
    with pytest.raises(InvalidRequest, match="tool_choice"):
        CODEC.request(call(tools=(Tool("g"),), params=Params(extra={"tool_choice": "f"})), TARGET)


# ---- what was learned ----------------------------------------------------------------------------------------------


def test_what_a_model_refused_is_asked_for_in_another_way() -> None:
    turns = (Message.system("Be kind."), Message.user("Hi"))
    params = Params(presence_penalty=0.5, frequency_penalty=0.5, temperature=0.1, extra={"think": True})
    asked = call(messages=turns, params=params)
    target = learned("systemInstruction", "penalty", "thinkingConfig")
    body = body_of(asked, target)
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "Be kind.\n\n"}, {"text": "Hi"}]}],
        "generationConfig": {"temperature": 0.1},
    }
    names = ("presence_penalty", "frequency_penalty", "thinking")
    assert dropped(asked, target) == {"system": "rewritten", **dict.fromkeys(names, "dropped")}
    for there in (target, TARGET):  # a call without a turn is none
        alone = body_of(call(messages=(turns[0],)), there)
        assert alone == {"contents": [{"role": "user", "parts": [{"text": "Be kind."}]}]}


def test_calls_of_other_models_are_marked_where_a_model_wants_signatures() -> None:
    calls = (ToolCall("a", "f", {}), ToolCall("b", "f", {}))
    turns = (Message.user("?"), Message.assistant("", calls), Message.tool("a", "1"), Message.tool("b", "2"))
    signed = [{"functionCall": {"id": "a", "name": "f"}, "thoughtSignature": "c2ln"}, {"functionCall": {"id": "b"}}]
    mine = (turns[0], Message.assistant("", calls, Native("gemini", signed)), *turns[2:])
    target = learned("thoughtSignature")
    parts = body_of(call(messages=turns), target)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]
    assert dropped(call(messages=turns), target) == {"tool_calls": "rewritten"}
    assert CODEC.request(call(messages=mine), target) == CODEC.request(call(messages=mine), learned())


REFUSALS = [
    ("Developer instruction is not enabled for models/gemma-3-27b-it", "systemInstruction"),
    ("Penalty is not enabled for models/gemini-2.5-flash", "penalty"),
    ("Thinking level is not supported for this model.", "thinkingLevel"),
    ("Thinking is not enabled for models/gemma-3-27b-it", "thinkingConfig"),
    ("Thinking_config.include_thoughts is only enabled when thinking is enabled.", "includeThoughts"),
    ("Budget 0 is invalid. This model only works in thinking mode.", "noThinking"),
    ("The model does not support setting thinking_budget to 0", "noThinking"),
    ("Function call is missing a thought_signature in functionCall parts.", "thoughtSignature"),
    ("Invalid JSON payload received. Unknown name \"topK\" at 'generation_config': Cannot find field.", "topK"),
]


@pytest.mark.parametrize(("message", "field"), REFUSALS)
def test_refusals_are_understood(message: str, field: str) -> None:
    turns = (
        Message.system("Be kind."),
        Message.user("?"),
        Message.assistant("", (ToolCall("a", "f", {}),)),
        Message.tool("a", "1"),
    )
    params = Params(top_k=3, presence_penalty=0.5, extra={"thinking_level": "low"})
    request = CODEC.request(call(messages=turns, params=params), TARGET)
    error = CODEC.error(failed(400, "INVALID_ARGUMENT", message), TARGET)
    assert lesson_of(error, request.optional) == Lesson(field)


@pytest.mark.parametrize("what", ["Function calling", "JSON mode", "Image input modality"])
def test_what_cannot_be_left_out_is_an_error(what: str) -> None:
    error = CODEC.error(failed(400, "INVALID_ARGUMENT", f"{what} is not enabled for models/gemma-3-1b-it"), TARGET)
    assert type(error) is UnsupportedFeature
    asked = call(messages=(Message.system("x"), Message.user("y")), params=Params(top_k=3))
    assert lesson_of(error, CODEC.request(asked, TARGET).optional) is None


# ---- errors --------------------------------------------------------------------------------------------------------


def failed(
    status: int, word: str, message: str = "Words.", *details: dict[str, Any], many: bool = False
) -> HttpResponse:
    body: Any = {"error": {"code": status, "message": message, "status": word, "details": list(details)}}
    return HttpResponse(status, {"content-type": "application/json"}, json.dumps([body] if many else body).encode())


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (400, "INVALID_ARGUMENT", InvalidRequest),
        (400, "FAILED_PRECONDITION", InvalidRequest),
        (401, "UNAUTHENTICATED", AuthFailed),
        (403, "PERMISSION_DENIED", AuthFailed),
        (404, "NOT_FOUND", UnknownModel),
        (429, "RESOURCE_EXHAUSTED", RateLimited),
        (500, "INTERNAL", UpstreamFailed),
        (501, "UNIMPLEMENTED", UnsupportedFeature),
        (503, "UNAVAILABLE", Overloaded),
        (504, "DEADLINE_EXCEEDED", UpstreamTimeout),
    ],
)
def test_errors_have_their_class(status: int, word: str, kind: type[LollmsError], many: bool) -> None:
    error = CODEC.error(failed(status, word, many=many), TARGET)
    assert type(error) is kind
    assert error.status == status
    assert "Words." in error.message or kind is AuthFailed


def test_details_decide() -> None:
    assert type(CODEC.error(failed(400, "INVALID_ARGUMENT", "API key not valid.", BAD_KEY), TARGET)) is AuthFailed
    error = CODEC.error(failed(429, "RESOURCE_EXHAUSTED", "Quota.", {"@type": "x"}, RETRY), TARGET)
    assert (type(error), error.retry_after) == (RateLimited, 34.5)
    long = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    assert type(CODEC.error(failed(400, "INVALID_ARGUMENT", long), TARGET)) is ContextTooLong
    odd: dict[str, Any] = {"error": {"code": 429, "status": ["?"], "details": [3, {"retryDelay": "soon"}]}}
    error = CODEC.error(HttpResponse(429, {}, json.dumps(odd).encode()), TARGET)
    assert (type(error), error.retry_after) == (RateLimited, None)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"<html>nothing here</html>", InvalidRequest),
        (413, b"", PayloadTooLarge),
        (502, b"bad gateway", UpstreamFailed),
        (302, b"", RedirectRefused),
        (400, b"[]", InvalidRequest),
        (400, b'[{"error": "words"}]', InvalidRequest),
        (400, b"[[[", InvalidRequest),
        (500, b'{"error": {"message": 3, "details": "x"}}', UpstreamFailed),
    ],
)
def test_errors_of_whoever_stands_between(status: int, body: bytes, kind: type[LollmsError]) -> None:
    assert type(CODEC.error(HttpResponse(status, {}, body), TARGET)) is kind


def test_errors_hold_no_key() -> None:
    for word, status in (("INVALID_ARGUMENT", 400), ("UNAUTHENTICATED", 401), ("INTERNAL", 500)):
        error = CODEC.error(failed(status, word, f"The key {KEY} of ?key={KEY} is odd"), TARGET)
        assert KEY not in str(error) and KEY not in repr(error)
    with pytest.raises(ConfigError) as caught:
        CODEC.request(call(), Target(BASE, key=KEY + "\n", model="m"))
    assert KEY not in str(caught.value)


def test_receipts_name_what_they_are_about() -> None:
    receipt = CODEC.request(call(params=Params(min_p=0.1)), TARGET).receipt
    assert receipt == (ReceiptItem("min_p", "dropped", "gemini has no such parameter"),)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["functionCall", "id", "text", "thoughtSignature", "parts"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(ODD | st.lists(ODD, max_size=3), st.booleans())
def test_a_kept_turn_of_any_form_is_sent_or_written_anew(data: Any, signing: bool) -> None:
    turn = Message.assistant("Yes.", (ToolCall("a", "f", {}),), Native("gemini", data))
    asked = call(messages=(Message.user("?"), turn, Message.tool("a", "1")))
    target = learned("thoughtSignature", "systemInstruction") if signing else TARGET
    sent = json.loads(CODEC.request(asked, target).body)["contents"]
    assert [content["role"] for content in sent] == ["user", "model", "user"]
