"""Our stand-in for Hugging Face is read by the official client, which knows nothing of our codecs.

What our codecs are tested against is so held to a third party's reading of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.huggingface_server import INFO, HuggingFaceServer

pytestmark = pytest.mark.group("sdks")

TEXT = "Grüße 🦙"
KEY = "hf_canary_0123456789abcdefghij"
TOOL = {"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}

Connect = Callable[[str], Any]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """The official client of one address of the stand-in, "" for the endpoint; nothing else can be reached by it."""
    import httpx2
    import huggingface_hub

    huggingface_hub.set_client_factory(lambda: httpx2.Client(trust_env=False))
    huggingface_hub.close_session()
    with HuggingFaceServer(key=KEY) as server:
        yield lambda path: huggingface_hub.InferenceClient(base_url=f"{server.origin}{path}", api_key=KEY)
        assert all(seen.headers["host"] == f"127.0.0.1:{server.port}" for seen in server.requests)
        huggingface_hub.close_session()
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)


def messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_chat_whole_and_streamed(connect: Connect) -> None:
    client = connect("")
    whole = client.chat_completion(messages(TEXT), max_tokens=50)
    choice = whole.choices[0]
    assert (choice.message.content, choice.finish_reason) == (TEXT, "stop")
    assert whole.usage.total_tokens == 18
    stream = client.chat_completion(messages(TEXT), stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 7
    assert connect("/v1").chat_completion(messages(TEXT)).choices[0].message.content == TEXT


def test_chat_with_tools_and_a_schema(connect: Connect) -> None:
    client = connect("")
    answer = client.chat_completion(messages("tool:weather"), tools=[TOOL]).choices[0]
    assert answer.finish_reason == "tool_calls"
    calls = [(call.id, call.function.name, call.function.arguments) for call in answer.message.tool_calls]
    assert calls == [(f"call_{at}", "weather", '{"n": 0, "ü": ["☃"]}') for at in "ab"]
    streamed: dict[int, str] = {}
    for chunk in client.chat_completion(messages("tool:weather"), tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            streamed[call.index] = streamed.get(call.index, "") + (call.function.arguments or "")
    assert list(streamed.values()) == [call[2] for call in calls]
    turns = [*messages("x"), {"role": "assistant", "tool_calls": answer.message.tool_calls}]
    turns.append({"role": "tool", "tool_call_id": "call_a", "content": "sun"})
    assert client.chat_completion(turns).choices[0].message.content == "call_a said sun"


def test_text_generation_whole_and_streamed(connect: Connect) -> None:
    client = connect("/")
    assert client.text_generation(TEXT, max_new_tokens=20) == TEXT
    whole = client.text_generation(TEXT, details=True, max_new_tokens=1, seed=7, temperature=0.5, top_p=0.9)
    assert whole.generated_text == TEXT
    assert (whole.details.finish_reason, whole.details.generated_tokens, whole.details.seed) == ("length", 3, 7)
    assert "".join(token.text for token in whole.details.tokens) == TEXT
    assert "".join(client.text_generation(TEXT, stream=True)).removesuffix("</s>") == TEXT
    parts = list(client.text_generation(TEXT, stream=True, details=True))
    assert "".join(part.token.text for part in parts if not part.token.special) == TEXT
    assert [part.generated_text for part in parts] == [None] * (len(parts) - 1) + [TEXT]
    assert (parts[-1].details.finish_reason, parts[-1].details.generated_tokens) == ("eos_token", 3)
    stopped = client.text_generation("one. two", details=True, stop=[". "])
    assert (stopped.generated_text, stopped.details.finish_reason) == ("one. ", "stop_sequence")
    assert client.text_generation("x", return_full_text=True) == "xx"
    held = client.text_generation("?", grammar={"type": "json", "value": SCHEMA})
    assert held == '{"age": 1}'
    assert client.text_generation("a list", details=True).generated_text == "a list"


def test_a_model_that_is_not_served_by_text_generation_inference(connect: Connect) -> None:
    client = connect("/hf-inference/models/org/old")
    with pytest.warns(UserWarning, match="not served via TGI"):
        assert client.text_generation(TEXT, details=True, model=client.model) == TEXT  # it remembers by this argument


def test_feature_extraction_and_what_an_endpoint_says_of_itself(connect: Connect) -> None:
    assert connect("/embedder").feature_extraction("abc").tolist() == [[3.0, 0.5, -1.0]]
    found = connect("/embedder").feature_extraction(["a", "bc"]).tolist()
    assert found == [[1.0, 0.5, -1.0], [2.0, 0.5, -1.0]]
    client = connect("")
    client.provider = "hf-inference"  # the only one that it asks for this
    assert client.get_endpoint_info() == INFO
    assert client.health_check()


def test_errors(connect: Connect) -> None:
    from huggingface_hub import errors

    client = connect("/")
    for prompt, kind in (("overloaded", errors.OverloadedError), ("failing", errors.GenerationError)):
        with pytest.raises(kind):
            client.text_generation(prompt)
    with pytest.raises(errors.ValidationError, match="strictly positive"):
        client.text_generation("x", temperature=0.0)
    with pytest.raises(errors.GenerationError, match="CUDA"):
        list(client.text_generation("break", stream=True))
    for prompt, status in (("loading", 503), ("quota", 402)):
        with pytest.raises(errors.HfHubHTTPError) as caught:
            client.text_generation(prompt)
        assert caught.value.response.status_code == status
        with pytest.raises(errors.HfHubHTTPError):
            connect("").chat_completion(messages(prompt))
    client.token = "wrong"
    with pytest.raises(errors.HfHubHTTPError) as caught:
        client.text_generation("x")
    assert caught.value.response.status_code == 401
