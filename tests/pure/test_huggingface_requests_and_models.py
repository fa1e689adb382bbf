"""Hugging Face is asked at the right address in its own words; its errors and its list of models are understood."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import (
    AuthFailed,
    ConfigError,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    ProtocolError,
    RateLimited,
    RedirectRefused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.catalog import Answer
from lollms_core.protocols.huggingface import HUGGING_FACE, HuggingFaceCodec, TextTaskCodec, is_router, task_url
from lollms_core.protocols.huggingface_catalog import EMBEDDER, HuggingFaceCatalog
from lollms_core.protocols.huggingface_forms import embedder_at, huggingface_form
from lollms_core.protocols.lessons import Lesson, lesson_of
from lollms_core.protocols.prompt_tools import PromptTools
from lollms_core.types import (
    Embeddings,
    GenerationCall,
    ImagePart,
    Message,
    Params,
    ReceiptItem,
    Tool,
)
from tests.support.huggingface_server import ERRORS, INFO, LISTED

ROUTER = HUGGING_FACE.address
MINE = "https://abc.us-east-1.aws.endpoints.huggingface.cloud"
HI = (Message.user("hi"),)


def target(url: str = ROUTER, **more: Any) -> Target:
    return Target(url, key="hf_secret", provider="Face", **{"model": "org/m", **more})


def asked(call: GenerationCall, url: str = ROUTER, *, chat: bool = False, **more: Any) -> HttpRequest:
    codec = HuggingFaceCodec() if chat else TextTaskCodec()
    return codec.request(call, target(url, **more))


def parameters(params: Params, **more: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    made = asked(GenerationCall(HI, params=params), **more)
    return json.loads(made.body)["parameters"], [(item.name, item.action) for item in made.receipt]


# ---- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "chat", "task"),
    [
        (ROUTER, f"{ROUTER}/chat/completions", "https://router.huggingface.co/hf-inference/models/org/m"),
        (ROUTER[:-3], f"{ROUTER}/chat/completions", "https://router.huggingface.co/hf-inference/models/org/m"),
        (MINE, f"{MINE}/v1/chat/completions", f"{MINE}/"),
        (f"{MINE}/v1", f"{MINE}/v1/chat/completions", f"{MINE}/"),
        (
            "http://gate/hf-inference",
            "http://gate/hf-inference/models/org/m/v1/chat/completions",
            "http://gate/hf-inference/models/org/m",
        ),
        ("http://gate/models", "http://gate/models/org/m/v1/chat/completions", "http://gate/models/org/m"),
    ],
)
def test_each_address_has_its_routes(base: str, chat: str, task: str) -> None:
    for stream in (False, True):
        call = GenerationCall(HI, stream=stream)
        assert asked(call, base, chat=True).url == chat
        made = asked(call, base)
        assert (made.method, made.url) == ("POST", task)
        assert made.headers["authorization"] == "Bearer hf_secret"
        assert made.headers["accept"] == ("text/event-stream" if stream else "application/json")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../b", "a//b", "a/", "/a"])
def test_names_of_models_choose_no_other_address(name: str) -> None:
    with pytest.raises(InvalidRequest):
        task_url(ROUTER, name)


def test_odd_names_stay_in_their_part_of_the_address() -> None:
    assert task_url(ROUTER, "a b/c?d#e:f%2e").endswith("/hf-inference/models/a%20b/c%3Fd%23e%3Af%252e")
    assert task_url(ROUTER, "o/m", "feature-extraction").endswith("/models/o/m/pipeline/feature-extraction")
    assert task_url(f"{MINE}/v1", "", "feature-extraction") == f"{MINE}/"


# ---- requests ------------------------------------------------------------------------------------------------------


def test_chat_is_that_of_the_openai_protocol_and_the_provider_stays_in_the_name() -> None:
    call = GenerationCall(HI, model="org/m:groq", params=Params(max_tokens=5, top_k=4), stream=True, tools=(Tool("t"),))
    made = asked(call, chat=True)
    body = json.loads(made.body)
    assert (body["model"], body["max_tokens"], body["stream_options"]) == ("org/m:groq", 5, {"include_usage": True})
    assert body["tools"][0]["function"]["name"] == "t"
    assert [(item.name, item.action) for item in made.receipt] == [("top_k", "dropped")]


def test_text_generation_continues_a_text() -> None:
    call = GenerationCall((Message.system("Be kind."), Message.user("hi")), params=Params(max_tokens=9), stream=True)
    made = asked(call)
    assert json.loads(made.body) == {
        "inputs": "!@>system:\nBe kind.\n!@>user:\nhi\n!@>assistant:\n",
        "parameters": {"details": True, "max_new_tokens": 9, "return_full_text": False},
        "stream": True,
    }
    assert set(made.optional) == {"details", "max_new_tokens"}
    assert json.loads(asked(GenerationCall(HI)).body)["inputs"] == "hi"


def test_every_parameter_has_its_name_or_is_dropped() -> None:
    everything = Params(
        max_tokens=10, temperature=0.5, top_p=0.9, top_k=40, min_p=0.1, repeat_penalty=1.1, repeat_last_n=64,
        presence_penalty=0.1, frequency_penalty=0.2, seed=7, stop=("a", "b"), n_threads=4, ctx_size=4096,
        extra={"typical_p": 0.9, "mirostat": 1},
    )  # fmt: skip
    sent, receipt = parameters(everything)
    assert sent == {
        "details": True, "return_full_text": False, "max_new_tokens": 10, "temperature": 0.5, "top_p": 0.9, "top_k": 40,
        "repetition_penalty": 1.1, "frequency_penalty": 0.2, "seed": 7, "stop": ["a", "b"], "typical_p": 0.9,
        "do_sample": True,
    }  # fmt: skip
    dropped = ("min_p", "repeat_last_n", "presence_penalty", "n_threads", "ctx_size", "mirostat")
    assert sorted(receipt) == sorted((name, "dropped") for name in dropped)


@pytest.mark.parametrize(
    ("params", "sent", "receipt"),
    [
        (Params(temperature=0.0), {"do_sample": False}, [("temperature", "rewritten")]),
        (Params(temperature=0, top_p=0.9), {"do_sample": False, "top_p": 0.9}, [("temperature", "rewritten")]),
        (Params(top_p=1.0), {}, []),
        (Params(top_k=0), {}, []),
        (Params(seed=0), {"seed": 1}, [("seed", "clamped")]),
        (Params(seed=-1), {}, []),
        (Params(stop=()), {}, []),
    ],
)
def test_values_that_it_refuses_are_put_in_its_own_way(
    params: Params, sent: dict[str, Any], receipt: list[tuple[str, str]]
) -> None:
    assert parameters(params) == ({"details": True, "return_full_text": False, **sent}, receipt)


def test_what_text_generation_cannot_do_is_refused_and_a_schema_is_a_grammar() -> None:
    picture = Message.user("?", [ImagePart(b"x", "image/png")])
    for call in (GenerationCall((picture,)), GenerationCall(HI, tools=(Tool("t"),))):
        with pytest.raises(UnsupportedFeature, match="Use the format Chat"):
            asked(call)
    schema = {"type": "object", "properties": {"a": {}}}
    made = json.loads(asked(GenerationCall(HI, schema=schema)).body)
    assert made["parameters"]["grammar"] == {"type": "json", "value": schema}
    with pytest.raises(InvalidRequest, match="finite"):
        asked(GenerationCall(HI, params=Params(temperature=float("nan"))))


def test_a_refused_parameter_is_learned_and_left_out() -> None:
    body = {"error": "The following `model_kwargs` are not used by the model: ['details'] (note: typos)"}
    error = TextTaskCodec().error(HttpResponse(400, {}, json.dumps(body).encode()), target())
    lesson = lesson_of(error, asked(GenerationCall(HI)).optional)
    assert lesson == Lesson("details")
    made = asked(GenerationCall(HI), lessons=(lesson,))
    assert json.loads(made.body)["parameters"] == {"return_full_text": False}
    assert [(item.name, item.action) for item in made.receipt] == [("details", "dropped")]


# ---- errors --------------------------------------------------------------------------------------------------------


def refused(status: int, body: object, headers: dict[str, str] | None = None) -> LollmsError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = HttpResponse(status, {"content-type": "application/json", **(headers or {})}, data)
    chat, text = HuggingFaceCodec().error(response, target()), TextTaskCodec().error(response, target())
    assert (type(chat), chat.message, chat.retry_after) == (type(text), text.message, text.retry_after)
    return text


def test_a_model_that_is_loading_says_how_long_that_takes() -> None:
    error = refused(*ERRORS["loading"])
    assert isinstance(error, Overloaded) and error.retry_after == 20.5 and "currently loading" in error.message
    assert refused(*ERRORS["loading"], {"retry-after": "3"}).retry_after == 3
    for odd in (-1, 1e300, "soon", None, True and [1]):
        assert refused(503, {"error": "x", "estimated_time": odd}).retry_after is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (*ERRORS["overloaded"], Overloaded, "overloaded"),
        (*ERRORS["quota"], UpstreamError, "wants to be paid first"),
        (*ERRORS["failing"], UpstreamFailed, "CUDA"),
        (500, {"error": "Incomplete generation", "error_type": "incomplete_generation"}, UpstreamFailed, "Incomplete"),
        (503, {"error": "unhealthy", "error_type": "healthcheck"}, Overloaded, "unhealthy"),
        (422, {"error": "`top_p` must be", "error_type": "validation"}, InvalidRequest, "top_p"),
        (422, {"error": "`inputs` must have less than 9", "error_type": "validation"}, ContextTooLong, "than 9"),
        (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 9."}, ContextTooLong, "<= 9"),
        (422, b"Failed to deserialize the JSON body", InvalidRequest, ""),
        (401, {"error": "Invalid username or password."}, AuthFailed, "rejected the key"),
        (404, {"error": "Model org/x does not exist"}, UnknownModel, "no such model"),
        (404, {"error": "Not Found"}, InvalidRequest, "Not Found"),
        (400, {"error": ["a", "b"]}, InvalidRequest, "a; b"),
        (400, {"error": {"message": "no", "code": "model_not_supported"}}, UnknownModel, "no such model"),
        (400, {"error": {"message": "bad", "param": "seed"}}, InvalidRequest, "bad"),
        (429, {"error": "Too many requests"}, RateLimited, "Too many"),
        (502, b"<html>", UpstreamFailed, ""),
        (302, {"error": "x"}, RedirectRefused, "redirect"),
    ],
)  # fmt: skip
def test_errors_have_their_class(status: int, body: object, kind: type[LollmsError], words: str) -> None:
    error = refused(status, body)
    assert type(error) is kind and error.status == status and words in error.message


def test_errors_hold_no_key() -> None:
    for kind in ("generation", "validation", ""):
        assert "hf_secret" not in str(refused(500, {"error": "the key hf_secret is", "error_type": kind}))


# ---- models and embeddings -----------------------------------------------------------------------------------------


def run(question: Answer[Any], *answers: object) -> tuple[Any, list[HttpRequest]]:
    """The value of a question, and what was asked; an error among the answers is thrown into it."""
    requests: list[HttpRequest] = []
    left = list(answers)
    try:
        requests.append(next(question))
        while True:
            given = left.pop(0)
            if isinstance(given, Exception):
                requests.append(question.throw(given))
            else:
                body = given if isinstance(given, bytes) else json.dumps(given).encode()
                requests.append(question.send(HttpResponse(200, {}, body)))
    except StopIteration as end:
        assert not left
        return end.value, requests


CATALOG = HuggingFaceCatalog()


def test_the_router_lists_models_as_their_providers_serve_them() -> None:
    models, (made,) = run(CATALOG.models(target()), LISTED)
    assert (made.method, made.url) == ("GET", f"{ROUTER}/models")
    assert CATALOG.ping(target()).url == made.url
    chatter, plain = models
    assert (chatter.name, chatter.context_size, chatter.supports_tools, chatter.supports_vision) == (
        "org/chatter",
        32768,
        True,
        True,
    )
    assert (plain.context_size, plain.supports_tools, plain.supports_vision) == (None, False, False)


@pytest.mark.parametrize(
    ("name", "size", "tools"),
    [("org/chatter:large", 131072, True), ("org/chatter:fast", 32768, False), ("org/chatter:cheapest", 32768, True)],
)
def test_a_model_of_one_provider_has_its_facts(name: str, size: int, tools: bool) -> None:
    model, _ = run(CATALOG.model(name, target()), LISTED)
    assert (model.name, model.context_size, model.supports_tools) == (name, size, tools)


@pytest.mark.parametrize("name", ["org/chatter:nobody", "org/none", "org/none:fast", ""])
def test_a_model_that_nobody_serves_is_unknown(name: str) -> None:
    with pytest.raises(UnknownModel):
        run(CATALOG.model(name, target()), LISTED)


def test_a_model_that_does_not_chat_need_not_be_listed() -> None:
    model, _ = run(HuggingFaceCatalog(chat=False).model("org/none", target()), LISTED)
    assert (model.name, model.context_size) == ("org/none", None)


def test_an_endpoint_describes_its_model_whatever_it_is_called() -> None:
    models, (made,) = run(CATALOG.models(target(f"{MINE}/v1")), INFO)
    assert made.url == f"{MINE}/info"
    assert [(model.name, model.context_size) for model in models] == [("org/teller", 2048)]
    model, _ = run(CATALOG.model("tgi", target(MINE)), INFO)
    assert (model.name, model.context_size, model.details["version"]) == ("tgi", 2048, "3.0.0")
    embedding, _ = run(CATALOG.model("", target(MINE)), {"model_id": "e", "max_input_length": 512})
    assert (embedding.name, embedding.context_size) == ("e", 512)
    assert CATALOG.ping(target(f"{MINE}/v1")).url == f"{MINE}/health"


def test_an_endpoint_of_another_server_may_have_a_list() -> None:
    models, made = run(CATALOG.models(target(MINE)), InvalidRequest("no", status=404), {"data": [{"id": "x"}]})
    assert [each.url for each in made] == [f"{MINE}/info", f"{MINE}/v1/models"]
    assert [model.name for model in models] == ["x"]
    with pytest.raises(UnsupportedFeature, match="no list"):
        run(CATALOG.models(target("http://gate/hf-inference")))


def test_embeddings_of_texts() -> None:
    found, (made,) = run(CATALOG.embed(["a", "b"], EMBEDDER, target()), [[1.0, 2], [0.5, -1]])
    assert found == Embeddings(((1.0, 2.0), (0.5, -1.0)), EMBEDDER)
    assert made.url.endswith(f"/hf-inference/models/{EMBEDDER}/pipeline/feature-extraction")
    assert json.loads(made.body) == {"inputs": ["a", "b"]}
    assert run(CATALOG.embed(["a"], "", target(MINE)), [1, 2])[0] == Embeddings(((1.0, 2.0),), "org/m")
    assert run(CATALOG.embed([], "x", target()), [])[0].vectors == ()
    with pytest.raises(UnsupportedFeature, match="for each token"):
        run(CATALOG.embed(["a"], "x", target()), b" [ [\n[0.5]]]")
    for odd in ([[1.0]], [1.0, 2.0], {"a": 1}, [["x"], ["y"]], b"[[1.0], [2.0]"):
        with pytest.raises(ProtocolError):
            run(CATALOG.embed(["a", "b"], "x", target()), odd)


def test_texts_alone_where_the_model_does_not_chat() -> None:
    assert CATALOG.modalities == ("text", "image")
    assert HuggingFaceCatalog(chat=False).modalities == ("text",)


def test_each_form_has_its_codec_and_its_catalog() -> None:
    for name in (None, "", "chat", "Chat"):
        codec, catalog = huggingface_form(name)
        assert type(codec) is HuggingFaceCodec and "image" in catalog.modalities
    codec, catalog = huggingface_form("Instruct")
    assert isinstance(codec, PromptTools) and type(codec.codec) is TextTaskCodec
    assert catalog.modalities == ("text",)
    with pytest.raises(ConfigError, match="completion_format is 'other'"):
        huggingface_form("Other")
    assert (embedder_at(ROUTER), embedder_at(MINE)) == (EMBEDDER, None)


def test_the_receipt_reaches_the_reply() -> None:
    note = (ReceiptItem("min_p", "dropped", "x"),)
    made = TextTaskCodec().reader(GenerationCall(HI, model="m"), "application/json", None, note)
    made.feed(b'[{"generated_text": "x"}]')
    (_, done) = made.close()
    assert (done.receipt, done.model) == (note, "m")  # type: ignore[union-attr]


def test_an_address_that_is_none_is_no_router() -> None:
    for address in ("http://[", "http://[::1", ""):
        assert not is_router(address)
