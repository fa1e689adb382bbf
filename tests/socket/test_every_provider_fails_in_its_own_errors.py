"""What goes wrong with a provider is the same typed error on every face, and is tried again where that is safe."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.errors import (
    InvalidRequest,
    LollmsError,
    RateLimited,
    RedirectRefused,
    TooManyRequests,
    TransportError,
)
from lollms_core.protocols.base import HttpRequest
from lollms_core.types import GenerationCall, Message, Params
from tests.support.every_provider import ROWS, House, Row, every_provider
from tests.support.gates import BEGINNING, WAIT

STORY = f"{BEGINNING.decode()}e upon a time there was a king."

each_provider = pytest.mark.parametrize("row", ROWS, ids=str)
number = itertools.count()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with every_provider() as made:
        yield made


@each_provider
@pytest.mark.parametrize("fault", ["limited", "busy", "overloaded"])
def test_not_now_is_asked_again_when_it_was_told_to(house: House, row: Row, fault: str) -> None:
    words = {way: f"#{fault}-{next(number)}#" for way in itertools.product(house.faces(row), (False, True))}
    for way, told in house.all_told(row, lambda *asked: f"{STORY} {words[asked]}").items():
        assert told.error is None, way
        assert told.reply is not None and told.reply.text.startswith(STORY)
        first, second = house.places[row.name].asked(words[way])
        assert WAIT - 0.01 <= second.at - first.at < WAIT + 1, way


@each_provider
def test_a_wait_that_is_too_long_is_told_to_the_caller(house: House, row: Row) -> None:
    outcomes = house.all_told(row, lambda *_: f"{STORY} #spent#")
    for way, told in outcomes.items():
        assert isinstance(told.error, RateLimited | TooManyRequests), way
        assert told.error.retry_after == 700, way
    assert len(house.places[row.name].asked("#spent#")) == len(outcomes)


@each_provider
def test_what_breaks_off_is_not_repeated(house: House, row: Row) -> None:
    outcomes = house.all_told(row, lambda *_: f"{STORY} #broken#")
    for way, told in outcomes.items():
        assert isinstance(told.error, TransportError), way
        if way[1]:
            assert told.events and told.error.partial is not None, way
            assert told.error.partial.text.startswith(BEGINNING.decode()), way
    assert len(house.places[row.name].asked("#broken#")) == len(outcomes)


@each_provider
def test_an_error_in_the_middle_of_a_stream(house: House, row: Row) -> None:
    model = house.places[row.name].breaking
    if not model:
        assert row.name in NEVER_BREAK
        return
    story = f"{STORY} In the middle."
    for face in house.faces(row):
        told = house.told(row, face, story, stream=True, model=model)
        assert told.error is not None and not isinstance(told.error, TransportError), face
        assert told.error.partial is not None and story.startswith(told.error.partial.text), face
        assert told.error.partial.text or not told.events, face
    assert len(house.places[row.name].asked("In the middle.")) == len(house.faces(row))


NEVER_BREAK = {
    *("openai", "openai-compatible", "llamacpp", "lollms_webui"),
    *("hugging_face_inference_api", "hugging_face as text"),
}
"""Whose stand-ins fail in no way of their own; the tests of their protocols have transcripts that do."""


@each_provider
def test_a_redirect_is_refused(house: House, row: Row) -> None:
    outcomes = house.all_told(row, lambda *_: f"{STORY} #redirect#")
    assert {type(told.error) for told in outcomes.values()} == {RedirectRefused}
    assert all("canary" not in str(told.error) for told in outcomes.values())
    assert len(house.places[row.name].asked("#redirect#")) == len(outcomes)


@each_provider
def test_a_refused_parameter_is_learned_once(house: House, row: Row) -> None:
    place, faces = house.places[row.name], house.faces(row)
    if "threads" in faces and "temperature" not in prepared(house, row).optional:
        for told in house.all_told(row, lambda *_: f"{STORY} #refuses#", temperature=0.5).values():
            assert isinstance(told.error, InvalidRequest)
        assert len(place.asked("#refuses#")) == 2 * len(faces)
        return
    for face in (face for face in faces if face != "coroutines"):
        with house.client(row, face) as client:
            before = len(place.asked("#refuses#"))
            for stream in (False, True, False):
                asked = f"{STORY} #refuses# {face}"
                reply = (
                    client.stream(asked, temperature=0.5).result()
                    if stream
                    else client.complete(asked, temperature=0.5)
                )
                assert ("temperature", "dropped") in {(item.name, item.action) for item in reply.receipt}
            sent = [b'"temperature"' in seen.body for seen in place.asked("#refuses#")[before:]]
            assert sent == [True, False, False, False], face


def prepared(house: House, row: Row) -> HttpRequest:
    """The request that a binding would send; nothing is asked before it."""
    call = GenerationCall((Message.user("x"),), house.places[row.name].model, Params(temperature=0.5))
    with house.client(row) as client:
        binding: Any = client.binding
        exchange = binding.codec.prepare(call, binding.target)
        try:
            next(exchange)
        except StopIteration as end:
            request: HttpRequest = end.value
            return request
    raise LollmsError(f"{row.name} asks something before a generation")
