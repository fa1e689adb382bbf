"""Arguments of a tool call that are no JSON are read where they can mean one thing only, and never guessed at."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.fold import ReplyFold
from lollms_core.text.json_repair import LONGEST, repaired
from lollms_core.types import Done, Reply, ToolCall, ToolCallDelta

MEANT: dict[str, Any] = {
    '{"n": 1,}': {"n": 1},
    '{"n": [1, 2, ], }': {"n": [1, 2]},
    "{'city': 'Bern', 'days': 3}": {"city": "Bern", "days": 3},
    "{'text': 'it\\'s \"fine\"'}": {"text": 'it\'s "fine"'},
    '{"text": "it\\\'s"}': {"text": "it's"},
    '{"path": "C:\\\\\'x"}': {"path": "C:\\'x"},
    "{city: 'Bern'}": {"city": "Bern"},
    '{"on": True, "off": False, "x": None,}': {"on": True, "off": False, "x": None},
    '{"a": {"b": ["c"': {"a": {"b": ["c"]}},
    '{"a": true': {"a": True},
    '{"a": {}': {"a": {}},
    '```json\n{"a": 1}\n```': {"a": 1},
    '```\n{"a": 1,}\n```  ': {"a": 1},
    '"{\\"a\\": 1}"': {"a": 1},
    '{"text": "two\nlines\tand"}': {"text": "two\nlines\tand"},
    "{'s': 'a, b: [c] {d}'}": {"s": "a, b: [c] {d}"},
}


@pytest.mark.parametrize(("raw", "meant"), MEANT.items(), ids=range(len(MEANT)))
def test_what_can_only_mean_one_thing_is_read(raw: str, meant: dict[str, Any]) -> None:
    assert repaired(raw, finished=True) == meant


@pytest.mark.parametrize(
    "raw",
    [
        '{"a": ',
        '{"a"',
        '{"a": 1',  # or 12
        '{"a": "cut',
        '{"a": "x",',
        '{"a": [',
        '{"text": "he said "hi" to me"}',
        "{'text': 'it's'}",
        "{'a': 'it's', 'b': 'that's'}",
        '{"a": "b" "c"}',
        '{"a": 1 "b": 2}',
        '{"a": 01}',
        '{"a": 0x10}',
        '{"a": NaN}',
        '{"a": Bern}',
        '{"a": "\\d"}',
        '{"a": 1} and more',
        'Sure: {"a": 1}',
        '{"a": 1}{"b": 2}',
        "{'a': 1, 'a': 2}",
        "{'a': [{'b': 'x', \"b\": 'y'}]}",
        "{'a': 'x', a: 'y'}",
        '{"a": 1]}',
        '{"a": 1}}',
        '{"a": , }',
        "{,}",
        "[1, 2,]",
        "[]",
        '"text"',
        "5",
        "",
        "   ",
        '{"a": 1, // one\n}',
        '"\\"{}\\""',
        "f(a=1)",
        '{"a": “b”}',
    ],
)
def test_what_might_mean_another_thing_is_not_touched(raw: str) -> None:
    assert repaired(raw, finished=True) is None


@pytest.mark.parametrize("raw", ['{"a": {"b": ["c"', '{"a": true', '{"a": {}'])
def test_what_may_have_been_cut_off_is_not_closed(raw: str) -> None:
    assert repaired(raw, finished=False) is None
    assert repaired('{"a": 1,}', finished=False) == {"a": 1}


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), _values, max_size=4))
def test_objects_as_python_writes_them_are_read_as_they_are(value: dict[str, Any]) -> None:
    found = repaired(repr(value), finished=True)
    assert found in (value, None)
    if all(each.isprintable() and "\\" not in each and "'" not in each for each in _texts(value)):
        assert found == value


@given(st.dictionaries(st.text(max_size=4), _values, min_size=1, max_size=4), st.integers(0, 3))
def test_objects_that_were_not_closed_are_never_another_object(value: dict[str, Any], cut: int) -> None:
    text = json.dumps(value)
    closed = text.rstrip("]}")
    missing = len(text) - len(closed)
    found = repaired(text[: len(text) - min(cut, missing)], finished=True)
    assert found == value or (found is None and cut)


@given(st.text(alphabet="{}[]:,\"'\\ \n01-.eE`abtrueTrueNone", max_size=60) | st.text())
def test_any_text_gives_an_object_or_none(raw: str) -> None:
    for finished in (True, False):
        found = repaired(raw, finished=finished)
        assert found is None or isinstance(found, dict)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in (*value, *value.values()) for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    "piece",
    ['{"a":[', '"', "'", "[", "{a ", "```json\n{", '{"a":1,,,', "\\", '"\\', "{'a':'", "-", "1e", "a", " ", "}"],
)
def test_hostile_arguments_cost_linear_time(piece: str) -> None:
    start = time.process_time()
    for raw in (piece * LONGEST, (piece * LONGEST)[:LONGEST], "{" + (piece * LONGEST)[: LONGEST - 1]):
        assert repaired(raw, finished=True) is None
    assert time.process_time() - start < 2


# ---- in a reply -----------------------------------------------------------------------------------------------------


def reply(raw: str, finish: str = "tool_calls") -> Reply:
    fold = ReplyFold()
    fold.add([ToolCallDelta(0, "c1", "weather", raw[:3]), ToolCallDelta(0, arguments=raw[3:]), Done(finish)])
    assert fold.done() == fold.done()  # nothing is said twice
    return fold.done()


def test_a_repaired_call_is_a_call_and_the_receipt_says_so() -> None:
    found = reply("{'city': 'Bern',}")
    assert found.tool_calls == (ToolCall("c1", "weather", {"city": "Bern"}),)
    assert found.broken_calls == ()
    assert [(item.name, item.action) for item in found.receipt] == [("tool_calls", "rewritten")]
    assert "weather" in found.receipt[0].reason


def test_a_call_that_is_right_has_no_receipt() -> None:
    assert reply('{"city": "Bern"}').receipt == ()


@pytest.mark.parametrize("finish", ["length", "cancelled", "error", "content_filter", ""])
def test_a_call_that_was_cut_off_is_given_back(finish: str) -> None:
    raw = '{"path": "a.txt", "text": "all of it"'
    found = reply(raw, finish)
    assert (found.tool_calls, found.broken_calls, found.receipt) == ((), (("weather", raw),), ())
    assert reply(raw, "stop").tool_calls


def test_a_call_that_cannot_be_read_is_given_back_as_it_came() -> None:
    raw = '{"text": "he said "hi""}'
    found = reply(raw)
    assert (found.tool_calls, found.broken_calls, found.receipt) == ((), (("weather", raw),), ())
