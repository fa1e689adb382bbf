"""Our stand-in for the Gemini API is read by Google's own client, which knows nothing of our codec."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gemini_server import FAILURES, KEY, MODELS, SIGNATURE, GeminiServer
from tests.support.ollama_server import png

pytestmark = pytest.mark.group("sdks")

FLASH, SIGNING = "gemini-2.5-flash", "gemini-3-pro-preview"
TEXT = "Grüße 🦙"
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
WEATHER = {
    "name": "weather",
    "description": "Now.",
    "parameters_json_schema": {"type": "object", "properties": {"n": {}}},
}


@pytest.fixture
def google() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        yield server


@pytest.fixture
def client(google: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = made_for(google, KEY)
    yield made
    made.close()


def made_for(google: GeminiServer, key: str) -> Any:
    from google import genai
    from google.genai import types

    once = types.HttpRetryOptions(attempts=1)
    options = types.HttpOptions(base_url=google.origin, api_version="v1beta", retry_options=once)
    return genai.Client(api_key=key, vertexai=False, http_options=options)


def texts(answer: Any, thought: bool = False) -> str:
    """The text of an answer's parts that are thoughts, or are none."""
    parts = answer.candidates[0].content.parts or () if answer.candidates and answer.candidates[0].content else ()
    return "".join(part.text or "" for part in parts if bool(part.thought) is thought)


def test_text_whole_and_streamed(client: Any) -> None:
    whole = client.models.generate_content(model=FLASH, contents=TEXT)
    assert (whole.text, whole.model_version, whole.candidates[0].finish_reason.name) == (TEXT, FLASH, "STOP")
    usage = whole.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (11, 7, 18)
    chunks = list(client.models.generate_content_stream(model=FLASH, contents=TEXT))
    assert len(chunks) > 2
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert [bool(chunk.candidates[0].finish_reason) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage_metadata.total_token_count == 18


def test_every_parameter_and_safety_setting_is_taken(client: Any, google: GeminiServer) -> None:
    harms = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
    safety = [{"category": f"HARM_CATEGORY_{harm}", "threshold": "BLOCK_ONLY_HIGH"} for harm in harms]
    config = {
        "system_instruction": "Be kind.",
        "max_output_tokens": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "seed": 7,
        "stop_sequences": ["X"],
        "safety_settings": safety,
    }
    answer = client.models.generate_content(model=FLASH, contents="Hi", config=config)
    assert answer.candidates[0].finish_reason.name == "MAX_TOKENS"
    assert google.requests[-1].json()["systemInstruction"]["parts"] == [{"text": "Be kind."}]


def test_thoughts(client: Any) -> None:
    asked = {"model": FLASH, "contents": TEXT, "config": {"thinking_config": {"include_thoughts": True}}}
    whole = client.models.generate_content(**asked)
    assert (texts(whole, thought=True), texts(whole)) == ("Let me see.", TEXT)
    assert whole.usage_metadata.thoughts_token_count == 3
    chunks = list(client.models.generate_content_stream(**asked))
    assert "".join(texts(chunk, thought=True) for chunk in chunks) == "Let me see."
    assert "".join(texts(chunk) for chunk in chunks) == TEXT


def test_tools_and_signatures_go_both_ways(client: Any) -> None:
    from google.genai import types

    tools = [{"function_declarations": [WEATHER]}]
    config = {"tools": tools, "automatic_function_calling": {"disable": True}}
    for model in (FLASH, SIGNING):
        asked = {"model": model, "contents": "tool:weather", "config": config}
        whole = client.models.generate_content(**asked)
        calls = whole.function_calls
        assert [(call.name, call.args) for call in calls] == [("weather", {"n": at, "ü": ["☃"]}) for at in range(2)]
        chunks = list(client.models.generate_content_stream(**asked))
        assert [call for chunk in chunks for call in chunk.function_calls or ()] == calls
        content = whole.candidates[0].content
        if model == SIGNING:
            assert content.parts[0].thought_signature == base64.b64decode(SIGNATURE)
        results = [
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "sun"}))
            for call in calls
        ]
        question = types.Content(role="user", parts=[types.Part(text="?")])
        turns = [question, content, types.Content(role="user", parts=results)]
        answer = client.models.generate_content(model=model, contents=turns, config=config)
        assert answer.text == "weather said sun weather said sun"


def test_a_call_without_its_signature_is_refused(client: Any) -> None:
    from google.genai import errors, types

    call = types.Part(function_call=types.FunctionCall(name="weather", args={}))
    result = types.Part(function_response=types.FunctionResponse(name="weather", response={"output": "sun"}))
    turns = [
        types.Content(role="user", parts=[types.Part(text="?")]),
        types.Content(role="model", parts=[call]),
        types.Content(role="user", parts=[result]),
    ]
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        client.models.generate_content(model=SIGNING, contents=turns)


def test_images_in_and_out_and_schemas(client: Any) -> None:
    from google.genai import types

    image = types.Part.from_bytes(data=png(5, 4), mime_type="image/png")
    assert client.models.generate_content(model=FLASH, contents=["?", image]).text == "I see [(5, 4)]."
    config = {"response_modalities": ["TEXT", "IMAGE"]}
    drawn = client.models.generate_content(model="gemini-2.5-flash-image", contents="draw", config=config)
    assert [part.inline_data.data for part in drawn.parts if part.inline_data] == [png(5, 4)]
    config = {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    assert client.models.generate_content(model=FLASH, contents="?", config=config).text == '{"age": 1}'


def test_what_is_blocked(client: Any) -> None:
    for blocked in (
        client.models.generate_content(model=FLASH, contents="block"),
        *client.models.generate_content_stream(model=FLASH, contents="block"),
    ):
        assert blocked.prompt_feedback.block_reason.name == "PROHIBITED_CONTENT"
    unsafe = client.models.generate_content(model=FLASH, contents="unsafe")
    assert unsafe.candidates[0].finish_reason.name == "SAFETY"
    garbled = client.models.generate_content(model=FLASH, contents="garbled")
    assert garbled.candidates[0].finish_reason.name == "MALFORMED_FUNCTION_CALL"


def test_models_over_all_pages(client: Any, google: GeminiServer) -> None:
    listed = list(client.models.list())
    assert [model.name for model in listed] == [f"models/{name}" for name in MODELS]
    assert sum(seen.path.partition("?")[0] == "/v1beta/models" for seen in google.requests) == -(-len(MODELS) // 2)
    assert (listed[0].input_token_limit, listed[0].output_token_limit) == (1048576, 65536)
    assert listed[0].supported_actions == ["generateContent", "countTokens"]
    assert client.models.get(model="gemma-3-27b-it").input_token_limit == 131072


def test_tokens_and_embeddings(client: Any) -> None:
    assert client.models.count_tokens(model=FLASH, contents="one two three").total_tokens == 3
    found = client.models.embed_content(model="gemini-embedding-001", contents=["a", "bc"])
    assert [each.values for each in found.embeddings] == [[1.0, 0.5, -1.0], [2.0, 0.5, -1.0]]


@pytest.mark.parametrize("model", [*FAILURES, "nobody"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_error_is_read(client: Any, model: str, stream: bool) -> None:
    from google.genai import errors

    def ask() -> Any:
        asked = {"model": model, "contents": "Hi"}
        return (
            list(client.models.generate_content_stream(**asked)) if stream else client.models.generate_content(**asked)
        )

    with pytest.raises(errors.APIError) as caught:
        ask()
    if model == "nobody":
        assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
        return
    error = FAILURES[model]["error"]
    assert (caught.value.code, caught.value.status, caught.value.message) == (
        error["code"],
        error["status"],
        error["message"],
    )
    assert caught.value.details == FAILURES[model]


def test_a_wrong_key_and_what_a_model_cannot(client: Any, google: GeminiServer) -> None:
    from google.genai import errors

    wrong = made_for(google, "AIza-wrong")
    with pytest.raises(errors.ClientError) as caught:
        wrong.models.generate_content(model=FLASH, contents="Hi")
    wrong.close()
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    with pytest.raises(errors.ClientError, match="Developer instruction is not enabled"):
        client.models.generate_content(model="gemma-3-27b-it", contents="Hi", config={"system_instruction": "Be kind."})


@pytest.mark.parametrize("model", ["broken", "broken-plainly"])
def test_a_failure_in_the_middle_of_a_stream(client: Any, model: str) -> None:
    from google.genai import errors

    stream = client.models.generate_content_stream(model=model, contents="a story")
    assert next(stream).text == "a s"
    with pytest.raises(errors.APIError) as caught:
        next(stream)
    assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")
