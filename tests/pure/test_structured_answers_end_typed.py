"""Structured output ends within its budget with a value of the wanted shape or a typed error, whatever a model does."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    ProtocolError,
    StructuredOutputError,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.flows.shapes import shape_of
from lollms_core.flows.spending import Limits
from lollms_core.flows.structured import structured
from lollms_core.flows.views import Hidden, JsonView
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.types import GenerationCall, Message, Notice, Params, Partial, ReceiptItem, Reply, Usage
from tests.support.misbehaving import DEEDS, REFUSALS, Played, play, way_of

TEMPLATE = {"name": "string", "age": "integer", "tags": ["list", "of", "strings"]}
WANTED = {"name": "Ada", "age": 36, "tags": ["mathematics"]}
SHAPE = shape_of(TEMPLATE)
THREE = Limits()
WAYS = ["schema", "tool", "prompt"]


def call(**params: Any) -> GenerationCall:
    return GenerationCall((Message.system("Be exact."), Message.user("Who is Ada?")), params=Params(**params))


def run(*deeds: str, limits: Limits = THREE, show: Any = Hidden, wanted: Any = None) -> Played:
    return play(structured(call(), SHAPE, limits, show), [DEEDS[name] for name in deeds], wanted or WANTED)


def is_refused(result: Reply | LollmsError, way: str) -> bool:
    """Whether a call was refused in a way, so that no answer was written."""
    if way == "prompt" or isinstance(result, (Reply, ContextTooLong)):
        return False
    return isinstance(result, (UnsupportedFeature, InvalidRequest))


def spent_on(result: Reply | LollmsError) -> int:
    reply = result if isinstance(result, Reply) else result.partial
    return 0 if reply is None or reply.usage is None else reply.usage.completion_tokens or 0


def gave_back(each: GenerationCall) -> bool:
    """Whether a call shows the model its answer before."""
    return any(turn.role == "assistant" for turn in each.messages)


def look_over(played: Played, limits: Limits, asked: int | None) -> None:
    """What holds of every run."""
    answered, left = 0, math.inf if limits.tokens is None else limits.tokens
    ways: list[str] = []
    spent: dict[int, int] = {}
    for number, (each, result) in enumerate(zip(played.calls, played.results, strict=True)):
        way = way_of(each)
        ways.append(way)
        tokens = each.params.max_tokens
        assert limits.tokens is None or (tokens is not None and 1 <= tokens <= left)
        assert asked is None or (tokens is not None and tokens <= asked)
        answered += not (is_refused(result, way) or (isinstance(result, ContextTooLong) and gave_back(each)))
        spent[number] = 0 if is_refused(result, way) else spent_on(result)
        left -= spent[number] if number < len(played.calls) - 1 else 0
        assert each.messages[0] == Message.system("Be exact.")
        assert len({turn.role for turn in each.messages[-2:]}) == 2
    assert answered <= limits.calls
    assert len(played.calls) <= limits.calls + len(WAYS)
    assert [WAYS.index(way) for way in ways] == sorted(WAYS.index(way) for way in ways)
    if played.value is not None:
        found = played.value
        SHAPE.read(found.value)
        json.dumps(found.value, allow_nan=False).encode()
        assert json.loads(found.reply.text) == found.value
        assert len(found.attempts) == answered
        assert [bool(each.problem) for each in found.attempts] == [True] * (answered - 1) + [False]
        usage = found.reply.usage
        assert (usage.completion_tokens or 0 if usage else 0) == sum(spent.values())
    elif isinstance(played.error, StructuredOutputError):
        assert len(played.error.attempts) == answered
        assert all(each.problem for each in played.error.attempts)
        assert all(len(each.text) <= 2_001 for each in played.error.attempts)
    else:
        assert isinstance(played.error, LollmsError)
    if played.error is not None and answered:
        assert played.error.partial is not None


_names = st.sampled_from(sorted(DEEDS))


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(
    st.lists(_names, min_size=1, max_size=12),
    st.integers(1, 13),
    st.none() | st.integers(1, 400),
    st.none() | st.integers(1, 100),
    st.booleans(),
)
def test_any_twelve_misbehaviours_end_typed_and_within_budget(
    names: list[str], calls: int, tokens: int | None, asked: int | None, watched: bool
) -> None:
    limits = Limits(calls, tokens)
    flow = structured(call(max_tokens=asked), SHAPE, limits, JsonView if watched else Hidden)
    look_over(play(flow, [DEEDS[name] for name in names], WANTED), limits, asked)


ACCEPTED = [
    "right",
    "right by tool",
    "prose around it",
    "fenced",
    "fenced, never closed",
    "a draft before it",
    "as Python writes it",
    "a comma too many",
    "comments in it",
    "as a text in a text",
    "thoughts before it",
    "brackets never closed",
    "as json items",
    "another tool with it",
]
REWRITTEN = {
    "types as texts": 'age was "36" and is 36',
    "extra keys": "note was left out, since there is no such property; "
    "confidence was left out, since there is no such property",
}
ASKED_AGAIN = {
    "truncated": "cut off",
    "truncated at its last bracket": "cut off",
    "thought until the limit": "cut off",
    "repeated text": "cut off",
    "filtered": "held back",
    "wrong types": "is not of type",
    "keys missing": "'name' is a required property",
    "wrong name": "'Name' was unexpected|'name' is a required property",
    "a list instead": "is not of type 'object'",
    "a number instead": "is not of type 'object'",
    "null": "None is not of type 'object'",
    "another tool": "Additional properties|required property",
    "the schema itself": "it is the schema itself",
}
ASKED_IN_ANOTHER_WAY = {
    "prose alone": "no JSON",
    "refusal": "no JSON",
    "empty": "empty",
    "blanks": "empty",
    "backticks": "no JSON",
    "not a number": "a number or a character that JSON does not allow",
    "too large a number": "a number or a character that JSON does not allow",
    "half a character": "a number or a character that JSON does not allow",
    "the same name twice": "same name twice",
    "deep": "nested too deeply",
    "long": "broken",
    "broken arguments": "broken",
    "odd arguments": "a number or a character that JSON does not allow",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_can_only_mean_the_value_costs_one_call(name: str) -> None:
    played = run(name)
    look_over(played, Limits(), None)
    assert played.value is not None
    assert played.value.value == WANTED
    assert len(played.calls) == 1
    assert played.value.reply.receipt == ()
    assert played.shown == []


@pytest.mark.parametrize("name", REWRITTEN)
def test_what_is_fitted_costs_one_call_and_stands_in_the_receipt(name: str) -> None:
    played = run(name)
    look_over(played, Limits(), None)
    assert played.value is not None
    assert (played.value.value, len(played.calls)) == (WANTED, 1)
    assert played.value.reply.receipt == (ReceiptItem("answer", "rewritten", REWRITTEN[name]),)


@pytest.mark.parametrize("name", ASKED_AGAIN)
def test_what_is_wrong_is_asked_again_in_the_same_way_with_the_reason(name: str) -> None:
    played = run(name, "right")
    look_over(played, Limits(), None)
    assert played.value is not None
    assert [way_of(each) for each in played.calls] == ["schema", "schema"]
    problem = played.value.attempts[0].problem

    assert re.search(ASKED_AGAIN[name], problem)
    assert problem in played.calls[1].messages[-1].text
    assert [type(each) for each in played.shown] == [Notice]


@pytest.mark.parametrize("name", ASKED_IN_ANOTHER_WAY)
def test_where_no_json_comes_the_next_way_is_taken(name: str) -> None:
    played = run(name, name, "right")
    look_over(played, Limits(), None)
    assert [way_of(each) for each in played.calls] == WAYS
    assert played.value is not None
    assert all(ASKED_IN_ANOTHER_WAY[name] in each.problem for each in played.value.attempts[:2])


@pytest.mark.parametrize("name", ["breaks off", "crashes"])
def test_an_answer_that_breaks_off_is_asked_for_again_in_the_same_way_once(name: str) -> None:
    played = run(name, name, "right")
    look_over(played, Limits(), None)
    assert [way_of(each) for each in played.calls] == ["schema", "schema", "tool"]
    assert played.value is not None
    assert [each.finish_reason for each in played.value.attempts] == ["error", "error", "stop"]


@pytest.mark.parametrize("name", ["breaks before it begins", "falls silent"])
def test_a_backend_that_breaks_at_a_way_is_asked_in_another(name: str) -> None:
    played = run(name, "right")
    look_over(played, Limits(), None)
    assert [way_of(each) for each in played.calls] == ["schema", "tool"]
    assert played.value is not None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("is too busy", Overloaded),
        ("rejects the key", AuthFailed),
        ("talks nonsense", ProtocolError),
        ("is stopped", Cancelled),
    ],
)
def test_other_errors_end_it_at_once_with_what_was_spent(name: str, kind: type[LollmsError]) -> None:
    played = run("wrong types", name)
    look_over(played, Limits(), None)
    assert type(played.error) is kind
    assert len(played.calls) == 2
    assert played.error.partial is not None
    assert played.error.partial.usage is not None
    assert (played.error.partial.usage.prompt_tokens or 0) >= 10
    assert played.error.partial.finish_reason == ("cancelled" if name == "is stopped" else "error")
    assert played.error.partial.text.startswith(
        {"is stopped": '{"name": "A', "talks nonsense": "x"}.get(name, '{"name": {')
    )


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_way_costs_nothing_and_stands_in_the_receipt(name: str) -> None:
    played = run(name, name, "right", limits=Limits(calls=1))
    look_over(played, Limits(calls=1), None)
    assert [way_of(each) for each in played.calls] == WAYS
    assert played.value is not None
    assert len(played.value.attempts) == 1
    assert [(item.name, item.action) for item in played.value.reply.receipt] == [
        ("schema", "dropped"),
        ("tool", "dropped"),
    ]


def test_the_last_way_that_is_refused_is_the_backends_error() -> None:
    played = run("refuses the way with 400")
    assert (type(played.error), len(played.calls)) == (InvalidRequest, 3)


def test_a_call_whose_images_are_refused_is_not_tried_in_other_ways() -> None:
    played = play(structured(call(), SHAPE), [lambda v, c: UnsupportedFeature("no images", param="images")], WANTED)
    assert (type(played.error), len(played.calls)) == (UnsupportedFeature, 1)


def test_an_answer_that_comes_again_is_asked_for_in_the_next_way() -> None:
    played = run("wrong types", limits=Limits(calls=5))
    look_over(played, Limits(calls=5), None)
    assert [way_of(each) for each in played.calls] == ["schema", "schema", "tool", "prompt", "prompt"]
    assert isinstance(played.error, StructuredOutputError)
    assert "5 times" in str(played.error)
    assert played.error.partial is not None
    assert played.error.partial.usage == Usage(
        50, 5 * spent_on(played.results[0]), 50 + 5 * spent_on(played.results[0])
    )


def test_one_call_that_fails_is_said_to_be_one() -> None:
    played = run("prose alone", limits=Limits(calls=1))
    assert "asked once" in str(played.error)
    assert "no JSON" in str(played.error)


def test_tokens_are_never_asked_for_that_are_not_left() -> None:
    limits = Limits(calls=10, tokens=30)
    played = run("wrong types", limits=limits)
    look_over(played, limits, None)
    first, *later = [each.params.max_tokens for each in played.calls]
    assert first == 30
    assert all(tokens is not None and tokens < 30 for tokens in later)
    assert isinstance(played.error, StructuredOutputError)


def test_a_failed_backend_ends_when_the_calls_are_used_up() -> None:
    played = run("breaks before it begins", limits=Limits(calls=2))
    look_over(played, Limits(calls=2), None)
    assert (type(played.error), len(played.calls)) == (UpstreamFailed, 2)


def test_the_last_partial_is_the_value() -> None:
    for name in (*ACCEPTED, *REWRITTEN):
        played = run(name, show=JsonView)
        assert [each.value for each in played.shown if isinstance(each, Partial)] == [WANTED]


# ---- what the model is told


def test_each_way_tells_of_the_shape_and_only_one_is_used_at_a_time() -> None:
    played = run("prose alone", "prose alone", "right")
    for each in played.calls:
        assert '"list"' in each.messages[1].text
        assert each.messages[1].text.startswith("Who is Ada?\n\n")
    schema, tool, prompt = played.calls
    assert (schema.schema, schema.tools) == (SHAPE.schema, ())
    assert (tool.schema, [each.parameters for each in tool.tools]) == (None, [SHAPE.schema])
    assert "`answer`" in tool.messages[1].text
    assert (prompt.schema, prompt.tools) == (None, ())


def test_the_model_sees_its_answer_and_what_is_wrong_with_it() -> None:
    played = run("wrong types", "right")
    turns = played.calls[1].messages
    assert [each.role for each in turns] == ["system", "user", "assistant", "user"]
    assert turns[2].text == played.results[0].text  # type: ignore[union-attr]
    assert turns[3].text.startswith("That cannot be used: at ")


def test_turns_alternate_where_the_model_said_nothing() -> None:
    played = run("empty", "right")
    assert [each.role for each in played.calls[1].messages] == ["system", "user"]
    assert "it is empty" in played.calls[1].messages[1].text


def test_an_answer_that_the_context_has_no_room_for_is_not_given_back() -> None:
    played = run("wrong types", "has too long a prompt", "wrong types", "right")
    assert played.value is not None
    assert [gave_back(each) for each in played.calls] == [False, True, False, False]
    assert "That cannot be used: at " in played.calls[2].messages[-1].text
    assert len(played.value.attempts) == 3
    played = run("wrong types", "has too long a prompt", "has too long a prompt")
    assert isinstance(played.error, ContextTooLong)
    assert len(played.calls) == 3


def test_the_schema_is_no_answer_although_it_may_obey_itself() -> None:
    shape = shape_of({"type": "object", "properties": {"a": {"type": "string"}}})
    flow = structured(call(), shape, Limits(1))
    played = play(flow, [lambda v, c: Reply(text=json.dumps(shape.schema))], None)
    assert isinstance(played.error, StructuredOutputError)
    assert "it is the schema itself" in str(played.error)


def test_a_null_where_a_property_may_be_missing_costs_no_call() -> None:
    shape = shape_of(
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]}
    )
    played = play(structured(call(), shape, Limits(1)), [lambda v, c: Reply(text='{"a": "x", "b": null}')], None)
    assert played.value is not None
    assert played.value.value == {"a": "x"}


@pytest.mark.parametrize("name", ["arguments", "parameters"])
def test_a_call_of_the_tool_that_is_written_as_text_is_the_answer(name: str) -> None:
    def written(wanted: Any, asked: GenerationCall) -> Reply | LollmsError:
        if way_of(asked) == "schema":
            return UnsupportedFeature("no", param="schema")
        return Reply(text=f"<tool_call>{json.dumps({'name': 'answer', name: wanted})}</tool_call>")

    shape = shape_of({"type": "object", "properties": {"a": {"type": "string"}}})
    played = play(structured(call(), shape, Limits(1)), [written], {"a": "x"})
    assert played.value is not None
    assert played.value.value == {"a": "x"}


def test_a_long_answer_is_given_back_in_part() -> None:
    played = run("long", "right")
    assert len(played.calls[1].messages[2].text) < 2_100


# ---- values that are no objects


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ({"$schema": "x", "enum": ["red", "blue"]}, "red"),
        ({"type": "integer", "enum": [1, 2]}, 1),
        ({"type": ["integer", "null"], "enum": [1, None]}, None),
        ({"type": "string", "$schema": "https://json-schema.org/draft/2020-12/schema"}, "x"),
        ({"$schema": "x", "anyOf": [{"type": "array"}, {"type": "null"}]}, []),
        ({"$schema": "x", "$ref": "#/$defs/l", "$defs": {"l": {"type": "array", "items": {"type": "string"}}}}, ["a"]),
        ({"type": "array", "items": {"$ref": "#"}}, [[], [[]]]),
        ({"$schema": "x", "const": 5}, 5),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_a_value_that_is_no_object_is_asked_for_inside_of_one(schema: dict[str, Any], value: Any, inside: bool) -> None:
    shape = shape_of(schema)
    text = json.dumps({"value": value} if inside else value)
    played = play(structured(call(), shape, Limits(), JsonView), [lambda v, c: Reply(text=f"```\n{text}\n```")], None)
    assert played.calls[0].schema is not None
    assert played.calls[0].schema["type"] == "object"
    assert SchemaChecker(played.calls[0].schema).check({"value": value}) == {"value": value}
    assert "property 'value'" in played.calls[0].messages[-1].text
    if isinstance(value, list) or inside:
        assert played.value is not None
        assert (played.value.value, played.value.reply.text) == (value, json.dumps(value))
        assert [each.value for each in played.shown if isinstance(each, Partial)] == [value]


def test_a_recursive_object_is_asked_for_as_it_is() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}}}
    shape = shape_of({"$schema": "x", "$ref": "#/$defs/N", "$defs": {"N": {**node, "required": ["next"]}}})
    value = {"next": {"next": None}}
    played = play(structured(call(), shape), [DEEDS["right"]], value)
    assert played.value is not None
    assert played.value.value == value
    assert played.calls[0].schema is not None
    assert played.calls[0].schema["type"] == "object"
    cut = play(
        structured(call(), shape), [lambda v, c: Reply(text='{"next": {"next": null}', finish_reason="length")], 0
    )
    assert isinstance(cut.error, StructuredOutputError)


def test_a_schema_that_nothing_obeys_ends_in_a_typed_error() -> None:
    shape = shape_of({"type": "object", "properties": {"a": False}, "required": ["a"]})
    played = play(structured(call(), shape, Limits(calls=4)), [DEEDS["right"]], {"a": 1})
    assert isinstance(played.error, StructuredOutputError)
    assert len(played.error.attempts) == 4


def test_a_whole_number_with_a_point_is_a_whole_number() -> None:
    played = run("right", wanted={"name": "Ada", "age": 36.0, "tags": []})
    assert played.value is not None
    assert type(played.value.value["age"]) is int
    assert json.loads(played.value.reply.text)["age"] == 36
