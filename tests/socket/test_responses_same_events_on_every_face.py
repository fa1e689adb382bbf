"""The Responses protocol over real sockets: clients and a server's instance give the same events; `auto` learns."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import (
    ConfigError,
    InvalidRequest,
    LollmsError,
    RateLimited,
    TransportError,
    UnknownModel,
    UpstreamFailed,
)
from lollms_core.protocols.dialects import DIALECTS
from lollms_core.types import (
    Done,
    Event,
    Message,
    Native,
    Notice,
    Progress,
    Reply,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from lollms_server.zoos.bindings.openai_binding import OpenAIBinding
from tests.support.attached import attached, reply_of, said
from tests.support.chaos import ChaosServer, Seen
from tests.support.feeding import merged
from tests.support.ollama_server import png
from tests.support.responses_server import THOUGHTS, responding
from tests.support.server import Served, running_server

TEXT = "Grüße \u2028 🦙 end"
TOOL = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
ARGUMENTS = {"n": 0, "ü": ["☃"]}

CALLS: dict[str, dict[str, Any]] = {
    "text": {"prompt": TEXT},
    "system and knobs": {"prompt": TEXT, "system": "Be kind.", "n_predict": 20, "temperature": 0.5, "seed": 3},
    "thoughts": {"prompt": TEXT, "model": "thinker"},
    "tools": {"prompt": "tool:weather", "tools": [TOOL]},
    "thoughts and tools": {"prompt": "tool:weather", "tools": [TOOL], "model": "thinker"},
    "a picture": {"prompt": "?", "images": [base64.b64encode(png()).decode()]},
    "a schema": {"prompt": "?", "schema": SCHEMA},
    "cut": {"prompt": TEXT, "model": "long"},
    "censored": {"prompt": TEXT, "model": "censored"},
    "refused": {"prompt": "refuse"},
    "no deltas": {"prompt": TEXT, "model": "silent"},
    "learned": {"prompt": TEXT, "model": "plain", "reasoning_effort": "low"},
    "failed": {"prompt": TEXT, "model": "failing"},
    "error": {"prompt": TEXT, "model": "erring"},
    "left": {"prompt": TEXT, "model": "leaving"},
    "nobody": {"prompt": TEXT, "model": "nobody"},
}
ERRORS = {"failed": UpstreamFailed, "error": RateLimited, "left": TransportError, "nobody": UnknownModel}

Outcome = tuple[list[Event], Reply | None, type[LollmsError] | None]


class World(NamedTuple):
    """The stand-in, and a server with an instance that asks it."""

    chaos: ChaosServer
    url: str
    server: Served


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ChaosServer() as chaos:
        url = chaos.add("responses", responding)
        instance = {"type": "openai_binding", "base_url": url, "api_key": "k", "default_model": "one"}
        config = {"bindings_map": {"near": "openai_binding"}, "defaults": {"ttt_binding": "near"}}
        with running_server(None, config, {"near": {**instance, "api": "responses"}}) as server:
            server.wait_until(lambda: server.services.manager.models != "loading", 20)
            yield World(chaos, url, server)


def told(events: list[Event], reply: Reply | None, error: type[LollmsError] | None) -> Outcome:
    """What comes of a call on every face: joined deltas without the remarks of a server, and without `Native`."""
    own = [event for event in events if not isinstance(event, Done | Native | Notice | Progress)]
    own = [_decoded(event) for event in merged(own)]
    kept = None if reply is None else (reply.text, reply.thoughts, _named(reply), reply.usage, reply.finish_reason)
    return own, kept, error  # type: ignore[return-value]


def _decoded(event: Any) -> Any:
    """A call of a tool has its arguments as JSON; how that is spaced does not matter."""
    return (
        (event.index, event.id, event.name, json.loads(event.arguments)) if isinstance(event, ToolCallDelta) else event
    )


def _named(reply: Reply) -> tuple[Any, ...]:
    receipt = tuple(sorted(item.name for item in reply.receipt))
    return reply.tool_calls, reply.model, receipt


def direct(world: World, api: str = "auto") -> dict[str, Any]:
    common = {"binding_name": "openai", "host_address": world.url, "service_key": "k", "model_name": "one"}
    return {**common, "llm_binding_config": {"api": api}}


def through(world: World) -> dict[str, Any]:
    return {"binding_name": "lollms", "host_address": world.server.url, "service_key": world.server.key}


def sync_client(arguments: dict[str, Any], call: dict[str, Any]) -> Outcome:
    events: list[Event] = []
    with LollmsClient(**arguments) as client:
        try:
            with client.stream(**call) as stream:
                events += stream
                return told(events, stream.result(), None)
        except LollmsError as error:
            return told(events, error.partial, type(error))


def async_client(arguments: dict[str, Any], call: dict[str, Any]) -> Outcome:
    events: list[Event] = []

    async def run() -> Outcome:
        async with AsyncLollmsClient(**arguments) as client:
            try:
                async with client.stream(**call) as stream:
                    async for event in stream:
                        events.append(event)
                    return told(events, await stream.result(), None)
            except LollmsError as error:
                return told(events, error.partial, type(error))

    return asyncio.run(run())


FACES: dict[str, Callable[[World, dict[str, Any]], Outcome]] = {
    "async client": lambda world, call: async_client(direct(world, "responses"), call),
    "server": lambda world, call: sync_client(through(world), call),
    "async through the server": lambda world, call: async_client(through(world), call),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_gives_the_same_events(name: str, face: str, world: World) -> None:
    expected = sync_client(direct(world, "responses"), CALLS[name])
    found = FACES[face](world, CALLS[name])
    assert found == expected
    wanted = ERRORS.get(name)
    assert expected[2] is wanted or (wanted is not None and issubclass(expected[2] or Exception, wanted))
    asked = [seen.path for seen in world.chaos.requests[-9:] if seen.method == "POST"]
    assert set(asked) == {"/responses/responses"}


def complete(world: World, **call: Any) -> Reply:
    with LollmsClient(**direct(world, "responses")) as client:
        return client.complete(**call)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ERRORS])
def test_streamed_or_whole_it_is_the_same_reply(name: str, world: World) -> None:
    with LollmsClient(**direct(world, "responses")) as client:
        with client.stream(**CALLS[name]) as stream:
            streamed = stream.result()
        assert client.complete(**CALLS[name]) == streamed


def test_what_the_answers_say(world: World) -> None:
    reply = complete(world, **CALLS["thoughts and tools"])
    assert reply.thoughts == "\n\n".join(THOUGHTS)
    assert reply.tool_calls == (ToolCall("call_a", "weather", ARGUMENTS), ToolCall("call_b", "weather", ARGUMENTS))
    assert (reply.finish_reason, reply.usage) == ("tool_calls", Usage(11, 7, 18))
    assert reply.native is not None and reply.native.protocol == "responses"
    assert complete(world, **CALLS["a picture"]).text == "1 images"
    assert complete(world, **CALLS["a schema"]).text == '{"age": 1}'
    assert complete(world, **CALLS["cut"]).finish_reason == "length"
    assert complete(world, **CALLS["censored"]).finish_reason == "content_filter"
    assert complete(world, **CALLS["refused"]).text == "I cannot help."
    assert complete(world, **CALLS["no deltas"]).text == TEXT
    assert {item.name for item in complete(world, **CALLS["system and knobs"]).receipt} == {"seed"}


def test_thoughts_go_back_with_their_calls_and_are_verified(world: World) -> None:
    with LollmsClient(**direct(world, "responses")) as client:
        first = client.complete(model="thinker", prompt="tool:weather", tools=[TOOL])
        turns = [
            Message.user("tool:weather"),
            Message.assistant(first.text, first.tool_calls, first.native),
            *(Message.tool(each.id, "sun") for each in first.tool_calls),
        ]
        assert client.complete(turns, model="thinker", tools=[TOOL]).text == "call_b said sun"
        sent = world.chaos.requests[-1].json()["input"]
        assert [item["type"] for item in sent[1:4]] == ["reasoning", "function_call", "function_call"]
        forged = first.native.data[0] | {"encrypted_content": "gAAAAAother"}  # type: ignore[union-attr]
        turns[1] = Message.assistant("", first.tool_calls, Native("responses", [forged, *first.native.data[1:]]))  # type: ignore[union-attr]
        with pytest.raises(InvalidRequest, match="could not be verified"):
            client.complete(turns, model="thinker", tools=[TOOL])


# ---- what is learned ------------------------------------------------------------------------------------------------


def paths(seen: list[Seen]) -> list[str]:
    return [each.path.removeprefix("/responses/") for each in seen]


LEARNED = ["chat/completions", "responses", "responses", "responses", "chat/completions"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_has_no_chats_is_asked_over_responses_from_the_second_request_on(
    stream: bool, world: World
) -> None:
    before = len(world.chaos.requests)
    with LollmsClient(**direct(world)) as client:
        for _ in range(3):
            asked = client.stream("Hi", model="deep").result() if stream else client.complete("Hi", model="deep")
            assert asked.text == "Hi"
        assert client.complete("Hi").text == "Hi"
        assert client.complete("Hi", model="deep").receipt == ()
    assert paths(world.chaos.requests[before:]) == [*LEARNED, "responses"]


def test_coroutines_learn_it_too(world: World) -> None:
    async def run() -> None:
        async with AsyncLollmsClient(**direct(world)) as client:
            for _ in range(3):
                assert (await client.complete("Hi", model="deep")).text == "Hi"
            await client.complete("Hi")

    before = len(world.chaos.requests)
    asyncio.run(run())
    assert paths(world.chaos.requests[before:]) == LEARNED


def test_an_instance_learns_it_too(world: World) -> None:
    async def run() -> None:
        async with attached(OpenAIBinding, base_url=world.url) as binding:
            for _ in range(3):
                assert (await reply_of(binding, said("Hi", "deep"))).text == "Hi"
            await reply_of(binding, said("Hi", "one"))

    before = len(world.chaos.requests)
    asyncio.run(run())
    assert paths(world.chaos.requests[before:]) == LEARNED


def test_a_model_that_does_not_exist_is_no_reason_to_try_again(world: World) -> None:
    before = len(world.chaos.requests)
    with LollmsClient(**direct(world)) as client, pytest.raises(UnknownModel):
        client.complete("Hi", model="nobody")
    assert paths(world.chaos.requests[before:]) == ["chat/completions"]


def test_told_to_chat_it_does_not_switch(world: World) -> None:
    with LollmsClient(**direct(world, "chat")) as client:
        with pytest.raises(InvalidRequest, match="v1/responses"):
            client.complete("Hi", model="deep")
        assert paths(world.chaos.requests[-1:]) == ["chat/completions"]


def test_what_a_model_refuses_over_responses_is_learned_once(world: World) -> None:
    before = len(world.chaos.requests)
    with LollmsClient(**direct(world, "responses")) as client:
        replies = [client.complete("Hi", model="plain", reasoning_effort="low") for _ in range(2)]
        assert [item.name for item in replies[1].receipt] == ["reasoning_effort"]
    bodies = [seen.json() for seen in world.chaos.requests[before:]]
    assert len(bodies) == 4
    assert [("include" in each, "reasoning" in each) for each in bodies][2:] == [(False, False)] * 2


# ---- settings -------------------------------------------------------------------------------------------------------


def test_an_unknown_api_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequest, match="auto, chat or responses"):
        LollmsClient(**direct(world, "soap"))


def made(**config: Any) -> OpenAIBinding:
    return OpenAIBinding({"type": "openai_binding", **config}, None)  # type: ignore[arg-type]


def test_an_instance_knows_the_address_or_is_told_who_is_there() -> None:
    def dialect(**config: Any) -> Any:
        return made(**config)._codec.dialect  # type: ignore[attr-defined]

    proxy = "http://127.0.0.1:9/v1"
    assert dialect() is DIALECTS["openai"]
    assert dialect(base_url="https://api.openai.com/v1/") is DIALECTS["openai"]
    assert dialect(base_url=proxy) is DIALECTS["openai-compatible"]
    assert dialect(base_url=proxy, provider=None, api="auto") is DIALECTS["openai-compatible"]
    assert dialect(base_url=proxy, provider="openai") is DIALECTS["openai"]
    assert dialect(base_url=proxy, provider="llamacpp", api="chat") is DIALECTS["llamacpp"]


def test_the_key_of_a_named_provider_goes_to_nobody_else() -> None:
    assert made(provider="groq", api_key="k")._target.base_url == DIALECTS["groq"].address
    assert made()._target.base_url == DIALECTS["openai"].address
    with pytest.raises(ConfigError, match="give base_url"):
        made(provider="openai-compatible")


@pytest.mark.parametrize("config", [{"provider": "nobody"}, {"api": "soap"}])
def test_an_instance_with_a_wrong_setting_says_so(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(config))):
        made(**config)


def test_deltas_come_before_the_end(world: World) -> None:
    """What is streamed is shown as it comes, not when it is done."""

    async def first() -> Any:
        async with AsyncLollmsClient(**direct(world, "responses")) as client, client.stream(TEXT) as stream:
            events: AsyncIterator[Event] = aiter(stream)
            return await anext(events)

    assert asyncio.run(first()) == TextDelta(TEXT[:3])
