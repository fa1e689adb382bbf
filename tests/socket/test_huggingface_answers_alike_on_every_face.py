"""Hugging Face over real sockets: both clients, and both through a server that has an instance of it, are given the
same events, replies and errors, for models that chat and for models that only continue a text."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from lollms_client import LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_core.errors import AuthFailed, Cancelled, LollmsError
from lollms_core.types import Event, Reply, TextDelta, ThoughtDelta, ToolCallDelta
from tests.support.feeding import merged
from tests.support.huggingface_server import HuggingFaceServer
from tests.support.media_files import png
from tests.support.server import Served, running_server

KEY = "hf_canary_0123456789abcdefghij"
FORMATS = ("Chat", "Instruct")
TOOL = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {"n": {}}}}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
LIMIT = 0.25


class Servers(NamedTuple):
    """Who answers, and a lollms server in front."""

    face: HuggingFaceServer
    front: Served


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with HuggingFaceServer(key=KEY) as face:
        common = {"type": "huggingface_binding", "default_model": "org/teller", "hf_api_key": KEY}
        instances = {
            "chat": {**common, "base_url": face.origin},
            "instruct": {**common, "base_url": f"{face.origin}/v1/", "completion_format": "instruct"},
            "locked": {**common, "base_url": face.origin, "hf_api_key": "wrong"},
            "embedder": {**common, "base_url": face.url("embedder")},
        }
        config = {"bindings_map": dict.fromkeys(instances, "huggingface_binding"), "defaults": {"ttt_binding": "chat"}}
        with running_server(None, config, instances) as front:
            front.wait_until(lambda: front.services.manager.models != "loading", 20)
            yield Servers(face, front)


def direct(servers: Servers, form: str, **more: Any) -> dict[str, Any]:
    config = {"hf_api_key": KEY, "default_completion_format": form, **more}
    return {
        "binding_name": "hugging_face_inference_api",
        "host_address": servers.face.origin,
        "model_name": "org/teller",
        "llm_binding_config": config,
    }


def through(servers: Servers, form: str) -> dict[str, Any]:
    return {
        "binding_name": "lollms",
        "host_address": servers.front.url,
        "service_key": servers.front.key,
        "llm_binding_config": {"instance": form.lower()},
    }


Settings = Callable[[Servers, str], dict[str, Any]]
Outcome = tuple[list[Any], Any, type[LollmsError] | None]


def told(events: list[Event], reply: Reply | None, error: type[LollmsError] | None) -> Outcome:
    """The events without progress and ends, and what a reply says."""
    shown = merged([each for each in events if isinstance(each, TextDelta | ThoughtDelta | ToolCallDelta)])
    kinds = [
        (each.name, each.arguments.replace(" ", "")) if isinstance(each, ToolCallDelta) else each for each in shown
    ]
    if reply is None:
        return kinds, None, error
    calls = [(each.name, each.arguments) for each in reply.tool_calls]
    tokens = reply.usage.completion_tokens if reply.usage else None
    receipt = sorted({(each.name, each.action) for each in reply.receipt})
    return kinds, (reply.text, reply.thoughts, calls, reply.finish_reason, tokens, reply.model, receipt), error


def by_thread(settings: dict[str, Any], prompt: Any, stream: bool, params: dict[str, Any]) -> Outcome:
    events: list[Event] = []
    with LollmsClient(**settings) as client:
        try:
            if not stream:
                return told([], client.complete(prompt, **params), None)
            with client.stream(prompt, **params) as answer:
                events += answer
                return told(events, answer.result(), None)
        except LollmsError as error:
            return told(events, None, type(error))


def by_task(settings: dict[str, Any], prompt: Any, stream: bool, params: dict[str, Any]) -> Outcome:
    events: list[Event] = []

    async def run() -> Outcome:
        async with AsyncLollmsClient(**settings) as client:
            if not stream:
                return told([], await client.complete(prompt, **params), None)
            async with client.stream(prompt, **params) as answer:
                async for event in answer:
                    events.append(event)
                return told(events, await answer.result(), None)

    try:
        return asyncio.run(run())
    except LollmsError as error:
        return told(events, None, type(error))


FACES: dict[str, tuple[Any, Settings]] = {
    "client": (by_thread, direct),
    "async client": (by_task, direct),
    "server": (by_thread, through),
    "async through the server": (by_task, through),
}

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("Grüße, 世界 🦙!", {"temperature": 0.5}),
    "an end by length": ("one two three", {"n_predict": 1}),
    "tools": ("tool:look", {"tools": [TOOL]}),
    "no tool is needed": ("Hello\n", {"tools": [TOOL]}),
    "schema": ("?", {"schema": SCHEMA}),
    "quota": ("quota", {}),
    "a value out of bounds": ("x", {"top_p": 0.0}),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", CALLS)
def test_every_face_tells_the_same(name: str, form: str, servers: Servers) -> None:
    prompt, params = CALLS[name]
    first = by_thread(direct(servers, form), prompt, True, params)
    assert (first[2] is None) == (name not in ("quota", "a value out of bounds"))
    for ask, settings in FACES.values():
        assert ask(settings(servers, form), prompt, True, params) == first
        events, said, error = ask(settings(servers, form), prompt, False, params)
        assert (events, said, error) == ([], first[1], first[2])


@pytest.mark.parametrize("form", FORMATS)
def test_what_the_faces_tell(form: str, servers: Servers) -> None:
    def said(name: str) -> Any:
        return by_thread(direct(servers, form), *CALLS[name][:1], True, CALLS[name][1])[1]

    text, thoughts, calls, finish, tokens, model, receipt = said("text")
    assert (text, thoughts, calls, finish, model, receipt) == ("Grüße, 世界 🦙!", "", [], "stop", "org/teller", [])
    assert tokens
    call = ("look", {"n": 0, "ü": ["☃"]})
    assert said("tools")[:4] == ("Let me see." if form == "Instruct" else "", "", [call, call], "tool_calls")
    note = [("tools", "rewritten")] if form == "Instruct" else []
    assert said("tools")[6] == said("no tool is needed")[6] == note
    assert said("no tool is needed")[0] == "Hello\n"
    assert said("schema")[0] == '{"age": 1}'
    if form == "Instruct":
        assert said("an end by length")[3] == "length"


@pytest.mark.parametrize("form", FORMATS)
def test_results_of_tools_and_images_reach_the_model(form: str, servers: Servers) -> None:
    asked = ask_everywhere(servers, form, "tool:look", tools=[TOOL])
    assert asked[2] == [("look", {"n": 0, "ü": ["☃"]})] * 2
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"n": 1}'}}
    turns = [
        {"role": "user", "content": "tool:look"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sun", "tool_call_id": "c1"},
    ]
    found = ask_everywhere(servers, form, turns, tools=[TOOL])
    assert found[0] == ("look said sun" if form == "Instruct" else "c1 said sun")
    picture = base64.b64encode(png(3, 2)).decode()
    if form == "Chat":
        assert ask_everywhere(servers, form, "What is this?", images=[picture])[0] == "1 images"
    else:
        errors = {ask(settings(servers, form), "?", True, {"images": [picture]})[2] for ask, settings in FACES.values()}
        assert all(error is not None for error in errors)


def ask_everywhere(servers: Servers, form: str, prompt: Any, **params: Any) -> Any:
    """What is said, the same on every face, streamed or not."""
    found = [
        ask(settings(servers, form), prompt, stream, params)
        for ask, settings in FACES.values()
        for stream in (True, False)
    ]
    assert all(each[1:] == found[0][1:] for each in found), found
    assert found[0][2] is None
    return found[0][1]


def test_a_failure_in_the_middle_keeps_what_came(servers: Servers) -> None:
    for ask, settings in FACES.values():
        events, _, error = ask(settings(servers, "Instruct"), "break", True, {})
        assert events == [TextDelta("bre")]
        assert error is not None and error.__name__ == "UpstreamFailed"


def test_a_stop_sequence_is_no_text(servers: Servers) -> None:
    for ask, settings in FACES.values():
        for stream in (True, False):
            said = ask(settings(servers, "Instruct"), "one. two", stream, {"stop": [". "]})[1]
            assert (said[0], said[3]) == ("one", "stop")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("face", FACES)
def test_who_stops_closes_the_connection(face: str, form: str, servers: Servers) -> None:
    ask, settings = FACES[face]
    before = len(servers.face.requests)
    if ask is by_thread:
        with LollmsClient(**settings(servers, form)) as client:
            with client.stream("wait") as stream:
                assert any(isinstance(event, TextDelta) for event in stream if isinstance(event, TextDelta))
                seen = servers.face.wait_request(before + 1)
            assert seen.connection.closed_after() < LIMIT
            with pytest.raises(Cancelled):
                stream.result()
        return

    async def run() -> None:
        async with AsyncLollmsClient(**settings(servers, form)) as client:
            async with client.stream("wait") as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        break
            seen = servers.face.wait_request(before + 1)
            assert await asyncio.to_thread(seen.connection.closed_after) < LIMIT

    asyncio.run(run())


# ---- keys, models, embeddings --------------------------------------------------------------------------------------


def test_a_key_of_the_environment_goes_to_hugging_face_alone(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = direct(servers, "Chat", hf_api_key="")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, KEY)
        before = len(servers.face.requests)
        with LollmsClient(**settings) as client, pytest.raises(AuthFailed, match=name) as caught:
            client.complete("x")
        assert KEY not in str(caught.value)
        assert "authorization" not in servers.face.requests[before].headers
        with LollmsClient("hugging_face_inference_api") as client:
            binding: Any = client.binding
            assert binding.find_key() == KEY
            assert binding.model_name == "mistralai/Mistral-7B-Instruct-v0.2"
            assert binding.host_address == "https://router.huggingface.co/v1"
        monkeypatch.delenv(name)


def test_a_wrong_key_is_told_and_never_shown(servers: Servers) -> None:
    with LollmsClient(**{**through(servers, "x"), "llm_binding_config": {"instance": "locked"}}) as client:
        with pytest.raises(AuthFailed) as caught:
            client.complete("x")
        assert "wrong" not in str(caught.value)


def test_models_and_embeddings(servers: Servers) -> None:
    with LollmsClient(**direct(servers, "Chat")) as client:
        (model,) = client.listModels()
        assert (model["model_name"], model["context_size"]) == ("org/teller", 2048)
        assert client.get_ctx_size() == 2048
    settings = {**direct(servers, "Chat"), "host_address": servers.face.url("embedder")}
    with LollmsClient(**settings) as client:
        assert client.embed(["a", "bc"]) == [[1.0, 0.5, -1.0], [2.0, 0.5, -1.0]]
        assert client.embed("abc") == [3.0, 0.5, -1.0]
    by_path = {**settings, "host_address": servers.face.url("hf-inference")}
    with LollmsClient(**by_path) as client:
        assert client.embed("abc", model="org/e") == [3.0, 0.5, -1.0]
        assert servers.face.requests[-1].path == "/hf-inference/models/org/e/pipeline/feature-extraction"
        assert client.complete("Hi").text == "Hi"
        assert servers.face.requests[-1].path == "/hf-inference/models/org/teller/v1/chat/completions"


def test_an_old_model_that_knows_no_details_is_asked_without_them(servers: Servers) -> None:
    settings = {**direct(servers, "Instruct"), "host_address": servers.face.url("hf-inference")}
    with LollmsClient(**{**settings, "model_name": "org/old"}) as client:
        reply = client.complete("Hi")
        assert (reply.text, reply.usage) == ("Hi", None)
        assert [(item.name, item.action) for item in reply.receipt] == [("details", "dropped")]
        before = len(servers.face.requests)
        client.complete("Hi")
        assert len(servers.face.requests) == before + 1
