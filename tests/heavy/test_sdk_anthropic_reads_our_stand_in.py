"""Our stand-in for Anthropic is read by Anthropic's own client, which knows nothing of our codec.

What the codec is tested against is so held to a third party's reading of the protocol; and what the client sends is
held against the rules that the codec's requests are held against.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.anthropic_rules import MODELS, signature_of
from tests.support.anthropic_server import THOUGHTS, AnthropicServer
from tests.support.ollama_server import png

pytestmark = pytest.mark.group("sdks")

KEY = "canary-sdk-key-0123456789"
TEXT = "Grüße 🦙"
OLD, NEW = "claude-haiku-4-5-20251001", "claude-sonnet-5-5"
TOOL = {"name": "weather", "description": "Now.", "input_schema": {"type": "object", "properties": {"n": {}}}}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
ARGUMENTS = {"n": 0, "ü": ["☃"]}


@pytest.fixture
def api() -> Iterator[AnthropicServer]:
    with AnthropicServer(key=KEY) as server:
        yield server


@pytest.fixture
def client(api: AnthropicServer) -> Iterator[Any]:
    import anthropic
    import httpx2

    plain = httpx2.Client(trust_env=False)
    with anthropic.Anthropic(base_url=api.origin, api_key=KEY, max_retries=0, http_client=plain) as made:
        yield made


def asked(text: Any = TEXT, **more: Any) -> dict[str, Any]:
    return {"model": OLD, "max_tokens": 4000, "messages": [{"role": "user", "content": text}], **more}


def test_text_whole_and_streamed(client: Any) -> None:
    whole = client.messages.create(**asked(system="Be kind."))
    assert [block.text for block in whole.content] == [TEXT]
    assert (whole.stop_reason, whole.model, whole.role) == ("end_turn", OLD, "assistant")
    usage = whole.usage
    counts = (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens, usage.output_tokens)
    assert counts == (5, 2, 4, 7)
    with client.messages.stream(**asked()) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 1 and "".join(pieces) == TEXT
    assert (final.content[0].text, final.stop_reason, final.usage.output_tokens) == (TEXT, "end_turn", 7)
    kinds = [event.type for event in client.messages.create(**asked(), stream=True)]
    deltas = ["content_block_delta"] * len(pieces)
    around = ("message_start", "content_block_start", *deltas, "content_block_stop", "message_delta", "message_stop")
    assert tuple(kinds) == around


def test_ends(client: Any) -> None:
    cut = client.messages.create(**asked("One. END", stop_sequences=["END"]))
    assert (cut.content[0].text, cut.stop_reason, cut.stop_sequence) == ("One. ", "stop_sequence", "END")
    assert client.messages.create(**asked(max_tokens=1)).stop_reason == "max_tokens"
    for refused in (client.messages.create(**asked("refuse")), streamed(client, asked("refuse"))):
        assert (refused.stop_reason, refused.content) == ("refusal", [])
        assert (refused.stop_details.category, refused.stop_details.explanation) == ("bio", "It must not.")


def streamed(client: Any, body: dict[str, Any]) -> Any:
    with client.messages.stream(**body) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        (OLD, {"type": "enabled", "budget_tokens": 1024}),
        (NEW, {"type": "adaptive", "display": "summarized"}),
        ("claude-opus-4-6", {"type": "adaptive"}),
    ],
)
def test_thoughts_are_signed_and_go_back(client: Any, model: str, thinking: Any) -> None:
    body = asked("tool:weather", model=model, thinking=thinking, tools=[TOOL])
    for reply in (client.messages.create(**body), streamed(client, body)):
        thoughts, first, second = reply.content
        assert (thoughts.thinking, thoughts.signature) == (THOUGHTS, signature_of(THOUGHTS))
        assert [(each.type, each.id, each.name, each.input) for each in (first, second)] == [
            ("tool_use", f"toolu_{at}", "weather", ARGUMENTS) for at in "ab"
        ]
        assert reply.stop_reason == "tool_use"
        results = [{"type": "tool_result", "tool_use_id": each.id, "content": "sun"} for each in (first, second)]
        turns = [*body["messages"], reply.to_param(), {"role": "user", "content": results}]
        last = client.messages.create(**{**body, "messages": turns})
        assert last.content[-1].text == "toolu_a said sun; toolu_b said sun"


def test_images_and_schemas(client: Any) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png(5, 4)).decode()}
    seen = client.messages.create(**asked([{"type": "text", "text": "?"}, {"type": "image", "source": source}]))
    assert seen.content[0].text == "I see [(5, 4)]."
    shape = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert json.loads(client.messages.create(**asked(output_config=shape)).content[0].text) == {"age": 1}


def test_models_and_counts(client: Any) -> None:
    listed = list(client.models.list())
    assert [model.id for model in listed] == list(MODELS), "the pages follow each other"
    assert client.models.list().has_more is True
    one = client.models.retrieve(NEW)
    assert (one.max_input_tokens, one.max_tokens, one.lifecycle) == (1_000_000, 128_000, "active")
    assert one.capabilities.image_input.supported and not one.capabilities.thinking.types.enabled.supported
    assert one.created_at.year == 2026
    counted = client.messages.count_tokens(model=OLD, messages=[{"role": "user", "content": "one two"}])
    assert counted.input_tokens == 8 + len(json.dumps([{"role": "user", "content": "one two"}]).split())


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, "invalid_request_error", "BadRequestError"),
        (401, "authentication_error", "AuthenticationError"),
        (403, "permission_error", "PermissionDeniedError"),
        (404, "not_found_error", "NotFoundError"),
        (413, "request_too_large", "ContentTooLargeError"),
        (429, "rate_limit_error", "RateLimitError"),
        (500, "api_error", "InternalServerError"),
        (529, "overloaded_error", "OverloadedError"),
    ],
)
def test_errors_have_the_classes_of_the_client(
    api: AnthropicServer, client: Any, status: int, kind: str, name: str
) -> None:
    import anthropic
    from anthropic import _exceptions

    expected = getattr(_exceptions, name)
    api.fail(status, kind, retry_after="7")
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**asked())
    error = caught.value
    assert type(error) is expected
    assert (error.status_code, error.type, error.request_id) == (status, kind, "req_1")
    assert error.response.headers["retry-after"] == "7"


def test_requests_that_are_refused(api: AnthropicServer, client: Any) -> None:
    import anthropic

    with pytest.raises(anthropic.NotFoundError, match="claude-nobody"):
        client.messages.create(**asked(model="claude-nobody"))
    with pytest.raises(anthropic.BadRequestError, match="temperature: Extra inputs are not permitted"):
        client.messages.create(**asked(), extra_body={"temperature": 1.0})
    with pytest.raises(anthropic.BadRequestError, match="maximum allowed number of output tokens"):
        streamed(client, asked(max_tokens=999_999))
    api.largest = 50
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**asked())
    assert caught.value.status_code == 413
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="another").messages.create(**asked())


def test_a_failure_in_the_middle_of_a_stream(client: Any) -> None:
    import anthropic

    pieces: list[str] = []
    stream = client.messages.create(**asked("Once upon a time", model="claude-broken"), stream=True)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        pieces += (event.delta.text for event in stream if event.type == "content_block_delta")
    assert (pieces, stream.response.is_closed) == (["Onc"], True)
