"""JSON is found wherever a model puts it; what is broken, cut off or means two things is not taken for it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_client.lollms_utilities import robust_json_parser
from lollms_core.text.json_answers import DEEPEST, LONGEST, found_json, is_json_value, why_no_json

FOUND: dict[str, list[Any]] = {
    ' {"a": 1}\n': [{"a": 1}],
    'Sure:\n```json\n{"a": 1}\n```\nAnything else?': [{"a": 1}],
    'First {"a": 1}, no: {"a": 2}.': [{"a": 2}, {"a": 1}],
    '{"a": 1} {"a": 2}': [{"a": 2}, {"a": 1}],
    'See [1] and {x}: {"a": 1}': [{"a": 1}, [1]],
    '[see {"a": 1}]': [{"a": 1}],
    "It is {'a': 'b'}": [{"a": "b"}],
    'It is {a: "b",}': [{"a": "b"}],
    '{"a": 1, // years\n "b": /* a name */ “x”}': [{"a": 1, "b": "x"}],
    '{"a": "// “no” comment /* at all */"}': [{"a": "// “no” comment /* at all */"}],
    '"{\\"a\\": 1}"': ['{"a": 1}', {"a": 1}],
    '<think>{"a": 1}?</think>{"a": 2}': [{"a": 2}],
    "42": [42],
    "null": [None],
    '~~~\n{"a": True}\n~~~': [{"a": True}],
    '{"a": "two\nlines"}': [{"a": "two\nlines"}],
    '{"a": {"b": [1': [],
    '{"a": {"b": ["c"': [{"a": {"b": ["c"]}}],
}

NOT_FOUND = {
    "": "",
    "I cannot help with that.": "",
    "It is {x}, see [a].": "",
    '{"a": NaN}': "JSON",
    '{"a": -Infinity}': "JSON",
    '{"a": 1e999}': "JSON",
    '{"a": "\\ud800"}': "JSON",
    '{"a": 1, "a": 2}': "same name twice",
    '```\n{"a": {"b": 1, "b": 1}}\n```': "same name twice",
    '// c\n{"a": 1, "a": 2}': "same name twice",
    '{"a": Bern}': "broken",
    '{"a": 1 /* never closed }': "broken",
    '{"a": "x" "y"}': "broken",
    '{"value": 1, "children": [{"value": 2, "children": []}, {"va': "broken",
    '{"v": {"v": 1}, "w": }': "broken",
    "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1): "deep",
    '{"a":' * 5_000: "deep",
}


def unique(values: Any) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept


@pytest.mark.parametrize(("text", "values"), FOUND.items(), ids=range(len(FOUND)))
def test_json_is_found_where_it_stands(text: str, values: list[Any]) -> None:
    assert unique(found_json(text)) == values


@pytest.mark.parametrize(("text", "words"), NOT_FOUND.items(), ids=range(len(NOT_FOUND)))
def test_what_cannot_be_read_is_not_taken_and_the_reason_is_told(text: str, words: str) -> None:
    assert list(found_json(text)) == []
    why = why_no_json(text)
    assert words in why
    assert bool(why) == bool(words)


def test_what_was_cut_off_is_not_closed_and_its_parts_are_not_the_answer() -> None:
    for text in ('{"a": {"b": ["c"', '{"a": {"b": {"c": "d"}', 'So: [{"a": 1}, {"a": 2}'):
        assert list(found_json(text, finished=False)) == []
        assert len(unique(found_json(text))) == 1


HARD = [
    *("[", "{", '{"a":', "`", '"', "```\n", "~~~\n```\n", "[1]", '{"a":1}', '{"a', "\\", "“", "/*x", "//", '["'),
    *('{"a":1,', "[1,", "{'a':", "<think>", '"\\', "[{]}", '{"a": "', "{ ", "{a", "<think></thinking>", "'", "[/"),
]


def test_a_thought_that_was_cut_off_is_no_answer() -> None:
    text = 'İİ <think>Perhaps {"a": 0}'
    assert list(found_json(text, finished=False)) == []
    assert next(found_json('İ<think>No {"a": 0}</THINK>{"a": 1}', finished=False)) == {"a": 1}
    assert list(found_json('{"a": 1} <think>or {"a": 0}', finished=False)) == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize("piece", HARD)
@pytest.mark.parametrize("size", [90_000, 1_000_000])
def test_a_megabyte_of_anything_costs_less_than_two_seconds(piece: str, size: int) -> None:
    text = piece * (size // len(piece))
    for read in (lambda: list(found_json(text)), lambda: why_no_json(text)):
        begin = time.process_time()
        read()
        assert time.process_time() - begin < 2


def test_an_answer_that_is_too_long_is_not_looked_at() -> None:
    text = json.dumps({"a": "x" * LONGEST})
    assert list(found_json(text)) == []
    assert list(found_json(text[:10] + text[-LONGEST + 100 :])) != []


@given(st.text(alphabet="{}[]:,\"'`\\ \n01-.eE/*“”~<>thinkabtrueNone", max_size=80) | st.text())
def test_any_text_gives_values_that_json_can_write(text: str) -> None:
    for finished in (True, False):
        for value in found_json(text, finished=finished):
            json.dumps(value, allow_nan=False).encode()
    assert isinstance(why_no_json(text), str)


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=4), _values, min_size=1, max_size=4), st.sampled_from(["", "So it is: ", "{x} "])
)
def test_an_object_behind_prose_is_the_first_that_is_found(value: dict[str, Any], before: str) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert next(found_json(f"{before}{text}\nThat is all.")) == value
        assert next(found_json(f"{before}\n```json\n{text}\n```\n")) == value


@given(st.dictionaries(st.text(max_size=4), _values, min_size=1, max_size=4), st.data())
def test_no_beginning_of_an_object_gives_another_object(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = data.draw(st.integers(1, len(text) - 1))
    assert list(found_json(text[:cut], finished=False)) == []


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, ["\ud800"], {1, 2}, b"x"])
def test_what_json_cannot_write_is_no_value(value: Any) -> None:
    assert not is_json_value(value)
    assert is_json_value({"a": [1, None, "x"]})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": [1, 2,],}\n```', {"a": [1, 2]}),
        ("Here: {'a': True, 'b': None} - done", {"a": True, "b": None}),
        ('{"a": 1 // one\n}', {"a": 1}),
        ("{“a”: “b”}", {"a": "b"}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ("Numbers: [1, 2]", [1, 2]),
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    ],
)
def test_the_documented_parser_reads_what_models_write(text: str, value: Any) -> None:
    assert robust_json_parser(text) == value


@pytest.mark.parametrize("text", ["", "nothing", "42", '{"a": x}', '{"a": 1, "a": 2}', "[" * 100_000])
def test_the_documented_parser_raises_for_what_it_cannot_read(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON to be had"):
        robust_json_parser(text)
