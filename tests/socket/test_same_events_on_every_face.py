"""The same call gives the same events: scripted in place, through the server with the sync and the async upstream, and
through the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import LollmsError, RateLimited, TruncatedStream
from lollms_core.flows.answer import answer
from lollms_core.protocols.base import Target
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.testing.scripted import ScriptedReply
from lollms_core.types import Batch, Done, Event, GenerationCall, Message, Reply, TextDelta, ToolCall, Usage
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import adrive, drive
from lollms_runtime.scripted import ScriptedPorts
from lollms_runtime.transport.aiohttp_async import AiohttpTransport
from lollms_runtime.transport.httpx2_sync import Httpx2Transport
from lollms_runtime.upstream import AsyncUpstream, Upstream
from tests.support.feeding import merged
from tests.support.server import PortsBinding, Served, running_server

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
    "error at once": RateLimited("Slow down."),
}


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


def in_place(reply: ScriptedReply, server: Served, call: GenerationCall) -> Outcome:
    return pulled(ScriptedPorts([reply]), call)


def sync_upstream(reply: ScriptedReply, server: Served, call: GenerationCall) -> Outcome:
    transport = Httpx2Transport()
    try:
        return pulled(Upstream(LollmsCodec(), Target(server.url, server.key), transport), call)
    finally:
        transport.close()


def async_upstream(reply: ScriptedReply, server: Served, call: GenerationCall) -> Outcome:
    events: list[Event] = []

    async def sink(batch: Batch) -> None:
        events.extend(batch)

    async def run() -> Reply:
        transport = AiohttpTransport()
        try:
            upstream = AsyncUpstream(LollmsCodec(), Target(server.url, server.key), transport)
            return await adrive(answer(call), upstream, sink)  # type: ignore[arg-type]
        finally:
            await transport.close()

    try:
        return told(events, asyncio.run(run()), None)
    except LollmsError as error:
        return told(events, error.partial, type(error))


def through_client(reply: ScriptedReply, server: Served, call: GenerationCall) -> Outcome:
    client = LollmsClient(binding_name="lollms", host_address=server.url, service_key=server.key)
    events: list[Event] = []
    try:
        with client.stream(call.messages[-1].text) as stream:
            events += stream
            return told(events, stream.result(), None)
    except LollmsError as error:
        return told(events, error.partial, type(error))


FACES = (sync_upstream, async_upstream, through_client)


def cut_off(call: GenerationCall) -> list[Batch | Exception]:
    return [[TextDelta("Hel")], [TextDelta("lo")], TruncatedStream("Cut off.")]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """Answers a prompt that names one of the replies with that reply."""
    binding = PortsBinding(lambda call: REPLIES.get(call.messages[-1].text) or cut_off(call))
    with running_server({"scripted": binding}) as served:
        yield served


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", REPLIES)
def test_the_same_call_gives_the_same_events(
    name: str, face: Callable[[ScriptedReply, Served, GenerationCall], Outcome], server: Served
) -> None:
    call = GenerationCall((Message.user(name),), stream=True)
    assert face(REPLIES[name], server, call) == in_place(REPLIES[name], server, call)


@pytest.mark.parametrize("face", FACES)
def test_an_error_in_the_middle_keeps_what_came_on_every_face(
    face: Callable[[ScriptedReply, Served, GenerationCall], Outcome], server: Served
) -> None:
    events, partial, error = face("", server, GenerationCall((Message.user("break"),), stream=True))
    assert error is TruncatedStream
    assert partial is not None
    assert partial.text == "Hello"
    assert events == [TextDelta("Hello")]
