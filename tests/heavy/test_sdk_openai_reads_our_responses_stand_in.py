"""Our stand-in for OpenAI's Responses endpoint is read by the official client, which knows nothing of our codec.

The same client types every event and item of our transcripts, so that a field that the reference wants cannot be
missing from what the codec is tested against.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chaos import ChaosServer
from tests.support.feeding import TRANSCRIPTS
from tests.support.responses_server import ARGUMENTS, THOUGHTS, responding

pytestmark = pytest.mark.group("sdks")

TEXT = "Grüße 🦙"
TOOL = {"type": "function", "name": "weather", "description": "", "parameters": {"type": "object"}, "strict": False}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
SEALED: dict[str, Any] = {"store": False, "include": ["reasoning.encrypted_content"]}
FOLDER = TRANSCRIPTS / "responses"


@pytest.fixture
def client() -> Iterator[Any]:
    import httpx2
    import openai

    with ChaosServer() as server:
        plain = httpx2.Client(trust_env=False)
        url = server.add("responses", responding)
        with openai.OpenAI(base_url=url, api_key="secret", max_retries=0, http_client=plain) as made:
            yield made


def strictly(value: Any) -> Any:
    """The value as its own type reads it, which raises for a field that is missing or of another type."""
    return type(value).model_validate(value.to_dict(mode="json"), strict=False)


def test_text_whole_and_streamed(client: Any) -> None:
    whole = client.responses.create(model="one", input=TEXT, instructions="Be kind.", max_output_tokens=20)
    assert strictly(whole).output_text == TEXT
    assert (whole.status, whole.usage.total_tokens, whole.instructions) == ("completed", 18, "Be kind.")
    events = list(client.responses.create(model="one", input=TEXT, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert [strictly(event).sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == TEXT


def test_the_sdk_adds_the_stream_up_to_the_whole(client: Any) -> None:
    with client.responses.stream(model="thinker", input="tool:weather", tools=[TOOL], **SEALED) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    whole = client.responses.create(model="thinker", input="tool:weather", tools=[TOOL], **SEALED)
    assert final.output == client.responses.parse(model="thinker", input="tool:weather", tools=[TOOL], **SEALED).output
    assert [item.type for item in whole.output] == [item.type for item in final.output]
    assert types[0] == "response.created" and types[-1] == "response.completed"


def test_tools_and_thoughts_go_back_and_forth(client: Any) -> None:
    asked: list[Any] = [{"role": "user", "content": "tool:weather"}]
    first = client.responses.create(model="thinker", input=asked, tools=[TOOL], **SEALED)
    thought, *calls = first.output
    assert [part.text for part in thought.summary] == list(THOUGHTS)
    assert thought.encrypted_content
    found = [(call.call_id, call.name, call.arguments) for call in calls]
    assert found == [(f"call_{at}", "weather", ARGUMENTS) for at in "ab"]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in calls]
    again = client.responses.create(model="thinker", input=[*asked, *first.output, *outputs], tools=[TOOL], **SEALED)
    assert again.output_text == "call_b said sun"


def test_images_and_schemas(client: Any) -> None:
    image = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="}
    content = [{"type": "input_text", "text": "?"}, image]
    assert client.responses.create(model="one", input=[{"role": "user", "content": content}]).output_text == "1 images"
    shape = {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}}
    assert client.responses.create(model="one", input="?", text=shape).output_text == '{"age": 1}'


@pytest.mark.parametrize(
    ("model", "status", "reason"),
    [("long", "incomplete", "max_output_tokens"), ("censored", "incomplete", "content_filter")],
)
def test_answers_that_stop_in_the_middle(client: Any, model: str, status: str, reason: str) -> None:
    whole = client.responses.create(model=model, input=TEXT)
    assert (whole.status, whole.incomplete_details.reason) == (status, reason)
    last = list(client.responses.create(model=model, input=TEXT, stream=True))[-1]
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", reason)


def test_a_refusal(client: Any) -> None:
    assert client.responses.create(model="one", input="refuse").output[0].content[0].refusal == "I cannot help."
    events = list(client.responses.create(model="one", input="refuse", stream=True))
    assert "".join(each.delta for each in events if each.type == "response.refusal.delta") == "I cannot help."


def test_errors(client: Any) -> None:
    import openai

    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="deep", messages=[{"role": "user", "content": "x"}])
    assert (missing.value.param, missing.value.code) == ("model", None)
    assert "v1/responses" in missing.value.message
    refused = [
        ({"temperature": 0.5, "model": "thinker"}, "unsupported_parameter", "temperature"),
        ({"max_output_tokens": 1}, "integer_below_min_value", "max_output_tokens"),
        ({"extra_body": {"seed": 1}}, "unknown_parameter", "seed"),
        ({"tools": [{**TOOL, "strict": True}]}, "invalid_function_schema", "tools[0].parameters"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": ""}]}, None, "input"),
        ({"model": "plain", "include": ["reasoning.encrypted_content"]}, None, "include"),
    ]
    for more, code, param in refused:
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(**{"model": "one", "input": "x", **more})
        assert (caught.value.code, caught.value.param) == (code, param)


def test_errors_in_the_middle(client: Any) -> None:
    last = list(client.responses.create(model="failing", input=TEXT, stream=True))[-1]
    assert (last.type, last.response.error.code) == ("response.failed", "server_error")
    assert client.responses.create(model="failing", input=TEXT).error.message == "The model gave up."
    *before, error = list(client.responses.create(model="erring", input=TEXT, stream=True))
    assert before[-1].type == "response.output_text.delta"
    assert (error.type, error.code, error.message) == ("error", "rate_limit_exceeded", "Slow down.")


# ---- transcripts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_transcripts_are_of_the_types_of_the_sdk(name: str) -> None:
    from openai.types.responses import Response, ResponseStreamEvent
    from pydantic import TypeAdapter

    Response.model_validate(json.loads((FOLDER / f"{name}.json").read_bytes()))
    adapter: Any = TypeAdapter(ResponseStreamEvent)
    lines = (FOLDER / f"{name}.sse").read_bytes().replace(b"\r\n", b"\n").split(b"\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    for event in events:
        if event["type"] != "response.reasoning_part.added":  # vLLM's own
            assert adapter.validate_python(event).type == event["type"]
    assert events
