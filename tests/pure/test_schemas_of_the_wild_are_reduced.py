"""Schemas as libraries and people write them: what pydantic gives, OpenAPI's extra words, values that fit no type."""

from __future__ import annotations

import contextlib
import copy
import time
import tracemalloc
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from lollms_core.errors import UnsupportedFeature
from lollms_core.protocols.schema_reduction import (
    ANTHROPIC_SCHEMAS,
    GEMINI_SCHEMAS,
    OPENAI_SCHEMAS,
    OPENAPI_SCHEMAS,
    SchemaRules,
    reduced,
)

ALL = [OPENAI_SCHEMAS, ANTHROPIC_SCHEMAS, GEMINI_SCHEMAS, OPENAPI_SCHEMAS]
every_row = pytest.mark.parametrize("rules", ALL, ids=["openai", "anthropic", "gemini", "openapi"])


class Number(BaseModel):
    """A leaf of a sum."""

    kind: Literal["number"]
    value: float


class Sum(BaseModel):
    """A node of a sum, which holds others."""

    kind: Literal["sum"]
    left: Annotated[Number | Sum, Field(discriminator="kind")]
    right: Annotated[Number | Sum, Field(discriminator="kind")]


class Colour(Enum):
    """Values of two types."""

    RED = "red"
    ONE = 1


class Order(BaseModel):
    """Most of what people have in their models; every field must be there."""

    number: UUID
    at: datetime
    day: date
    within: timedelta
    price: Decimal
    colour: Colour
    size: Literal["s", "m", None]
    place: tuple[int, str]
    tags: list[str] = Field(min_length=1, max_length=3)
    note: str | None
    payment: Annotated[Number | Sum, Field(discriminator="kind")]
    percent: int = Field(ge=0, le=100, multiple_of=5)
    code: str = Field(pattern=r"^[a-z]+$")


NUMBER = {"kind": "number", "value": 1.5}
ORDER = {
    "number": "12345678-1234-5678-1234-567812345678",
    "at": "2024-01-01T00:00:00Z",
    "day": "2024-01-01",
    "within": "PT5M",
    "price": "9.99",
    "colour": 1,
    "size": None,
    "place": [1, "x"],
    "tags": ["a"],
    "note": None,
    "payment": {"kind": "sum", "left": NUMBER, "right": NUMBER},
    "percent": 5,
    "code": "xy",
}


def _flat_order() -> dict[str, Any]:
    """`Order` with a payment that holds no other, for providers without recursion."""
    schema = Order.model_json_schema()
    for side in ("left", "right"):
        schema["$defs"]["Sum"]["properties"][side] = {"$ref": "#/$defs/Number", "x-side": side}
    return schema


@every_row
def test_what_a_model_of_pydantic_allows_stays_allowed(rules: SchemaRules) -> None:
    schema = _flat_order()
    before = copy.deepcopy(schema)
    found, receipt = reduced(schema, rules)
    assert schema == before
    assert Draft202012Validator(schema).is_valid(ORDER)
    told = {**ORDER, "note": "n", "size": "s"} if "nullable" in rules.keywords else ORDER  # JSON Schema has no nullable
    assert Draft202012Validator(found).is_valid(told)
    assert {each.name for each in receipt} == {"schema"}


@pytest.mark.parametrize("rules", [OPENAI_SCHEMAS, GEMINI_SCHEMAS], ids=["openai", "gemini"])
def test_a_union_that_is_told_apart_by_a_property_may_hold_itself(rules: SchemaRules) -> None:
    class Whole(BaseModel):
        sum: Annotated[Number | Sum, Field(discriminator="kind")]

    found, receipt = reduced(Whole.model_json_schema(), rules)
    both = [{"$ref": "#/$defs/Number"}, {"$ref": "#/$defs/Sum"}]
    assert found["properties"]["sum"]["anyOf"] == both
    assert found["$defs"]["Sum"]["properties"]["left"]["anyOf"] == both
    assert any("discriminator is not understood" in each.reason for each in receipt)


@pytest.mark.parametrize("rules", [OPENAI_SCHEMAS, GEMINI_SCHEMAS], ids=["openai", "gemini"])
@pytest.mark.parametrize("beside", ["x-order", "externalDocs", "xml"])
def test_what_says_nothing_of_values_does_not_take_a_reference_apart(rules: SchemaRules, beside: str) -> None:
    again = {"$ref": "#/$defs/Node", beside: {"a": 1}}
    node = {"type": "object", "properties": {"next": {"anyOf": [again, {"type": "null"}]}}, "required": ["next"]}
    schema = {"type": "object", "properties": {"first": again}, "required": ["first"], "$defs": {"Node": node}}
    found, _ = reduced(schema, rules)
    assert found["properties"]["first"] == {"$ref": "#/$defs/Node"}


@every_row
def test_a_definition_of_itself_is_refused_in_words_where_there_are_none(rules: SchemaRules) -> None:
    if rules.recursion:
        assert reduced(Order.model_json_schema(), rules)
        return
    with pytest.raises(UnsupportedFeature, match="refers to itself"):
        reduced(Order.model_json_schema(), rules)


@every_row
@pytest.mark.parametrize(
    ("part", "allowed", "refused"),
    [
        ({"type": ["integer", "number"], "enum": [1, 1.5, True]}, [1, 1.5], []),
        ({"type": ["string", "integer"], "enum": ["a", 1, 1.5, None]}, ["a", 1], []),
        ({"type": "string", "enum": ["a", None, 1]}, ["a"], ["b", None, 1]),
        ({"type": "integer", "enum": [1.0, 2]}, [1, 2], []),
    ],
)
def test_values_keep_their_types(rules: SchemaRules, part: Any, allowed: list[Any], refused: list[Any]) -> None:
    schema = {"type": "object", "properties": {"a": part}, "required": ["a"]}
    found = Draft202012Validator(reduced(schema, rules)[0])
    assert all(found.is_valid({"a": value}) for value in allowed)
    assert not any(found.is_valid({"a": value}) for value in refused)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
        {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": {"type": "null"}},
        {
            "type": "object",
            "patternProperties": {"^x": {"type": "integer"}},
            "additionalProperties": {"type": "null"},
            "required": ["x1"],
        },
        {
            "type": "object",
            "allOf": [
                {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
                {"properties": {"x1": {"type": "integer"}}, "required": ["x1"]},
            ],
        },
        {
            "type": "object",
            "allOf": [
                {"required": ["x1"]},
                {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
            ],
        },
    ],
)
def test_names_of_a_pattern_are_no_other_names(schema: dict[str, Any]) -> None:
    assert Draft202012Validator(schema).is_valid({"x1": 1})
    found, _ = reduced(schema, GEMINI_SCHEMAS)
    assert Draft202012Validator(found).is_valid({"x1": 1})
    assert "^x" in found["description"] and "additionalProperties" in found["description"]


@every_row
def test_a_schema_of_200_kilobytes_costs_little(rules: SchemaRules) -> None:
    leaf = {"type": ["string", "null"], "enum": ["a", "b", None], "description": "d" * 60}
    inner = {"type": "object", "properties": {f"p{each}": leaf for each in range(20)}, "required": ["p0"]}
    names = [f"n{each}" for each in range(70)]
    whole = {"type": "object", "properties": dict.fromkeys(names, inner), "required": names}
    assert len(str(whole)) > 200_000
    start = time.process_time()
    counted = rules.max_enum_values is not None
    with pytest.raises(UnsupportedFeature, match="values in its enums") if counted else contextlib.nullcontext():
        reduced(whole, rules)
    assert time.process_time() - start < 3


_MANY = 3000


@every_row
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {f"p{n}": True for n in range(_MANY)}, "anyOf": [{"minProperties": n} for n in range(_MANY)]},
        {"required": [f"p{n}" for n in range(_MANY)], "anyOf": [{"required": [f"q{n}"]} for n in range(_MANY)]},
        {"allOf": [{"properties": {f"p{n}": {"type": "string"}}} for n in range(_MANY)]},
        {"allOf": [{"enum": list(range(6000))}, {"enum": list(range(6000, 0, -1))}]},
        {"minProperties": 1, "anyOf": [{"$ref": "#/$defs/wide"}] * _MANY},
    ],
    ids=["properties", "required", "allOf", "enum", "reference"],
)
def test_wide_schemas_that_multiply_are_refused_before_they_have(rules: SchemaRules, schema: dict[str, Any]) -> None:
    wide = {"properties": {f"p{n}": True for n in range(_MANY)}}
    tracemalloc.start()
    start = time.process_time()
    with contextlib.suppress(UnsupportedFeature):
        reduced({"type": "object", "properties": {"whole": schema}, "$defs": {"wide": wide}}, rules)
    took, (_, most) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 6 and most < 200_000_000


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ([1, True, "1"], [1.0], [1]),
        ([[1], [True], {"a": 1}], [{"a": 1.0}, [1]], [[1], {"a": 1}]),
        ([None, 0, False], [False, None], [None, False]),
    ],
)
def test_values_that_both_allow_are_compared_as_json_has_them(first: Any, second: Any, both: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"allOf": [{"enum": first}, {"enum": second}]}}}
    every = msgspec.structs.replace(GEMINI_SCHEMAS, enums=frozenset({"null", "boolean", "number", "array", "object"}))
    (found,) = reduced(schema, every)[0]["properties"].values()
    assert [repr(each) for each in found["enum"]] == [repr(each) for each in both]
