"""A parameter that a model refuses is left out at once and from then on, and nothing is repeated after an event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lollms_core.errors import InvalidRequest, LollmsError
from lollms_core.fold import ReplyFold
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.lessons import Lesson
from lollms_core.protocols.openai import ChatCodec
from lollms_core.types import GenerationCall, Message, Params, Reply
from lollms_runtime.cancel import Cancel
from lollms_runtime.lesson_book import LessonBook
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.upstream import AsyncUpstream, Upstream
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, reply, stream_head
from tests.support.openai_server import answering
from tests.support.upstreams import KINDS, target

Rules = Callable[[dict[str, Any]], tuple[str, str | None] | None]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def strict(refused: Rules) -> Any:
    """A model that answers, unless `refused` names what it does not take: a message and a parameter."""

    async def mode(connection: Connection, seen: Seen) -> None:
        found = refused(seen.json())
        if found is None:
            return await answering(connection, seen)
        error = {"message": found[0], "param": found[1], "type": "invalid_request_error", "code": None}
        await reply(connection, json.dumps({"error": error}).encode(), 400, "Bad Request")

    return mode


def reasoning(body: dict[str, Any]) -> tuple[str, str | None] | None:
    """What the reasoning models of one provider say."""
    if body["model"] != "thinker-1":
        return None
    for name in ("temperature", "top_p"):
        if name in body:
            return f"Unsupported value: '{name}' does not support 0.5 with this model. Only the default (1) value", name
    return None


def asked(model: str = "thinker-1", **params: Any) -> GenerationCall:
    return GenerationCall((Message.user("Hi"),), model, Params(**params), stream=True)


def answers(
    kind: str, url: str, *calls: GenerationCall, lessons: LessonBook | None = None
) -> list[Reply | LollmsError]:
    """The answers to calls one after the other over one binding."""
    codec, book = ChatCodec(OPENAI), lessons or LessonBook()
    found: list[Reply | LollmsError] = []
    if kind == "threads":
        transport = HttpTransport()
        upstream = Upstream(codec, target(url), transport, lessons=book)
        for call in calls:
            fold = ReplyFold()
            try:
                with upstream.open(call, Cancel()) as batches:
                    for batch in batches:
                        fold.add(batch)
            except LollmsError as error:
                found.append(error)
            else:
                found.append(fold.done())
        transport.close()
        return found

    async def work() -> None:
        transport = AsyncHttpTransport()
        upstream = AsyncUpstream(codec, target(url), transport, lessons=book)
        for call in calls:
            fold = ReplyFold()
            try:
                async with upstream.open(call) as batches:
                    async for batch in batches:
                        fold.add(batch)
            except LollmsError as error:
                found.append(error)
            else:
                found.append(fold.done())
        await transport.close()

    asyncio.run(work())
    return found


def bodies(chaos: ChaosServer) -> list[dict[str, Any]]:
    return [seen.json() for seen in chaos.requests]


def test_one_refusal_costs_one_request_and_later_calls_none(kind: str, chaos: ChaosServer) -> None:
    url = chaos.add("model", strict(reasoning))
    call = asked(temperature=0.5, max_tokens=9)
    first, second = answers(kind, url, call, call)
    assert isinstance(first, Reply) and isinstance(second, Reply)
    assert first.text == "Hi"
    assert first == second
    assert [("temperature" in body, body["max_completion_tokens"]) for body in bodies(chaos)] == [
        (True, 9),
        (False, 9),
        (False, 9),
    ]
    assert [(item.name, item.action) for item in first.receipt] == [("temperature", "dropped")]


def test_several_refusals_are_learned_one_after_the_other(kind: str, chaos: ChaosServer) -> None:
    url = chaos.add("model", strict(reasoning))
    (found,) = answers(kind, url, asked(temperature=0.5, top_p=0.5))
    assert isinstance(found, Reply)
    assert [item.name for item in found.receipt] == ["temperature", "top_p"]
    assert len(chaos.requests) == 3


def test_another_model_is_asked_for_all_of_it(kind: str, chaos: ChaosServer) -> None:
    url = chaos.add("model", strict(reasoning))
    _, found = answers(kind, url, asked(temperature=0.5), asked("plain", temperature=0.5))
    assert isinstance(found, Reply) and found.receipt == ()
    assert bodies(chaos)[-1]["temperature"] == 0.5


def test_a_refusal_that_stays_is_an_error_and_teaches_nothing(kind: str, chaos: ChaosServer) -> None:
    words = "Your words about temperature are not supported here."
    url = chaos.add("model", strict(lambda body: (words, None)))
    book = LessonBook()
    found, again = answers(kind, url, asked(temperature=0.5), asked(temperature=0.5), lessons=book)
    for error in (found, again):
        assert isinstance(error, InvalidRequest) and words in str(error)
    assert len(chaos.requests) == 4
    assert book.known(target(url), "thinker-1") == ()


def test_a_model_that_refuses_everything_is_asked_five_times_at_most(kind: str, chaos: ChaosServer) -> None:
    def refuses(body: dict[str, Any]) -> tuple[str, str] | None:
        names = [name for name in body if name not in ("model", "messages", "stream")]
        return (f"{names[0]} is not supported", names[0]) if names else ("temperature not supported", "x")

    url = chaos.add("model", strict(refuses))
    params = {"temperature": 0.1, "top_p": 0.1, "seed": 1, "presence_penalty": 0.1, "frequency_penalty": 0.1}
    (found,) = answers(kind, url, asked(**params, max_tokens=5, stop=("x",)))
    assert isinstance(found, InvalidRequest)
    assert len(chaos.requests) == 5


def test_a_wrong_value_is_not_learned(kind: str, chaos: ChaosServer) -> None:
    words = "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead."
    url = chaos.add("model", strict(lambda body: (words, "temperature")))
    (found,) = answers(kind, url, asked(temperature=3))
    assert isinstance(found, InvalidRequest)
    assert len(chaos.requests) == 1


def test_nothing_is_repeated_after_an_event(kind: str, chaos: ChaosServer) -> None:
    async def half(connection: Connection, seen: Seen) -> None:
        error = {"message": "temperature is not supported", "param": "temperature", "code": 400}
        text = json.dumps({"choices": [{"index": 0, "delta": {"content": "Ha"}}]}).encode()
        await connection.packet(stream_head())
        await connection.packet(chunk(b"data: " + text + b"\n\n"))
        await connection.send(chunk(b"data: " + json.dumps({"error": error}).encode() + b"\n\n") + END)

    (found,) = answers(kind, chaos.add("half", half), asked(temperature=0.5))
    assert isinstance(found, LollmsError)
    assert len(chaos.requests) == 1


def test_a_refusal_that_another_call_has_learned_from_meanwhile_is_no_error(kind: str, chaos: ChaosServer) -> None:
    """Two calls at once are refused for the same: whoever comes second finds it in the book, and asks again, too."""
    book = LessonBook()

    async def mode(connection: Connection, seen: Seen) -> None:
        if "temperature" in seen.json():
            book.learn(target(url), "thinker-1", Lesson("temperature"))
        await strict(reasoning)(connection, seen)

    url = chaos.add("model", mode)
    (found,) = answers(kind, url, asked(temperature=0.5), lessons=book)
    assert isinstance(found, Reply), found
    assert [item.name for item in found.receipt] == ["temperature"]
    assert len(chaos.requests) == 2
