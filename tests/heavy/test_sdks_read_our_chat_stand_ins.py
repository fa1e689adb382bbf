"""The stand-ins for Groq, Mistral and Azure OpenAI are read by the official SDKs, which know nothing of our codecs.

What our rows are tested against is so held to a third party's reading of each provider's protocol: the SDK sends its
own requests to the strict stand-in, and parses every reply, chunk and error of it with its own types.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chaos import ChaosServer
from tests.support.strict_chat_server import CITIES, KEY, THOUGHT, strict

pytestmark = pytest.mark.group("sdks")

TEXT = "Grüße 🦙"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "", "parameters": PARAMETERS}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": PARAMETERS, "strict": True}}
ARGUMENTS = [f'{{"city": "{city}"}}' for city in CITIES]


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def calls_of(chunks: Any) -> list[str]:
    """The arguments of streamed tool calls."""
    calls: dict[int, str] = {}
    for chunk in chunks:
        delta = chunk.choices[0].delta if chunk.choices else None  # Azure's filters have none
        for call in (delta.tool_calls or ()) if delta is not None else ():
            calls[call.index] = calls.get(call.index, "") + (call.function.arguments or "")
    return list(calls.values())


# ---- Groq ----------------------------------------------------------------------------------------------------------


def groq_client(chaos: ChaosServer, key: str = KEY) -> Any:
    import groq
    import httpx

    address = strict(chaos, "groq").removesuffix("/openai/v1")  # the SDK has that in its paths
    return groq.Groq(base_url=address, api_key=key, max_retries=0, http_client=httpx.Client(trust_env=False))


def test_groq_text_whole_and_streamed(chaos: ChaosServer) -> None:
    with groq_client(chaos) as client:
        whole = client.chat.completions.create(
            model="thinker", messages=messages(TEXT), max_completion_tokens=9, seed=7, stop=["a"], temperature=0.5
        )
        message = whole.choices[0].message
        assert (message.content, message.reasoning, whole.usage.total_tokens) == (TEXT, THOUGHT, 18)
        chunks = list(client.chat.completions.create(model="thinker", messages=messages(TEXT), stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
        assert "".join(chunk.choices[0].delta.reasoning or "" for chunk in chunks) == THOUGHT
        assert chunks[-1].x_groq.usage.completion_tokens == 7
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert [model.id for model in client.models.list().data] == ["one"]


def test_groq_tools_and_schemas(chaos: ChaosServer) -> None:
    with groq_client(chaos) as client:
        asked: dict[str, Any] = {"model": "m", "messages": messages("tool:weather"), "tools": [TOOL]}
        choice = client.chat.completions.create(**asked).choices[0]
        assert [call.function.arguments for call in choice.message.tool_calls] == ARGUMENTS
        assert choice.finish_reason == "tool_calls"
        assert calls_of(client.chat.completions.create(**asked, stream=True)) == ARGUMENTS
        turns = [*asked["messages"], choice.message.model_dump(exclude_none=True)]
        turns += [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in choice.message.tool_calls]
        assert client.chat.completions.create(model="m", messages=[*turns, *messages(TEXT)]).choices[0].message.content
        held = client.chat.completions.create(model="m", messages=messages("?"), response_format=SCHEMA)
        assert held.choices[0].message.content == '{"n": 1}'


def test_groq_errors(chaos: ChaosServer) -> None:
    import groq

    with groq_client(chaos) as client:
        with pytest.raises(groq.RateLimitError, match="Rate limit reached"):
            client.chat.completions.create(model="busy", messages=messages("x"))
        with pytest.raises(groq.BadRequestError, match="'frequency_penalty' is unsupported") as caught:
            client.chat.completions.create(model="m", messages=messages("x"), frequency_penalty=1)
        assert (caught.value.status_code, caught.value.body["error"]["param"]) == (400, "frequency_penalty")
        with pytest.raises(groq.APIError, match="The engine died"):
            list(client.chat.completions.create(model="breaks", messages=messages("x"), stream=True))
    with groq_client(chaos, "wrong") as client, pytest.raises(groq.AuthenticationError, match="Invalid API Key"):
        client.chat.completions.create(model="m", messages=messages("x"))


# ---- Mistral -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mistral_client(chaos: ChaosServer) -> Iterator[Any]:
    with _mistral(chaos) as client:
        yield client


@contextlib.contextmanager
def _mistral(chaos: ChaosServer, key: str = KEY) -> Iterator[Any]:
    import httpx
    from mistralai.client import Mistral

    address = strict(chaos, "mistral").removesuffix("/v1")  # the SDK has that in its paths
    with httpx.Client(trust_env=False) as plain:  # which the SDK leaves open
        yield Mistral(api_key=key, server_url=address, client=plain)


def test_mistral_text_whole_and_streamed(mistral_client: Any) -> None:
    chat = mistral_client.chat
    whole = chat.complete(model="m", messages=messages(TEXT), max_tokens=9, random_seed=7, stop=["a"], top_p=0.5)
    assert (whole.choices[0].message.content, whole.usage.total_tokens) == (TEXT, 18)
    thinking, said = chat.complete(model="thinker", messages=messages(TEXT)).choices[0].message.content
    assert (thinking.thinking[0].text, said.text) == (THOUGHT, TEXT)
    with chat.stream(model="m", messages=messages(TEXT)) as stream:
        chunks = [event.data for event in stream]
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == TEXT
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].usage.completion_tokens) == ("stop", 7)
    with chat.stream(model="thinker", messages=messages(TEXT)) as stream:
        parts = [event.data.choices[0].delta.content for event in stream]
    kinds = [part.type for content in parts if isinstance(content, list) for part in content]
    assert kinds == ["thinking", "text"]


def test_mistral_tools_schemas_and_the_rest(mistral_client: Any) -> None:
    from mistralai.client import errors

    chat = mistral_client.chat
    asked: dict[str, Any] = {"model": "m", "messages": messages("tool:weather"), "tools": [TOOL]}
    message = chat.complete(**asked).choices[0].message
    assert [call.function.arguments for call in message.tool_calls] == ARGUMENTS
    assert {len(call.id) for call in message.tool_calls} == {9}
    with chat.stream(**asked) as stream:
        assert calls_of(event.data for event in stream) == ARGUMENTS
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in message.tool_calls]
    turns = [*asked["messages"], message, *results]
    again = chat.complete(model="m", messages=[*turns, {"role": "assistant", "content": " "}, *messages(TEXT)])
    assert again.choices[0].message.content == TEXT
    with pytest.raises(errors.SDKError, match="Unexpected role 'user' after role 'tool'"):
        chat.complete(model="m", messages=[*turns, *messages(TEXT)])
    held = chat.complete(model="m", messages=messages("?"), response_format=SCHEMA)
    assert held.choices[0].message.content == '{"n": 1}'
    (model,) = mistral_client.models.list().data
    assert (model.id, model.capabilities.function_calling) == ("one", True)
    assert [each.embedding for each in mistral_client.embeddings.create(model="e", inputs=["a", "bcd"]).data] == [
        [1],
        [3],
    ]


def test_mistral_errors(chaos: ChaosServer, mistral_client: Any) -> None:
    from mistralai.client import errors

    with pytest.raises(errors.SDKError) as busy:
        mistral_client.chat.complete(model="busy", messages=messages("x"))
    assert busy.value.status_code == 429
    with pytest.raises(errors.HTTPValidationError) as refused:
        mistral_client.chat.complete(model="m", messages=messages("x"), prompt_cache_key="k")
    assert refused.value.data.detail[0].loc[-1] == "prompt_cache_key"
    with _mistral(chaos, "wrong") as client, pytest.raises(errors.SDKError) as auth:
        client.chat.complete(model="m", messages=messages("x"))
    assert auth.value.status_code == 401


# ---- Azure OpenAI --------------------------------------------------------------------------------------------------


def azure_client(chaos: ChaosServer, key: str = KEY) -> Any:
    import httpx2
    import openai

    return openai.AzureOpenAI(
        azure_endpoint=strict(chaos, "azure_openai"),
        api_key=key,
        api_version="2024-02-01",
        max_retries=0,
        http_client=httpx2.Client(trust_env=False),
    )


def test_azure_text_tools_and_embeddings(chaos: ChaosServer) -> None:
    with azure_client(chaos) as client:
        create = client.chat.completions.create
        whole = create(model="my deployment", messages=messages(TEXT), max_tokens=9, seed=7)
        assert (whole.choices[0].message.content, whole.model, whole.usage.total_tokens) == (TEXT, "my deployment", 18)
        first, *chunks = create(model="m", messages=messages(TEXT), stream=True)
        assert (first.choices, len(first.prompt_filter_results)) == ([], 1)  # of the filters, as the last choice is
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        assert "".join(delta.content or "" for delta in deltas if delta is not None) == TEXT
        assert deltas[-1] is None
        asked: dict[str, Any] = {"model": "m", "messages": messages("tool:weather"), "tools": [TOOL]}
        assert [call.function.arguments for call in create(**asked).choices[0].message.tool_calls] == ARGUMENTS
        assert calls_of(create(**asked, stream=True)) == ARGUMENTS
        vectors = client.embeddings.create(model="e", input=["a", "bcd"], encoding_format="float").data
        assert [each.embedding for each in vectors] == [[1], [3]]
        assert [model.id for model in client.models.list().data] == ["one"]


def test_azure_errors(chaos: ChaosServer) -> None:
    import openai

    with azure_client(chaos) as client:
        create = client.chat.completions.create
        with pytest.raises(openai.RateLimitError, match="Rate limit reached"):
            create(model="busy", messages=messages("x"))
        with pytest.raises(openai.BadRequestError, match="our policy") as filtered:
            create(model="filtered", messages=messages("x"))
        assert (filtered.value.code, filtered.value.param) == ("content_filter", "prompt")
        with pytest.raises(openai.NotFoundError) as missing:
            create(model="nobody", messages=messages("x"))
        assert missing.value.code == "DeploymentNotFound"
        with pytest.raises(openai.BadRequestError, match="'stream_options' is unsupported"):
            create(model="m", messages=messages("x"), stream=True, stream_options={"include_usage": True})
        with pytest.raises(openai.APIError, match="The engine died"):
            list(create(model="breaks", messages=messages("x"), stream=True))
    with azure_client(chaos, "wrong") as client, pytest.raises(openai.AuthenticationError, match="Invalid API Key"):
        client.chat.completions.create(model="m", messages=messages("x"))


def test_azures_newer_form_is_that_of_openai(chaos: ChaosServer) -> None:
    import httpx2
    import openai

    plain = httpx2.Client(trust_env=False)
    address = strict(chaos, "azure_openai_v1")
    with openai.OpenAI(
        base_url=address, api_key="unused", default_headers={"api-key": KEY}, http_client=plain
    ) as client:
        headers = {"authorization": openai.Omit()}
        whole = client.chat.completions.create(model="m", messages=messages(TEXT), extra_headers=headers)
        assert whole.choices[0].message.content == TEXT
