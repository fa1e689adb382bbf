"""Gemini through `LollmsClient`, `AsyncLollmsClient` and a server's instance of `gemini_binding`: the same events, the
same end, and a key that nobody sees."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import ConfigError, LollmsError, Overloaded, UnknownModel, UnsupportedFeature
from lollms_core.protocols.base import Target
from lollms_core.types import Done, Event, Media, Message, Native, Notice, Reply, TextDelta, ToolCall, Usage
from lollms_server.core.bindings.instances import load_card
from lollms_server.zoos.bindings.gemini_binding import GeminiBinding
from tests.support.attached import attached
from tests.support.feeding import merged
from tests.support.gemini_server import KEY, MODELS, GeminiServer
from tests.support.ollama_server import png
from tests.support.raw_http import ask, prompt
from tests.support.server import Served, running_server

TEXT = "Grüße, 世界 🦙!"
WEATHER = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"n": {}}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
EARLIER = {
    "type": "gemini_binding",
    "binding_instance_name": "google",
    "default_model": "gemini-2.5-flash",
    "google_api_key": KEY,
    "auto_detect_limits": True,
    "ctx_size": 30720,
    "max_output_tokens": 2048,
    "safety_setting_harassment": "BLOCK_NONE",
    "safety_setting_hate_speech": "BLOCK_ONLY_HIGH",
    "safety_setting_sexually_explicit": "BLOCK_MEDIUM_AND_ABOVE",
    "safety_setting_dangerous_content": "BLOCK_LOW_AND_ABOVE",
}
"""An instance file as the earlier server wrote it."""

ASKED: dict[str, dict[str, Any]] = {
    "text": {"prompt": TEXT},
    "thoughts": {"prompt": TEXT, "thinking": 100},
    "tools": {"prompt": "tool:weather", "tools": [WEATHER]},
    "image in": {"prompt": "?", "images": [png(5, 4)]},
    "image out": {"prompt": "draw", "model": "gemini-2.5-flash-image"},
    "schema": {"prompt": "?", "schema": SCHEMA},
    "length": {"prompt": TEXT, "max_tokens": 1},
    "system folded in": {"prompt": TEXT, "system": "Be kind.", "model": "gemma-3-27b-it", "temperature": 0.5},
    "blocked": {"prompt": "block"},
    "unsafe": {"prompt": "unsafe"},
    "nobody": {"prompt": "x", "model": "nobody"},
    "broken": {"prompt": "a story", "model": "broken"},
    "broken plainly": {"prompt": "a story", "model": "broken-plainly"},
}


class Outcome(NamedTuple):
    """What was shown, and how it ended."""

    events: list[Event]
    text: str
    reply: Reply | None
    error: type[LollmsError] | None


class Place(NamedTuple):
    """Google, and a server in front of it."""

    google: GeminiServer
    server: Served


def told(events: list[Event], reply: Reply | None, error: type[LollmsError] | None) -> Outcome:
    shown = merged([event for event in events if not isinstance(event, Done | Native | Notice)])
    return Outcome(shown, reply.text if reply is not None else "", reply if error is None else None, error)


def of_client(client: LollmsClient, asked: dict[str, Any]) -> Outcome:
    events: list[Event] = []
    try:
        with client, client.stream(**asked) as stream:
            events += stream
            return told(events, stream.result(), None)
    except LollmsError as error:
        return told(events, error.partial, type(error))


def sync_client(place: Place, asked: dict[str, Any]) -> Outcome:
    return of_client(LollmsClient("gemini", place.google.base, model_name="gemini-2.5-flash", service_key=KEY), asked)


def async_client(place: Place, asked: dict[str, Any]) -> Outcome:
    events: list[Event] = []
    config = {"host_address": place.google.base, "model_name": "gemini-2.5-flash", "google_api_key": KEY}

    async def work() -> Reply:
        made = AsyncLollmsClient("gemini", llm_binding_config=config)
        async with made, made.stream(**asked) as stream:
            async for event in stream:
                events.append(event)
            return await stream.result()

    try:
        return told(events, asyncio.run(work()), None)
    except LollmsError as error:
        return told(events, error.partial, type(error))


def through_a_server(place: Place, asked: dict[str, Any]) -> Outcome:
    server = place.server
    return of_client(LollmsClient("lollms", server.url, service_key=server.key), asked)


FACES: tuple[Callable[[Place, dict[str, Any]], Outcome], ...] = (async_client, through_a_server)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with GeminiServer() as google:
        settings = {**EARLIER, "base_url": google.base}
        instances = {
            "google": settings,
            "small": {
                **settings,
                "binding_instance_name": "small",
                "auto_detect_limits": False,
                "google_api_key": None,
                "api_key": KEY,
            },
        }
        config = {"bindings_map": dict.fromkeys(instances, "gemini_binding"), "defaults": {"ttt_binding": "google"}}
        with running_server(None, config, instances) as served:
            served.wait_until(lambda: served.services.manager.models != "loading", 20)
            yield Place(google, served)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", ASKED)
def test_every_face_shows_the_same(name: str, face: Callable[..., Outcome], place: Place) -> None:
    expected = sync_client(place, ASKED[name])
    found = face(place, ASKED[name])
    assert found.events == expected.events
    assert (found.text, found.error) == (expected.text, expected.error)
    if expected.reply is not None and found.reply is not None:
        for field in ("thoughts", "tool_calls", "media", "usage", "finish_reason", "model"):
            assert getattr(found.reply, field) == getattr(expected.reply, field), field


def test_what_the_answers_are(place: Place) -> None:
    replies = {name: sync_client(place, asked) for name, asked in ASKED.items()}
    text = replies["text"].reply
    assert text is not None
    assert (text.text, text.usage, text.model) == (TEXT, Usage(11, 7, 18), "gemini-2.5-flash")
    thoughts = replies["thoughts"].reply
    assert thoughts is not None and (thoughts.thoughts, thoughts.usage) == ("Let me see.", Usage(11, 10, 21))
    tools = replies["tools"].reply
    assert tools is not None and tools.finish_reason == "tool_calls"
    assert tools.tool_calls == tuple(ToolCall(f"call_{at}", "weather", {"n": at, "ü": ["☃"]}) for at in range(2))
    assert replies["image in"].text == "I see [(5, 4)]."
    drawn = replies["image out"].reply
    assert drawn is not None and drawn.media == (Media(png(5, 4), "image/png"),)
    assert replies["schema"].text == '{"age": 1}'
    assert replies["system folded in"].text == f"Be kind.\n\n{TEXT}"
    finishes = {name: outcome.reply.finish_reason for name, outcome in replies.items() if outcome.reply is not None}
    assert (finishes["length"], finishes["blocked"], finishes["unsafe"]) == ("length", *2 * ("content_filter",))
    assert replies["nobody"].error is UnknownModel
    for name in ("broken", "broken plainly"):
        assert (replies[name].events, replies[name].text) == ([TextDelta("a s")], "a s")
        assert replies[name].error is Overloaded


def test_whole_and_streamed_are_the_same(place: Place) -> None:
    with LollmsClient("gemini", place.google.base, model_name="gemini-2.5-flash", service_key=KEY) as client:
        for name in ("text", "thoughts", "tools", "image in", "image out", "schema", "length", "blocked", "unsafe"):
            assert client.complete(**ASKED[name]) == client.stream(**ASKED[name]).result(), name


def test_a_refusal_is_learned_once(place: Place) -> None:
    asked = {"prompt": "Hi", "system": "Be kind.", "model": "gemma-3-27b-it"}
    more = {"presence_penalty": 0.5, "frequency_penalty": 0.5, "thinking": True, "top_k": 3}
    with LollmsClient("gemini", place.google.base, service_key=KEY) as client:
        begin = len(place.google.asked("generateContent"))
        first, second = (client.complete(**asked, **more) for _ in range(2))
        assert first == second and first.text == "Be kind.\n\nHi"
        sent = [seen.json() for seen in place.google.asked("generateContent")[begin:]]
        assert len(sent) == 5  # three refusals, and both answers
        assert sent[-1] == sent[-2]
        parts = [{"text": "Be kind.\n\n"}, {"text": "Hi"}]
        assert sent[-1] == {"contents": [{"role": "user", "parts": parts}], "generationConfig": {"topK": 3}}
        actions = {item.name: item.action for item in first.receipt}
        dropped = dict.fromkeys(("presence_penalty", "frequency_penalty", "thinking"), "dropped")
        assert actions == {"system": "rewritten", **dropped}
        with pytest.raises(UnsupportedFeature, match="Function calling is not enabled"):
            client.complete("Hi", tools=[WEATHER], model="gemma-3-27b-it")


def test_signed_calls_go_back_and_unsigned_ones_are_marked(place: Place) -> None:
    with LollmsClient("gemini", place.google.base, model_name="gemini-3-pro-preview", service_key=KEY) as client:
        asked = client.complete("tool:weather", tools=[WEATHER])
        results = [Message.tool(call.id, "sun") for call in asked.tool_calls]
        for native in (asked.native, None):
            turns = [Message.user("?"), Message.assistant("", asked.tool_calls, native), *results]
            found = client.complete(turns, tools=[WEATHER])
            assert found.text == "weather said sun weather said sun"
            assert [item.name for item in found.receipt] == ([] if native else ["tool_calls"])


def test_leaving_closes_the_connection(place: Place) -> None:
    place.google.hold()
    try:
        with LollmsClient("gemini", place.google.base, model_name="gemini-2.5-flash", service_key=KEY) as client:
            with client.stream("a long story") as stream:
                assert next(iter(stream)) == TextDelta("a l")
            assert place.google.requests[-1].connection.closed_after() < 0.25

        async def leave() -> None:
            async with AsyncLollmsClient(
                "gemini", place.google.base, model_name="gemini-2.5-flash", service_key=KEY
            ) as client:
                async with client.stream("a long story") as stream:
                    assert await anext(aiter(stream)) == TextDelta("a l")
                assert place.google.requests[-1].connection.closed_after() < 0.25

        asyncio.run(leave())
        with (
            LollmsClient("lollms", place.server.url, service_key=place.server.key) as client,
            client.stream("a long story") as stream,
        ):
            assert next(event for event in stream if isinstance(event, TextDelta)) == TextDelta("a l")
        assert place.google.requests[-1].connection.closed_after() < 1.0
    finally:
        place.google.release()


# ---- models, tokens, embeddings ------------------------------------------------------------------------------------

USEFUL = [name for name in MODELS if not name.startswith("imagen")]


def test_models_are_listed_over_all_pages(place: Place) -> None:
    with LollmsClient("gemini", place.google.base, service_key=KEY) as client:
        models = {each["model_name"]: each for each in client.list_models()}
        assert list(models) == USEFUL
        assert models["gemini-2.5-flash"]["context_size"] == 1048576
        assert models["gemini-2.5-flash"]["outputTokenLimit"] == 65536
        assert client.get_model_info()["model_name"] == "gemini-1.5-pro-latest"
        assert client.get_ctx_size("gemma-3-27b-it") == 131072
        assert client.get_ctx_size("nobody") is None


def test_tokens_and_embeddings(place: Place) -> None:
    with LollmsClient("gemini", place.google.base, model_name="gemini-2.5-flash", service_key=KEY) as client:
        assert client.count_tokens("one two three") == 3
        assert client.count_tokens("") == 0
        texts = ["x" * size for size in range(1, 251)]
        assert [vector[0] for vector in client.embed(texts)] == [float(size) for size in range(1, 251)]
        assert len(place.google.asked("batchEmbedContents")) == 3
        assert client.embed("ab") == [2.0, 0.5, -1.0]
        with pytest.raises(UnsupportedFeature):
            client.tokenize("x")
        with pytest.raises(UnknownModel):
            client.embed("x", model="gemini-2.5-flash")


def test_a_server_tells_of_models_and_keeps_to_its_settings(place: Place) -> None:
    async def work(**config: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with attached(GeminiBinding, **{**EARLIER, "base_url": place.google.base, **config}) as binding:
            assert await binding.count_tokens("one two") == 2
            assert (await binding.embed(["a", "bc"])).vectors == ((1.0, 0.5, -1.0), (2.0, 0.5, -1.0))
            return await binding.get_model_info("gemini-2.5-flash"), await binding.list_available_models()

    info, listed = asyncio.run(work())
    assert (info["context_size"], info["max_output_tokens"], info["model_type"]) == (1048576, 65536, "vlm")
    assert [model["name"] for model in listed] == USEFUL
    info, listed = asyncio.run(work(auto_detect_limits=False))
    assert (info["context_size"], info["max_output_tokens"]) == (30720, 2048)
    assert {model["context_size"] for model in listed} == {30720}


def test_a_server_says_whether_google_answers(place: Place) -> None:
    async def healthy(**config: Any) -> tuple[bool, str]:
        async with attached(GeminiBinding, **{**EARLIER, "base_url": place.google.base, **config}) as binding:
            return await binding.health_check()

    assert asyncio.run(healthy())[0] is True
    well, words = asyncio.run(healthy(google_api_key="AIza-canary-wrong-0123456789"))
    assert not well and "rejected the key" in words and "canary" not in words


def test_an_instance_of_the_earlier_server_is_made_as_it_is() -> None:
    async def target() -> Target:
        async with attached(GeminiBinding, **EARLIER) as binding:
            found = binding._target
            assert isinstance(found, Target)
            return found

    found = asyncio.run(target())
    assert (found.base_url, found.key) == ("https://generativelanguage.googleapis.com/v1beta", KEY)
    assert (found.model, "max_output_tokens" in found.options) == ("gemini-2.5-flash", False)


def test_the_card_has_the_settings_of_the_earlier_one() -> None:
    fields = load_card(Path(inspect.getfile(GeminiBinding)).parent).schema.fields
    thresholds = ["BLOCK_NONE", "BLOCK_ONLY_HIGH", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_LOW_AND_ABOVE"]
    earlier = {
        "default_model": "gemma-3-27b-it",
        "auto_detect_limits": True,
        "ctx_size": 30720,
        "max_output_tokens": 2048,
    }
    assert {name: fields[name].default for name in earlier} == earlier
    assert fields["google_api_key"].secret and fields["api_key"].secret
    for name in (name for name in EARLIER if name.startswith("safety_setting_")):
        assert (fields[name].default, list(fields[name].options)) == ("BLOCK_MEDIUM_AND_ABOVE", thresholds)


def test_a_threshold_that_is_none_is_refused_at_start() -> None:
    async def start() -> None:
        async with attached(GeminiBinding, **{**EARLIER, "safety_setting_harassment": "BLOCK_SOME"}):
            raise AssertionError("it started")

    with pytest.raises(ConfigError, match="safety_setting_harassment"):
        asyncio.run(start())


def test_the_settings_of_an_instance_go_along(place: Place) -> None:
    more = {"binding_name": "small", "parameters": {"max_tokens": 5000}}
    answer = ask(place.server.port, "POST", "/api/v1/generate", prompt("Hi", **more), place.server.headers)
    assert answer.status == 200, answer.json()
    (item,) = answer.json()["output"]
    assert [each["action"] for each in item["metadata"]["receipt"]] == ["clamped"]
    body = place.google.asked("generateContent")[-1].json()
    assert body["generationConfig"]["maxOutputTokens"] == 2048
    assert {each["category"]: each["threshold"] for each in body["safetySettings"]} == {
        "HARM_CATEGORY_HARASSMENT": "BLOCK_NONE",
        "HARM_CATEGORY_HATE_SPEECH": "BLOCK_ONLY_HIGH",
        "HARM_CATEGORY_SEXUALLY_EXPLICIT": "BLOCK_MEDIUM_AND_ABOVE",
        "HARM_CATEGORY_DANGEROUS_CONTENT": "BLOCK_LOW_AND_ABOVE",
    }


# ---- keys ----------------------------------------------------------------------------------------------------------


def test_the_key_is_in_no_address_error_log_or_repr(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "AIza-canary-wrong-0123456789"
    with caplog.at_level("DEBUG"), LollmsClient("gemini", place.google.base, service_key=wrong) as client:
        with pytest.raises(LollmsError) as caught:
            client.complete("Hi")
        binding: Any = client.binding
        said = [str(caught.value), repr(caught.value), repr(binding), repr(binding.target), repr(vars(caught.value))]
        assert not any("canary" in text for text in [*said, caplog.text])
    assert not any(key in seen.path for seen in place.google.requests for key in (KEY, "canary", "key="))


def test_keys_of_the_environment_go_to_google_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "canary-second")
    own: Any = LollmsClient("gemini").binding
    assert (own.host_address, own.find_key()) == ("https://generativelanguage.googleapis.com/v1beta", "canary-second")
    with (
        LollmsClient("gemini", place.google.base) as client,
        pytest.raises(LollmsError, match="GEMINI_API_KEY was not"),
    ):
        client.complete("Hi")
    monkeypatch.setenv("GOOGLE_API_KEY", "canary-first")
    assert own.find_key() == "canary-first"
    with LollmsClient("gemini", place.google.base) as client:
        with pytest.raises(LollmsError) as caught:
            client.complete("Hi")
        assert "GOOGLE_API_KEY was not sent" in str(caught.value) and "canary" not in str(caught.value)
        assert "x-goog-api-key" not in place.google.requests[-1].headers
