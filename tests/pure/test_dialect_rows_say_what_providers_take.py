"""Every provider of the chat protocol is asked in its own words: address, key, parameters, tools, schemas, images.

The table is written from the public references (each row of the dialects names its own) and not from the rows.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from lollms_core.errors import InvalidRequest, ProtocolError, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.catalog import OpenAICatalog
from lollms_core.protocols.dialects import DIALECTS, GENERIC, OPENAI, dialect_at
from lollms_core.protocols.openai import ChatCodec, embeddings_request, models_request, parse_models
from lollms_core.types import GenerationCall, ImagePart, Message, Params, Tool, ToolCall

ALL = Params(
    max_tokens=9,
    temperature=0.5,
    top_p=0.9,
    top_k=40,
    min_p=0.1,
    repeat_penalty=1.1,
    repeat_last_n=64,
    presence_penalty=0.2,
    frequency_penalty=0.3,
    seed=7,
    stop=tuple(f"s{n}" for n in range(20)),
    n_threads=2,
    ctx_size=4096,
    extra={"odd": 1},
)
MODEL = "maker/model-1"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
TOOL = Tool("weather", "of a city", {"type": "object", "properties": {"city": {"type": "string"}}})
PLAIN = "max_tokens temperature top_p presence_penalty frequency_penalty seed stop"
SAMPLED = f"{PLAIN} top_k min_p repeat_penalty=repetition_penalty"
COMPLETED = PLAIN.replace("max_tokens", "max_tokens=max_completion_tokens")
LLAMA = f"{PLAIN} top_k min_p repeat_penalty repeat_last_n"


class Says(NamedTuple):
    """What a reference says. `takes` are parameters, `ours=theirs` where the names differ."""

    url: str
    takes: str
    stops: int | None = None
    usage: bool = True  # whether a stream must be asked for it
    schema: str = "json_schema"
    tools: bool = True
    images: bool = True
    models: bool = True
    embeddings: bool = True
    key: str = "authorization"


AZURE = (
    f"https://r.openai.azure.com/openai/deployments/{MODEL.replace('/', '%2F')}/chat/completions?api-version=2024-02-01"
)

SAID: dict[str, Says] = {
    "azure_openai": Says(AZURE, PLAIN, stops=4, key="api-key"),
    "azure_openai_v1": Says("https://r.openai.azure.com/openai/v1/chat/completions", COMPLETED, stops=4, key="api-key"),
    "open_router": Says("https://openrouter.ai/api/v1/chat/completions", SAMPLED, usage=False),
    "groq": Says(
        "https://api.groq.com/openai/v1/chat/completions",
        "max_tokens=max_completion_tokens temperature top_p seed stop",
        stops=4,
        embeddings=False,
    ),
    "mistral": Says(
        "https://api.mistral.ai/v1/chat/completions",
        "max_tokens temperature top_p presence_penalty frequency_penalty seed=random_seed stop top_k "
        "repeat_penalty=repetition_penalty",
        usage=False,
    ),
    "grok": Says("https://api.x.ai/v1/chat/completions", COMPLETED, stops=4, embeddings=False),
    "perplexity": Says(
        "https://api.perplexity.ai/chat/completions",
        "max_tokens temperature top_p presence_penalty frequency_penalty stop top_k",
        usage=False,
        tools=False,  # but in the prompt
        models=False,
        embeddings=False,
    ),
    "novita_ai": Says("https://api.novita.ai/openai/v1/chat/completions", SAMPLED, stops=4),
    "deepseek": Says(
        "https://api.deepseek.com/chat/completions",
        "max_tokens temperature top_p presence_penalty frequency_penalty stop",
        stops=16,
        schema="json_object",
        images=False,
        embeddings=False,
    ),
    "together": Says("https://api.together.xyz/v1/chat/completions", SAMPLED, usage=False),
    "litellm": Says("http://localhost:4000/v1/chat/completions", PLAIN),
    "vllm": Says("http://localhost:8000/v1/chat/completions", SAMPLED),
    "sglang": Says("http://localhost:30000/v1/chat/completions", SAMPLED),
    "openllm": Says("http://localhost:3000/v1/chat/completions", SAMPLED),
    "openwebui": Says("http://localhost:3000/api/chat/completions", PLAIN),
    "tensor_rt": Says("http://localhost:8000/v1/chat/completions", SAMPLED, schema="json", embeddings=False),
    "lm_studio": Says("http://localhost:1234/v1/chat/completions", f"{PLAIN} top_k repeat_penalty"),
    "localai": Says("http://localhost:8080/v1/chat/completions", LLAMA),
}
RESOURCES = {
    "azure_openai": "https://r.openai.azure.com",
    "azure_openai_v1": "https://r.openai.azure.com/openai/v1",
}

each_provider = pytest.mark.parametrize("name", SAID)


def target_of(name: str) -> Target:
    return Target(RESOURCES.get(name, DIALECTS[name].address), key="key-of-mine", provider=name)


def asked(name: str, *messages: Message, **more: Any) -> HttpRequest:
    call = GenerationCall(messages or (Message.user("Hi"),), model=MODEL, **more)
    return ChatCodec(DIALECTS[name]).request(call, target_of(name))


def body_of(name: str, *messages: Message, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(asked(name, *messages, **more).body)
    return body


def test_the_table_is_that_of_the_rows() -> None:
    assert set(SAID) == set(DIALECTS) - {"openai-compatible", "openai", "llamacpp"}
    for name, row in DIALECTS.items():
        assert row.name == name
        assert row.docs.startswith("https://") or name in ("openai-compatible", "llamacpp")


@each_provider
def test_address_and_key(name: str) -> None:
    request = asked(name)
    assert (request.method, request.url) == ("POST", SAID[name].url)
    keys = {header: request.headers.get(header) for header in ("authorization", "api-key")}
    sent = "Bearer key-of-mine" if SAID[name].key == "authorization" else "key-of-mine"
    assert keys == {**dict.fromkeys(keys), SAID[name].key: sent}
    assert "key-of-mine" not in request.url + request.body.decode()


@each_provider
def test_all_parameters_go_under_their_names_or_onto_the_receipt(name: str) -> None:
    said = SAID[name]
    names = dict(pair.split("=") if "=" in pair else (pair, pair) for pair in said.takes.split())
    request = asked(name, params=ALL)
    body = json.loads(request.body)
    given: dict[str, Any] = {**ALL.given(), "stop": list(ALL.stop or ())[: said.stops]}
    assert body == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hi"}],
        **{there: given[ours] for ours, there in names.items()},
    }
    receipt = {item.name: item.action for item in request.receipt}
    expected = dict.fromkeys([*(set(given) - set(names)), "odd"], "dropped")
    assert receipt == (expected if said.stops is None else {**expected, "stop": "clamped"})
    assert set(request.optional) == set(names.values())  # may be left out if the model refuses them


@each_provider
def test_usage_of_a_stream(name: str) -> None:
    body = body_of(name, stream=True)
    assert body["stream"] is True
    assert body.get("stream_options") == ({"include_usage": True} if SAID[name].usage else None)
    assert "stream" not in body_of(name)


@each_provider
def test_schemas(name: str) -> None:
    request = asked(name, schema=SCHEMA)
    body = json.loads(request.body)
    strict = {"name": "answer", "schema": SCHEMA, "strict": True}
    forms: dict[str, Any] = {
        "json_schema": {"type": "json_schema", "json_schema": strict},
        "json": {"type": "json", "schema": SCHEMA},
        "json_object": {"type": "json_object"},
    }
    assert body["response_format"] == forms[SAID[name].schema]
    told = SAID[name].schema == "json_object"
    assert [item.name for item in request.receipt] == (["schema"] if told else [])
    assert ('"required":["n"]' in body["messages"][0]["content"]) is told


@each_provider
def test_tools_and_their_results(name: str) -> None:
    turns = (
        Message.user("Hi"),
        Message.assistant("", [ToolCall("call_of_another_provider", "weather", {"city": "Bern"})]),
        Message.tool("call_of_another_provider", "sun"),
    )
    if not SAID[name].tools:
        with pytest.raises(UnsupportedFeature, match=name):
            asked(name, *turns, tools=(TOOL,))
        return
    body = body_of(name, *turns, tools=(TOOL,))
    function = {"name": "weather", "description": "of a city", "parameters": TOOL.parameters}
    assert body["tools"] == [{"type": "function", "function": function}]
    call = body["messages"][1]["tool_calls"][0]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert call["id"] == body["messages"][2]["tool_call_id"]
    assert (call["id"] == "call_of_another_provider") is (name != "mistral")
    if name == "mistral":  # letters and digits, nine of them
        assert call["id"].isalnum()
        assert len(call["id"]) == 9
        own = Message.assistant("", [ToolCall("D681PevKs", "weather", {})])
        assert body_of(name, own)["messages"][0]["tool_calls"][0]["id"] == "D681PevKs"


@each_provider
def test_images(name: str) -> None:
    message = Message.user("What is it?", [ImagePart(b"\x89PNG", "image/png")])
    if not SAID[name].images:
        with pytest.raises(UnsupportedFeature, match="images"):
            asked(name, message)
        return
    (content,) = (each["content"] for each in body_of(name, message)["messages"])
    assert content[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}


@each_provider
def test_what_there_is_besides(name: str) -> None:
    row, target, said = DIALECTS[name], target_of(name), SAID[name]
    base = said.url.partition("?")[0].removesuffix("/chat/completions")
    query = "?api-version=2024-02-01" if name == "azure_openai" else ""
    if said.models:
        models = base if name != "azure_openai" else "https://r.openai.azure.com/openai"
        assert models_request(target, row).url == f"{models}/models{query}"
    else:
        with pytest.raises(UnsupportedFeature, match="no list of its models"):
            next(OpenAICatalog(row).models(target))
    if said.embeddings:
        assert embeddings_request(target, row, ["a"], MODEL).url == f"{base}/embeddings{query}"
    else:
        with pytest.raises(UnsupportedFeature, match="no embeddings"):
            next(OpenAICatalog(row).embed(["a"], MODEL, target))


def test_a_version_of_ones_own_and_a_model_in_the_address() -> None:
    target = Target("https://r.openai.azure.com", options={"api-version": "2025-04-01-preview"})
    codec = ChatCodec(DIALECTS["azure_openai"])
    call = GenerationCall((Message.user("Hi"),), model="a b/../c")
    assert codec.request(call, target).url == (
        "https://r.openai.azure.com/openai/deployments/a%20b%2F..%2Fc/chat/completions?api-version=2025-04-01-preview"
    )
    for name in ("", ".", ".."):
        with pytest.raises(InvalidRequest, match="Name a model"):
            codec.request(GenerationCall((Message.user("Hi"),), model=name), target)


def test_extra_fields_that_a_provider_knows_pass() -> None:
    extra = {"reasoning_details": 1, "provider": {"sort": "price"}, "search_mode": "academic"}
    body = body_of("open_router", params=Params(extra=extra))
    assert (body["provider"], "search_mode" in body) == ({"sort": "price"}, False)
    assert body_of("perplexity", params=Params(extra=extra))["search_mode"] == "academic"
    for name in SAID:  # what is asked, how, and by whom is never theirs to say
        assert not DIALECTS[name].extras & {"model", "messages", "stream", "stream_options", "tools", "response_format"}


def test_rows_are_found_by_host_and_never_for_servers_of_ones_own() -> None:
    assert dialect_at("https://api.groq.com/openai/v1").name == "groq"
    assert dialect_at("https://openrouter.ai/api/v1").name == "open_router"
    assert dialect_at("https://api.openai.com/v1") is OPENAI
    for address in (
        "http://localhost:8000/v1",
        "http://localhost:4000",
        "https://api.groq.com.example/v1",
        "",
        "http://[",
    ):
        assert dialect_at(address) is GENERIC


# ---- lists of models -----------------------------------------------------------------------------------------------


def listed(entry: Any) -> Any:
    (model,) = parse_models(HttpResponse(200, {}, json.dumps({"data": [{"id": "m", **entry}]}).encode()))
    return model


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        ({"context_window": 131072, "max_completion_tokens": 32768}, (131072, 32768, False, False, False)),  # Groq
        (
            {"max_context_length": 40000, "capabilities": {"vision": True, "function_calling": True, "audio": False}},
            (40000, None, True, False, True),
        ),  # Mistral
        (
            {
                "context_length": 1048576,
                "architecture": {"input_modalities": ["text", "image", "audio"]},
                "top_provider": {"context_length": 1000000, "max_completion_tokens": 65536},
                "supported_parameters": ["tools", "seed"],
            },
            (1048576, 65536, True, True, True),
        ),  # OpenRouter
        (
            {
                "context_size": 65536,
                "max_output_tokens": 8192,
                "features": ["function-calling"],
                "input_modalities": ["image"],
            },
            (65536, 8192, True, False, True),
        ),  # Novita
        ({"max_model_len": 4096}, (4096, None, False, False, False)),  # vLLM, SGLang
        ({"info": {"meta": {"capabilities": {"vision": True}}}}, (None, None, True, False, False)),  # Open WebUI
        ({"context_length": True, "max_output_tokens": -1}, (None, None, False, False, False)),
    ],
)
def test_what_a_list_of_models_states(entry: dict[str, Any], facts: tuple[Any, ...]) -> None:
    model = listed(entry)
    found = (model.context_size, model.max_output_tokens)
    assert (*found, model.supports_vision, model.supports_audio, model.supports_tools) == facts
    assert model.details == {"id": "m", **entry}


def test_a_list_that_is_the_whole_answer() -> None:
    """As Together sends it."""
    body = b'[{"id": "a/b", "type": "chat", "context_length": 8192}, {"object": "model"}]'
    (model,) = parse_models(HttpResponse(200, {}, body))
    assert (model.name, model.context_size) == ("a/b", 8192)
    with pytest.raises(ProtocolError):
        parse_models(HttpResponse(200, {}, b"[]"))


@pytest.mark.parametrize("name", ["openai", "azure_openai", "azure_openai_v1", "groq"])
def test_strict_schemas_are_brought_down_to_what_openai_takes(name: str) -> None:
    """A schema that is fit for strict mode may still hold words that it refuses; the receipt says what is not asked."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "string", "minLength": 3, "format": "uri"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    call = GenerationCall((Message.user("Hi"),), model=MODEL, schema=schema)
    request = ChatCodec(DIALECTS[name]).request(call, Target("https://r.example.test", provider=name))
    shape = json.loads(request.body)["response_format"]["json_schema"]
    told = {item.name for item in request.receipt}
    assert shape["strict"] is True
    if name == "groq":
        assert (shape["schema"], told) == (schema, set())
    else:
        assert {"minLength", "format"}.isdisjoint(shape["schema"]["properties"]["n"])
        assert told == {"schema"}
    loose = {"type": "object", "properties": {"n": {"type": "string", "minLength": 3}}}
    body = body_of(name, schema=loose) if name in SAID else {}
    if body:
        assert body["response_format"]["json_schema"] == {"name": "answer", "schema": loose, "strict": False}


def test_another_port_of_a_providers_host_is_somebody_else() -> None:
    assert dialect_at("https://api.groq.com:443/openai/v1").name == "groq"
    assert dialect_at("https://api.groq.com:8443/openai/v1") is GENERIC
