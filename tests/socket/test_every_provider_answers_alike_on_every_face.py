"""Every provider gives the same answer to the same call through both clients and the server, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.errors import UnsupportedFeature
from lollms_core.types import Reply
from tests.support.every_provider import MISSING, ROWS, House, Row, every_provider
from tests.support.gates import BEGINNING

TEXT = f"{BEGINNING.decode()}e upon a time: Grüße, 世界 🦙!"
TOOL = {
    "name": "weather",
    "description": "Now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}

each_provider = pytest.mark.parametrize("row", ROWS, ids=str)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with every_provider() as made:
        yield made


def test_every_provider_that_is_there_has_a_stand_in() -> None:
    assert not MISSING, "give them a stand-in in tests/support/every_stand_in.py"
    assert len(ROWS) >= 25


def said(reply: Reply) -> tuple[Any, ...]:
    """What a reply says, whichever way it came."""
    calls = [(call.name, call.arguments) for call in reply.tool_calls]
    return reply.text.replace(" ", ""), reply.thoughts, calls, reply.finish_reason


def the_one(house: House, row: Row, prompt: str, **asked: Any) -> Reply | None:
    """The reply that all faces agree on; None where all refuse because the provider cannot do it."""
    told = house.all_told(row, lambda face, stream: prompt, **asked)
    if all(isinstance(each.error, UnsupportedFeature) for each in told.values()):
        return None
    errors = {way: each.error for way, each in told.items() if each.error is not None}
    assert not errors
    replies = [each.reply for each in told.values() if each.reply is not None]
    assert [said(each) for each in replies] == [said(replies[0])] * len(told)
    receipts = [{(item.name, item.action) for item in each.reply.receipt} for each in told.values() if each.reply]
    assert receipts == [receipts[0]] * len(receipts)
    streams = [each.events for (_, stream), each in told.items() if stream]
    assert streams == [streams[0]] * len(streams)
    return replies[0]


@each_provider
def test_text(house: House, row: Row) -> None:
    reply = the_one(house, row, TEXT, temperature=0.5, seed=7, max_tokens=50)
    assert reply is not None and reply.text == TEXT and reply.finish_reason == "stop"


@each_provider
def test_tools_that_are_called_at_once(house: House, row: Row) -> None:
    reply = the_one(house, row, "tool:weather", tools=[TOOL])
    sent = house.places[row.name].asked("tool:weather")
    if reply is None:
        assert not sent
        return
    if not reply.tool_calls:  # of a stand-in that does not know the prompt format
        assert all(b"<tools>" in seen.body for seen in sent)
        return
    assert [call.name for call in reply.tool_calls] == ["weather"] * 2
    assert all(isinstance(call.arguments, dict) and call.arguments for call in reply.tool_calls)
    assert reply.finish_reason == "tool_calls"


@each_provider
def test_arguments_that_are_nearly_json(house: House, row: Row) -> None:
    """Where arguments are sent as text, and their names stand in single quotes, they are what was meant."""
    outcomes = house.all_told(row, lambda *_: "tool:weather", tools=[TOOL], system="#garbled#")
    plain = house.told(row, house.faces(row)[0], "tool:weather", tools=[TOOL]).reply
    for way, told in outcomes.items():
        if plain is None:
            assert isinstance(told.error, UnsupportedFeature)
            continue
        assert told.reply is not None, (way, told.error)
        calls = [(call.name, call.arguments) for call in told.reply.tool_calls]
        assert calls == [(call.name, call.arguments) for call in plain.tool_calls], way
        assert not told.reply.broken_calls
    if row.type == "openai_binding" and plain is not None and plain.tool_calls:
        for told in (each for (_, stream), each in outcomes.items() if not stream):
            assert told.reply is not None
            assert [item.action for item in told.reply.receipt if "repaired" in str(item)], "nothing was wrong"


@each_provider
def test_a_schema_is_held_or_the_receipt_tells_or_it_is_refused(house: House, row: Row) -> None:
    place = house.places[row.name]
    reply = the_one(house, row, "Give me a number, please.", schema=SCHEMA)
    sent = place.asked("Give me a number, please.")
    if reply is None:
        assert not sent
        return
    told = [item for item in reply.receipt if item.name == "schema"]
    assert told or all(b'"integer"' in seen.body for seen in sent)
    if not told:
        assert list(json.loads(reply.text)) == ["n"]
