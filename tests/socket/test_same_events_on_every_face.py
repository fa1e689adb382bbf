"""The same call gives the same events: scripted in place, through the server with the sync and the async upstream,
through the client, and through a second server that asks the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import LollmsError, RateLimited, TruncatedStream
from lollms_core.flows.answer import answer
from lollms_core.protocols.base import Target
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.testing.scripted import ScriptedReply
from lollms_core.types import (
    Batch,
    Done,
    Event,
    GenerationCall,
    Item,
    Media,
    Message,
    Notice,
    Output,
    Reply,
    TextDelta,
    ToolCall,
    Usage,
)
from lollms_runtime.async_drive import adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import drive
from lollms_runtime.scripted import ScriptedPorts
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.upstream import AsyncUpstream, Upstream
from tests.support.feeding import merged
from tests.support.server import PortsBinding, Served, running_server

PNG = b"\x89PNG\r\n\x1a\n..."

Outcome = tuple[list[Event], Reply | None, type[LollmsError] | None]

REPLIES: dict[str, ScriptedReply] = {
    "text": Reply(text="Hello, wide world.\nélan 世界 \u2028 end", usage=Usage(3, 4, 7), model="m"),
    "thoughts": Reply(text="42", thoughts="six times\nseven", usage=Usage(1, 2, 3), model="m"),
    "tool call": Reply(
        text="Let me look.",
        tool_calls=(ToolCall("c1", "look", {"where": "there", "deep": {"n": [1, None, True]}}),),
        finish_reason="tool_calls",
        model="m",
    ),
    "cut by length": Reply(text="one two", finish_reason="length", model="m"),
    "empty": Reply(text="", model="m"),
    "picture": Reply(text="Look.", media=(Media(PNG, "image/png"),), model="m"),
    "remark": [(Notice("info", "Half way.", {"done": 1}),), (TextDelta("There."),), (Done("stop", None, "m"),)],
    "shown, then set in order": [
        (TextDelta("One two"),),
        (Output((Item("text", "One two", metadata={"part": 1}), Item("info", "2 words")), replaces=True),),
        (Done("stop", Usage(1, 2, 3), "m"),),
    ],
    "error at once": RateLimited("Slow down.", retry_after=700),
}

ITEMS: dict[str, list[Batch | Exception]] = {
    "several things": [
        (TextDelta("First. "),),
        (
            Output(
                (
                    Item("text", "Second.", thoughts="Hm.", metadata={"part": 2}),
                    Item("image", "iVBORw0KGgo=", "image/png", metadata={"model": "x", "prompt_used": "a cat"}),
                    Item("json", {"k": [1, None]}),
                    Item("info", "2 words"),
                )
            ),
        ),
        (Done("stop", Usage(1, 2, 3), "m"),),
    ],
    "two thoughts": [(Output((Item("text", "A", thoughts="a"), Item("text", "B", thoughts="b"))),), (Done(model="m"),)],
}
"""Answers whose pieces travel as pieces: a stream shows their texts, and all of them at its end."""


class Servers(NamedTuple):
    """One that has the model, and one whose model is the first."""

    first: Served
    second: Served


Face = Callable[[ScriptedReply, Servers, GenerationCall], Outcome]


def told(events: list[Event], reply: Reply | None, error: type[LollmsError] | None) -> Outcome:
    """Without `Done`, whose content is in the reply, and with neighbouring deltas joined."""
    return merged([event for event in events if not isinstance(event, Done)]), reply, error


def pulled(ports: object, call: GenerationCall) -> Outcome:
    events: list[Event] = []
    steps = drive(answer(call), ports, Cancel())  # type: ignore[arg-type]
    try:
        while True:
            events += next(steps)
    except StopIteration as end:
        return told(events, end.value, None)
    except LollmsError as error:
        return told(events, error.partial, type(error))


def in_place(reply: ScriptedReply, servers: Servers, call: GenerationCall) -> Outcome:
    return pulled(ScriptedPorts([reply]), call)


def sync_upstream(reply: ScriptedReply, servers: Servers, call: GenerationCall) -> Outcome:
    transport = HttpTransport()
    try:
        return pulled(Upstream(LollmsCodec(), Target(servers.first.url, servers.first.key), transport), call)
    finally:
        transport.close()


def async_upstream(reply: ScriptedReply, servers: Servers, call: GenerationCall) -> Outcome:
    events: list[Event] = []

    async def sink(batch: Batch) -> None:
        events.extend(batch)

    async def run() -> Reply:
        transport = AsyncHttpTransport()
        try:
            upstream = AsyncUpstream(LollmsCodec(), Target(servers.first.url, servers.first.key), transport)
            return await adrive(answer(call), upstream, sink)  # type: ignore[arg-type]
        finally:
            await transport.close()

    try:
        return told(events, asyncio.run(run()), None)
    except LollmsError as error:
        return told(events, error.partial, type(error))


def through_client(reply: ScriptedReply, servers: Servers, call: GenerationCall) -> Outcome:
    return of_client(servers.first, call)


def through_a_second_server(reply: ScriptedReply, servers: Servers, call: GenerationCall) -> Outcome:
    return of_client(servers.second, call)


def of_client(server: Served, call: GenerationCall) -> Outcome:
    client = LollmsClient(binding_name="lollms", host_address=server.url, service_key=server.key)
    events: list[Event] = []
    try:
        with client.stream(call.messages[-1].text) as stream:
            events += stream
            return told(events, stream.result(), None)
    except LollmsError as error:
        return told(events, error.partial, type(error))


FACES = (sync_upstream, async_upstream, through_client, through_a_second_server)


def cut_off(call: GenerationCall) -> list[Batch | Exception]:
    return [[TextDelta("Hel")], [TextDelta("lo")], TruncatedStream("Cut off.")]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """The first answers a prompt that names one of the replies with that reply; the second asks the first."""
    known = {**REPLIES, **ITEMS}
    binding = PortsBinding(lambda call: known.get(call.messages[-1].text) or cut_off(call))
    with running_server({"scripted": binding}) as first:
        near = {"type": "lollms_binding", "base_url": first.url, "service_key": first.key}
        config = {"bindings_map": {"near": "lollms_binding"}, "defaults": {"ttt_binding": "near"}}
        with running_server(None, config, {"near": near}) as second:
            second.wait_until(lambda: second.services.manager.models != "loading", 20)
            yield Servers(first, second)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", REPLIES)
def test_the_same_call_gives_the_same_events(name: str, face: Face, servers: Servers) -> None:
    call = GenerationCall((Message.user(name),), stream=True)
    assert face(REPLIES[name], servers, call) == in_place(REPLIES[name], servers, call)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", ITEMS)
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_of_several_items_is_the_same_reply_and_its_texts_are_shown(
    stream: bool, name: str, face: Face, servers: Servers
) -> None:
    call = GenerationCall((Message.user(name),), stream=stream)
    events, reply, error = face(ITEMS[name], servers, call)
    _, expected, _ = in_place(ITEMS[name], servers, call)
    assert (reply, error) == (expected, None)
    assert reply is not None and len(reply.items) > 1
    if stream:
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == reply.text


@pytest.mark.parametrize("face", FACES)
def test_an_error_in_the_middle_keeps_what_came_on_every_face(face: Face, servers: Servers) -> None:
    events, partial, error = face("", servers, GenerationCall((Message.user("break"),), stream=True))
    assert error is TruncatedStream
    assert partial is not None
    assert partial.text == "Hello"
    assert events == [TextDelta("Hello")]
