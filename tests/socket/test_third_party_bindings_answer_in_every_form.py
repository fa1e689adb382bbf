"""A binding written from the documentation alone is found, loaded and served, and every documented form comes through.

Whole and streamed answers say the same, whether the binding has a stream of its own or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw_http import ask, prompt
from tests.support.server import Served
from tests.support.third_party_binding.folder import server_with_folders

ABOUT = ("model_used", "finish_reason", "usage", "receipt")


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with server_with_folders() as served:
        yield served


def generate(server: Served, instance: str, text: str, **more: Any) -> Any:
    body = prompt(text, binding_name=instance, **more)
    answer = ask(server.port, "POST", "/api/v1/generate", body, server.headers)
    assert answer.status == 200, answer
    return answer.events() if more.get("stream") else answer.json()["output"]


def bare(items: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What the binding itself said of each item."""
    return [
        (
            i["type"],
            i["data"],
            i["mime_type"],
            i["thoughts"],
            {k: v for k, v in i["metadata"].items() if k not in ABOUT},
        )
        for i in items
    ]


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FORMS: dict[str, list[tuple[Any, ...]]] = {
    "str": [("text", "A plain text.", None, None, {})],
    "thinking": [("text", "An answer.", None, "Let me see.", {})],
    "item": [("text", "An item.", None, None, {"mood": "good"})],
    "text": [("text", "A dictionary.", None, None, {})],
    "image": [("image", PNG, "image/png", None, {"seed": 3})],
    "audio": [("audio", "UklGRg==", "audio/wav", None, {})],
    "video": [("video", "AAAAIGZ0eXA=", "video/mp4", None, {})],
    "other": [("json", {"score": 0.5, "labels": ["a", "b"]}, None, None, {})],
    "list": [
        ("text", "First.", None, None, {}),
        ("image", PNG, "image/png", None, {"prompt_used": "x", "model": "dall-e-3"}),
        ("json", {"n": 1}, None, None, {}),
        ("info", "Task completed", None, None, {}),
        ("text", "Last.", None, "Own thoughts.", {}),
    ],
    "models": [("text", "Of a model.", None, None, {"k": 1})],
    "usage": [("text", "Counted.", None, None, {})],
    "generator": [("text", "In pieces.", None, None, {"done": True})],
    "sure?": [("json", {"sure": True}, None, None, {})],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("instance", ["my_plain", "my_streaming"])
def test_every_form_comes_through_whole_and_streamed(server: Served, instance: str, form: str) -> None:
    if (instance, form) == ("my_streaming", "generator"):
        return  # its stream would give the generator itself
    whole = generate(server, instance, form)
    assert bare(whole) == FORMS[form]
    events = generate(server, instance, form, stream=True)
    assert [event["type"] for event in events[:-1]].count("final") == 0
    final = events[-1]
    assert final["type"] == "final"
    assert bare(final["content"]) == FORMS[form]
    shown = "".join(event["content"] for event in events if event["type"] == "chunk")
    said = "".join(data for kind, data, *_ in FORMS[form] if kind == "text")
    assert shown.strip() == said
    thoughts = "".join(event["thoughts"] or "" for event in events if event["type"] == "chunk")
    assert thoughts == "".join(each[3] or "" for each in FORMS[form])


def test_words_are_streamed_one_by_one(server: Served) -> None:
    chunks = [e["content"] for e in generate(server, "my_streaming", "str", stream=True) if e["type"] == "chunk"]
    assert "".join(chunks) == "A plain text. "


def test_usage_and_finish_reason_are_where_they_always_are(server: Served) -> None:
    for stream in (False, True):
        said = generate(server, "my_plain", "usage", stream=stream)
        metadata = (said[-1]["content"] if stream else said)[0]["metadata"]
        assert metadata["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        assert (metadata["finish_reason"], metadata["model_used"]) == ("length", "small")


def test_what_it_is_given(server: Served) -> None:
    (item,) = generate(server, "my_plain", "given", parameters={"temperature": 0.5, "my_knob": [1]})
    given = item["data"]
    assert given["params"] == {"temperature": 0.5, "my_knob": [1], "context_size": 512, "max_tokens": 99}
    info = given["request_info"]
    assert (info["personality"], info["functions"], info["generation_type"]) == (None, [], "ttt")
    assert (info["binding_instance_name"], info["model_name"]) == ("my_plain", "small")
    assert given["media"] == []


def test_the_callers_mistakes_and_unknown_models_are_told(server: Served) -> None:
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("strange"), server.headers)
    assert answer.status == 400
    assert "Hi: I do not know 'strange'" in answer.json()["detail"]
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("str", model_name="huge"), server.headers)
    assert (answer.status, answer.json()["code"]) == (400, "unknown_model")


def test_the_listings_know_it(server: Served) -> None:
    listed = ask(server.port, "GET", "/api/v1/list_bindings", None, server.headers).json()
    assert listed["binding_types"]["streaming"]["supports_streaming"] is True
    assert listed["binding_instances"]["my_plain"]["greeting"] == "Hi"
    models = ask(server.port, "GET", "/api/v1/list_available_models/my_plain", None, server.headers).json()
    assert [model["name"] for model in models["models"]] == ["small", "large"]


def test_its_tokens_are_used_with_the_ends_that_were_asked_for(server: Served) -> None:
    def post(path: str, **body: Any) -> Any:
        return ask(server.port, "POST", f"/api/v1/{path}", body, server.headers).json()

    assert post("tokenize", text="ab", add_bos=True)["tokens"] == [1, 97, 98]
    assert post("detokenize", tokens=[97, 98], model_name="large")["text"] == "ab"
    assert post("count_tokens", text="ab", add_bos=True, add_eos=True)["count"] == 4
