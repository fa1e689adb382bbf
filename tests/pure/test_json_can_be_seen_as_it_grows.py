"""Half-written JSON: the value so far is always a beginning of the last one, however the text is cut."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.flows.base import Flow, Generate
from lollms_core.flows.views import JsonView
from lollms_core.text.partial_json import DEEPEST, NOTHING, PartialJson
from lollms_core.types import (
    Batch,
    Done,
    GenerationCall,
    Item,
    Message,
    Notice,
    Output,
    Partial,
    Progress,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCallDelta,
)
from lollms_runtime.async_drive import adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import drive
from lollms_runtime.scripted import AsyncScriptedPorts, ScriptedPorts

_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**60), 2**60),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=12,
)
_containers = st.one_of(st.lists(_values, max_size=4), st.dictionaries(st.text(max_size=4), _values, max_size=4))


def after(pieces: Iterable[str]) -> Any:
    partial = PartialJson()
    for piece in pieces:
        partial.feed(piece)
    return partial.value()


def is_beginning(one: Any, whole: Any) -> bool:
    """Whether a value may have been written on the way to another."""
    if type(one) is not type(whole):
        return False
    if isinstance(one, str):
        return bool(whole.startswith(one))
    if not isinstance(one, (dict, list)):
        return bool(one == whole)
    if isinstance(one, dict):
        if list(one) != list(whole)[: len(one)]:
            return False
        pairs = [(one[name], whole[name]) for name in one]
    else:
        pairs = list(zip(one, whole, strict=False))
        if len(one) > len(whole):
            return False
    same = all(a == b and type(a) is type(b) for a, b in pairs[:-1])
    return same and all(is_beginning(a, b) for a, b in pairs[-1:])


@given(_containers, st.booleans(), st.sampled_from([None, 1]))
def test_every_beginning_of_a_text_gives_a_beginning_of_its_value(value: Any, ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    growing, before = PartialJson(), 0
    for sign in text:
        growing.feed(sign)
        so_far = growing.value()
        assert so_far is NOTHING or is_beginning(so_far, value)
        size = len(json.dumps(so_far)) if so_far is not NOTHING else 0
        assert size >= before
        before = size
    assert growing.is_complete
    assert growing.value() == value


@given(_containers, st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(0, 400))
def test_any_cut_gives_the_same(value: Any, sizes: list[int], end: int) -> None:
    text = f"So:\n```json\n{json.dumps(value)}\n``` [x]"[: end + 10]
    pieces, place, turn = [], 0, 0
    while place < len(text):
        pieces.append(text[place : place + sizes[turn % len(sizes)]])
        place, turn = place + len(pieces[-1]), turn + 1
    assert after(pieces) == after([text]) == after(text)


@given(st.lists(st.text(alphabet='{}[]:,"\\ \n01-.eEutrufalsn\ud83d', max_size=12) | st.text(max_size=5), max_size=12))
def test_any_text_gives_json_or_nothing(pieces: list[str]) -> None:
    value = after(pieces)
    assert value is NOTHING or json.dumps(value, allow_nan=False)
    joined = after(["".join(pieces)])
    assert value == joined or (value is NOTHING and joined is NOTHING)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", NOTHING),
        ("Let me see {x} [a", NOTHING),
        ('{"a', {}),
        ('{"a": 1', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": tru', {}),
        ('{"a": "it\\u00e', {"a": "it"}),
        ('{"a": "it\\ud83d', {"a": "it"}),
        ('{"a": "it\\ud83d\\ude00', {"a": "it😀"}),
        ('{"a": [{"b": "c', {"a": [{"b": "c"}]}),
        ('{"a": 1} and {"b": ', {}),
        ('{"a": [1,],}', {"a": [1]}),
        ('{"a": "two\nlines', {"a": "two\nlines"}),
        ('{"a": 1, "b": NaN, "c": 2}', {"a": 1}),
        ('{"a": 1 "b": 2}', {"a": 1}),
        ('{"a": "x\\q"}', {"a": "x"}),
        ('{"a": "\\ud83dx"}', {"a": ""}),
        ('{"a": 1e999}', {}),
        ('{"a" 1}', {}),
        ("{1: 2}", NOTHING),
        ('[1, "a", nul', [1, "a"]),
    ],
)
def test_only_what_is_certain_is_in_the_value(text: str, value: Any) -> None:
    assert after(text) == value
    assert after([text]) == value


def test_what_is_nested_too_deeply_stays_as_it_is() -> None:
    value, depth = after(["[" * 100_000]), 0
    while value:
        value, depth = value[0], depth + 1
    assert depth < DEEPEST + 1


@pytest.mark.parametrize(
    "piece", ["[", "{", '{"a":', "[1,", '"', '{"a": "b", ', '["aaaa", ', "[ ", "t", '["\\u12', "-", "[{},"]
)
def test_a_megabyte_of_anything_costs_less_than_two_seconds(piece: str) -> None:
    text, growing = piece * (1_000_000 // len(piece)), PartialJson()
    begin = time.process_time()
    for place in range(0, len(text), 4):
        growing.feed(text[place : place + 4])
    growing.value()
    assert time.process_time() - begin < 2


# ---- the view


def shown(view: JsonView, *batches: Batch) -> list[Any]:
    return [event.value for batch in batches for event in view.feed(batch) if isinstance(event, Partial)]


def text_batches(text: str, size: int = 4) -> list[Batch]:
    return [(TextDelta(text[place : place + size]),) for place in range(0, len(text), size)]


def test_the_view_shows_the_value_and_hides_what_it_is_made_of() -> None:
    view = JsonView()
    others: Batch = (Progress("load"), Notice("info", "x"), ThoughtDelta("Hm."))
    assert view.feed((*others, TextDelta("So: "))) == list(others)
    assert view.feed((TextDelta('{"a": "b'), ThoughtDelta("!"))) == [ThoughtDelta("!"), Partial({"a": "b"})]
    assert view.feed((TextDelta(" "),)) == [Partial({"a": "b "})]
    assert view.feed((TextDelta('"'),)) == []
    assert view.feed((TextDelta("}"), Done("stop"))) == []
    assert view.has_shown({"a": "b "})
    assert not view.has_shown({"a": "b"})
    assert JsonView(thoughts=False).feed((ThoughtDelta("Hm."),)) == []


def test_the_arguments_of_a_call_take_the_place_of_text() -> None:
    view = JsonView()
    assert shown(view, (TextDelta('{"a": 1,'),)) == [{"a": 1}]
    calls: list[Batch] = [(ToolCallDelta(0, "c", "answer", '{"b":'),), (ToolCallDelta(0, arguments=' "x"}'),)]
    assert shown(view, *calls, (ToolCallDelta(1, "d", "other", '{"c": 1}'), TextDelta('{"d": 1}'))) == [{}, {"b": "x"}]


def test_a_value_inside_of_an_object_is_taken_out_of_it() -> None:
    view = JsonView()
    view.look_inside("value")
    assert shown(view, *text_batches('{"value": ["a", "b"]}')) == [[""], ["a"], ["a", "b"]]
    view = JsonView()
    view.look_inside("value")
    assert shown(view, *text_batches('["a"]')) == [["a"]]


def test_a_rich_answer_is_read_where_there_was_no_text() -> None:
    items = (Item("text", '{"a": 1}'), Item("image", "AAAA"))
    assert shown(JsonView(), (Output(items, replaces=True),)) == [{"a": 1}]
    assert shown(JsonView(), (TextDelta('{"b": 1}'),), (Output(items, replaces=True),)) == [{"b": 1}]


def test_what_was_shown_is_nobody_elses() -> None:
    text = '{"a": [{"b": 1}, {"c": [2, 3]}], "d": {}}'
    view, calm = JsonView(), shown(JsonView(), *text_batches(text))
    spoilt = []
    for batch in text_batches(text):
        for mine in shown(view, batch):
            spoilt.append(copy.deepcopy(mine))
            mine.get("a", []).clear()  # whoever is shown a value may do with it what they like
            mine.clear()
    assert spoilt == calm
    assert spoilt[-1] == json.loads(text)


def test_a_large_value_is_shown_so_rarely_that_all_of_it_costs_linear_time() -> None:
    sizes = []
    for count in (2_000, 16_000):
        text = json.dumps({"items": [{"n": number, "s": "x" * 20} for number in range(count)]})
        view, size, times = JsonView(), 0, 0
        for value in shown(view, *text_batches(text, 40)):
            size, times = size + len(json.dumps(value)), times + 1
        assert view.has_shown(json.loads(text))
        sizes.append(size / len(text))
        assert times < 600
    assert sizes[1] < 40
    assert sizes[1] < sizes[0] * 1.5


def test_a_text_within_a_value_is_shown_as_it_is_written() -> None:
    values = shown(JsonView(), *text_batches('{"title": "A long title"}', 4))
    assert [value.get("title") for value in values] == [None, "A", "A lon", "A long ti", "A long title"]
    assert values[-1] == {"title": "A long title"}


@given(st.dictionaries(st.text(max_size=3), _values, min_size=1, max_size=3), st.integers(1, 7))
def test_the_last_that_is_shown_is_the_value(value: dict[str, Any], size: int) -> None:
    values = shown(JsonView(), *text_batches(f"Here: {json.dumps(value)} !", size))
    assert values[-1] == value
    assert all(is_beginning(each, value) for each in values)


def test_both_drivers_show_the_same() -> None:
    import asyncio

    text = json.dumps({"name": "Ada", "tags": ["a", "b"], "n": 12})
    batches = [*text_batches(text, 5), (Done("stop"),)]

    def flow() -> Flow[Reply]:
        reply: Reply = yield Generate(GenerationCall((Message.user("x"),)), JsonView())
        return reply

    sync = list(drive(flow(), ScriptedPorts([batches]), Cancel()))
    seen: list[Batch] = []

    async def sink(batch: Batch) -> None:
        seen.append(batch)

    asyncio.run(adrive(flow(), AsyncScriptedPorts([batches]), sink))
    assert [list(batch) for batch in seen] == [list(batch) for batch in sync]
    assert seen[-1] == [Partial({"name": "Ada", "tags": ["a", "b"], "n": 12})]
