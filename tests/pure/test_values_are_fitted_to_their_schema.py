"""A value is fitted to its schema where that loses nothing and can mean one thing only; templates and schemas mean."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import InvalidRequest
from lollms_core.flows.shapes import shape_of
from lollms_core.text.json_fitting import fitted
from lollms_core.text.json_roots import as_object
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.text.templates import is_json_schema, schema_of_template

INTEGER, NUMBER, BOOLEAN, STRING = ({"type": name} for name in ("integer", "number", "boolean", "string"))
STRINGS = {"type": "array", "items": STRING}
CLOSED = {"type": "object", "properties": {"a": INTEGER}, "required": ["a"], "additionalProperties": False}
MAYBE = {"anyOf": [INTEGER, {"type": "null"}]}
NULLABLE = {"type": "object", "properties": {"a": INTEGER, "b": MAYBE}, "required": ["a", "b"]}
OPTIONAL = {**CLOSED, "properties": {"a": INTEGER, "b": {"enum": ["x"]}}}
TREE = {
    "$defs": {
        "T": {"type": "object", "properties": {"n": INTEGER, "t": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}
    },
    "$ref": "#/$defs/T",
}

FITTED: list[tuple[Any, Any, Any]] = [
    ("34", INTEGER, 34),
    (" -34 ", INTEGER, -34),
    ("34.0", INTEGER, 34),
    (34.0, INTEGER, 34),
    ("123456789012345678901234567890", INTEGER, 123456789012345678901234567890),
    ("3.5", NUMBER, 3.5),
    ("-1e3", NUMBER, -1000.0),
    ("true", BOOLEAN, True),
    ("False", BOOLEAN, False),
    (34, STRING, "34"),
    ("null", {"type": ["integer", "null"]}, None),
    ("34", {"type": ["integer", "null"]}, 34),
    ("34", MAYBE, 34),
    ("hiking", STRINGS, ["hiking"]),
    ({"a": 1}, {"type": "array", "items": CLOSED}, [{"a": 1}]),
    ([1, "x"], STRINGS, ["1", "x"]),
    ({"a": 1, "b": 2}, CLOSED, {"a": 1}),
    ({"a": "1", "b": 2}, CLOSED, {"a": 1}),
    ({"a": 1}, NULLABLE, {"a": 1, "b": None}),
    (" Red ", {"enum": ["red", "blue"]}, "red"),
    ("2", {"enum": [1, 2]}, 2),
    (2, {"enum": ["1", "2"]}, "2"),
    ("YES", {"const": "yes"}, "yes"),
    ({"n": "1", "t": [{"n": 2.0}]}, TREE, {"n": 1, "t": [{"n": 2}]}),
    ({"n": "1"}, {"allOf": [{"type": "object", "properties": {"n": INTEGER}}]}, {"n": 1}),
    (["1", "x"], {"type": "array", "prefixItems": [INTEGER, STRING]}, [1, "x"]),
    ({"x": "1"}, {"type": "object", "additionalProperties": INTEGER}, {"x": 1}),
    ({"a": 1, "b": None}, OPTIONAL, {"a": 1}),
    ([{"a": "1", "b": None}], {"type": "array", "items": OPTIONAL}, [{"a": 1}]),
    ({"o": {"a": 1, "b": None}}, {"properties": {"o": {"anyOf": [OPTIONAL, {"type": "null"}]}}}, {"o": {"a": 1}}),
    ("1", {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": INTEGER}}, 1),
    ({"n": "1"}, {"properties": {"n": {"$ref": "#/anyOf/0"}}, "anyOf": [{"type": ["integer", "object"]}]}, {"n": 1}),
]

LEFT: list[tuple[Any, Any]] = [
    ("34 years", INTEGER),
    ("1,000", NUMBER),
    ("٣٤", INTEGER),
    ("0x10", INTEGER),
    ("007", INTEGER),
    ("3.5", INTEGER),
    (3.5, INTEGER),
    (1e300, INTEGER),
    ("1e999", NUMBER),
    ("nan", NUMBER),
    ("", INTEGER),
    ("yes", BOOLEAN),
    (1, BOOLEAN),
    ("1", BOOLEAN),
    (True, INTEGER),
    (True, STRING),
    (1.5, STRING),
    (None, STRING),
    (["a"], STRING),
    ("hiking, python", STRINGS),
    ("hiking and python", STRINGS),
    ("", STRINGS),
    (None, STRINGS),
    ("x", {"type": "array"}),
    ({"b": 1}, CLOSED),
    ({"A": 1, "b": 2}, CLOSED),
    ({"a": 1, "B": 2}, {**NULLABLE, "additionalProperties": False}),
    ({"b": 1}, NULLABLE),
    ("green", {"enum": ["red", "blue"]}),
    ("RED", {"enum": ["red", "Red"]}),
    ("34", {"anyOf": [INTEGER, {"type": "array", "items": STRING}]}),
    ({"b": None}, CLOSED),
    ({"a": None}, OPTIONAL),
    ({"x": 1, "y": 2}, {**OPTIONAL, "required": []}),
    ("x", {"$ref": "#/nowhere"}),
    ("x", {"$ref": "http://127.0.0.1:1/x"}),
]


def fit(value: Any, schema: Any) -> Any:
    return fitted(value, schema, SchemaChecker(_known(schema)).is_valid)


def _known(schema: Any) -> Any:
    """A schema that can be checked, for parts of one that refers to nothing."""
    return {} if str(schema.get("$ref", "#/$defs")).startswith(("#/nowhere", "http")) else schema


@pytest.mark.parametrize(("value", "schema", "wanted"), FITTED)
def test_what_is_clear_is_fitted_and_told(value: Any, schema: Any, wanted: Any) -> None:
    before = copy.deepcopy(value)
    found = fit(value, schema)
    assert (found.value, value) == (wanted, before)
    assert json.dumps(found.value) == json.dumps(wanted)  # True is no 1
    assert found.changes
    SchemaChecker(schema).check(found.value)
    assert fit(found.value, schema) == (found.value, ())


@pytest.mark.parametrize(("value", "schema"), LEFT)
def test_what_might_mean_another_thing_is_left(value: Any, schema: Any) -> None:
    found = fit(value, schema)
    assert json.dumps(found.value) == json.dumps(value)
    assert found.changes == ()


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text(max_size=4), st.sampled_from(["1", "true", "a"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abnt"), inner, max_size=3)),
    max_leaves=8,
)
_schemas = st.sampled_from(
    [CLOSED, NULLABLE, TREE, STRINGS, MAYBE, {"type": "array", "items": CLOSED}, {"enum": ["a", 1]}]
)


@given(_values, _schemas)
def test_what_obeys_already_is_never_touched(value: Any, schema: Any) -> None:
    checker, before = SchemaChecker(schema), copy.deepcopy(value)
    found = fitted(value, schema, checker.is_valid)
    assert value == before
    if checker.is_valid(value, schema):
        assert found == (value, ())


def test_a_large_value_is_fitted_in_linear_time() -> None:
    schema = {"type": "array", "items": {"anyOf": [INTEGER, {"type": "null"}]}}
    begin = time.process_time()
    found = fit([str(number) for number in range(4_000)], schema)
    assert found.value == list(range(4_000))
    assert time.process_time() - begin < 4


# ---- the checker


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "thing"}, "not right at type"),
        ({"$ref": "#/$defs/x"}, "which is not in it"),
        ({"$ref": "http://127.0.0.1:1/x"}, "which is not in it"),
        ({"type": "object", "properties": {"a": {"items": {"$ref": "#/b"}}}}, "which is not in it"),
        ({"$ref": "#"}, "itself without an end"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "itself without an end"),
        ({"allOf": [{"$ref": "#"}]}, "itself without an end"),
        ({"$schema": 5}, "must be a text"),
        ({"$schema": ["x"]}, "must be a text"),
    ],
)
def test_a_schema_that_can_never_be_checked_is_refused_before_anybody_is_asked(schema: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        SchemaChecker(schema)


def test_what_only_looks_like_a_reference_is_none() -> None:
    schema = {"properties": {"$ref": {"type": "string"}}, "const": {"$ref": "#/nowhere"}, "examples": [{"$ref": "#/x"}]}
    assert SchemaChecker(schema).check({"$ref": "#/nowhere"})


def test_checks_cost_linear_time() -> None:
    mixed = [[number, str(number), {"n": number}][number % 3] for number in range(20_000)]
    begin = time.process_time()
    assert SchemaChecker({"uniqueItems": True}).check(mixed) == mixed
    with pytest.raises(ValueError, match="not all different"):
        SchemaChecker({"uniqueItems": True}).check([*mixed, {"n": 2}])
    with pytest.raises(ValueError, match="is not of type"):
        SchemaChecker({"items": {"type": "null"}}).check(mixed)
    assert time.process_time() - begin < 2
    SchemaChecker({"uniqueItems": True}).check([1, True, "1", [1], [True], {"a": 1}])
    with pytest.raises(ValueError, match="not all different"):
        SchemaChecker({"uniqueItems": True}).check([[1], [1.0]])


def expression(levels: int, leaf: Any) -> tuple[Any, Any]:
    """The schema of sums and products of sums and products, and a value of it."""
    any_of = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("number", "sum", "product", "power")]}
    sides = {"left": any_of, "right": any_of}
    pairs = {
        name: {"type": "object", "properties": {**sides, "is": {"const": name}}, "required": ["left", "right"]}
        for name in ("sum", "product", "power")
    }
    number = {"type": "object", "properties": {"n": INTEGER}, "required": ["n"]}
    value = {"n": leaf}
    for level in range(levels):
        value = {"is": "sum" if level % 2 else "product", "left": value, "right": {"n": 1}}
    return {**any_of, "$defs": {**pairs, "number": number}}, value


def test_alternatives_within_alternatives_are_checked_once() -> None:
    begin = time.process_time()
    schema, right = expression(12, 1)
    assert SchemaChecker(schema).check(right) == right
    with pytest.raises(ValueError, match=f"^at {'left/' * 12}n, 'x' is not"):
        SchemaChecker(schema).check(expression(12, "x")[1])
    assert fit(expression(12, "1")[1], schema).value == right
    unclear = {"anyOf": [{"properties": {"a": {"$ref": "#"}, name: INTEGER}, "type": "object"} for name in "bcd"]}
    value: Any = 1
    for _ in range(12):
        value = {"a": value}
    with pytest.raises(ValueError, match="under any of the given schemas"):
        SchemaChecker(unclear).check(value)
    assert fit(value, unclear).changes == ()
    assert time.process_time() - begin < 4


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"anyOf": [CLOSED, {"type": "null"}]}, {"a": "x"}, "^at a, 'x' is not of type"),
        ({"oneOf": [CLOSED, {"type": "object", "required": ["b"]}]}, {"a": "x"}, "^at a, 'x' is not of type"),
        ({"oneOf": [INTEGER, NUMBER]}, 1, "is valid under each of"),
        ({"anyOf": [INTEGER]}, "x", "^'x' is not of type 'integer'"),
    ],
)
def test_what_is_wrong_is_told_of_the_alternative_that_is_meant(schema: Any, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SchemaChecker(schema).check(value)


def test_verdicts_are_of_one_check_and_of_one_value() -> None:
    checker, value = SchemaChecker(TREE), {"n": 1, "t": [{"n": 2}]}
    assert checker.check(value) is value
    value["t"] = [{"n": "x"}]
    with pytest.raises(ValueError, match="at t/0/n"):
        checker.check(value)
    value["t"] = []
    assert checker.check(value) is value
    node = {"$dynamicAnchor": "node", "properties": {"t": {"$dynamicRef": "#node"}}}
    with pytest.raises(ValueError, match="at t/t, 1 is not of type"):
        SchemaChecker({**node, "type": "object"}).check({"t": {"t": 1}})


def test_multiples_are_exact() -> None:
    cents = SchemaChecker({"type": "number", "multipleOf": 0.01})
    for value in (19.99, 0.3, 1e308, 10**400, 5, "no number"):
        assert cents.is_valid(value, cents._validator.schema) is not isinstance(value, str)
    for value in (0.001, 19.995, 1e-308):
        with pytest.raises(ValueError, match=r"is not a multiple of 0\.01"):
            cents.check(value)


# ---- the schema of an object


@pytest.mark.parametrize(
    ("schema", "is_inside"),
    [
        ({"type": "object"}, False),
        ({"type": ["object"]}, False),
        ({"properties": {"a": {}}}, False),
        (TREE, False),
        ({"anyOf": [CLOSED, {"$ref": "#/$defs/T"}], "$defs": TREE["$defs"]}, False),
        ({"allOf": [CLOSED, {}]}, False),
        ({"type": ["object", "null"]}, True),
        ({"anyOf": [CLOSED, {"type": "null"}]}, True),
        ({"const": 1}, True),
        ({"$ref": "#/$defs/x", "$defs": {"x": STRINGS}}, True),
        (STRINGS, True),
        ({}, True),
    ],
)
def test_what_may_be_no_object_stands_inside_of_one(schema: Any, is_inside: bool) -> None:
    before = copy.deepcopy(schema)
    root = as_object(schema)
    assert root.is_inside is is_inside
    assert schema == before
    SchemaChecker(root.schema)
    if is_inside or "$ref" in schema:
        assert root.schema["type"] == "object"


def test_references_are_right_where_the_value_stands_inside() -> None:
    schema = {
        "type": "array",
        "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#/$defs/n"}, {"$ref": "#/items/anyOf/3"}, {"type": "null"}]},
        "$defs": {"n": {"type": "object", "properties": {"deep": {"$ref": "#"}, "$ref": {"const": {"$ref": "#"}}}}},
    }
    checker = SchemaChecker(as_object(schema).schema)
    for value in ([[None]], [{"deep": [None]}], [{"$ref": {"$ref": "#"}}]):
        assert SchemaChecker(schema).check(value) == value
        assert checker.check({"value": value})
    with pytest.raises(ValueError, match=r"is not of type|not valid under any"):
        checker.check({"value": [{"deep": 1}]})


# ---- templates


@pytest.mark.parametrize(
    ("template", "means"),
    [
        ("string", STRING),
        (" Integer ", INTEGER),
        ("float", NUMBER),
        ("true/false", BOOLEAN),
        ("list", {"type": "array"}),
        ("dict", {"type": "object"}),
        ("list of strings", STRINGS),
        ("a list of integers", {"type": "array", "items": INTEGER}),
        ("array[number]", {"type": "array", "items": NUMBER}),
        ("list of lists of booleans", {"type": "array", "items": {"type": "array", "items": BOOLEAN}}),
        ("list of Hobbies of John", {"type": "array", "items": {"type": "string", "description": "Hobbies of John"}}),
        ("integer or null", {"type": ["integer", "null"]}),
        ("string | null", {"type": ["string", "null"]}),
        ("Optional[int]", {"type": ["integer", "null"]}),
        ("integer|string", {"type": ["integer", "string"]}),
        ("true or false or none", {"type": ["boolean", "null"]}),
        ("int or integer", INTEGER),
        ("list of numbers or nulls", {"type": "array", "items": {"type": "string", "description": "numbers or nulls"}}),
        ("name or title", {"type": "string", "description": "name or title"}),
        ("int|" * 1_000 + "int", {"type": "string", "description": "int|" * 1_000 + "int"}),
        ("where they live", {"type": "string", "description": "where they live"}),
        ("numbers", {"type": "string", "description": "numbers"}),
        ("", STRING),
        (["list", "of", "strings"], STRINGS),
        (["string"], STRINGS),
        (["hobby", "another"], {"type": "array", "items": {"type": "string", "description": "hobby"}}),
        ([], {"type": "array"}),
        ([{"n": 1}], {"type": "array", "items": {**CLOSED, "properties": {"n": INTEGER}, "required": ["n"]}}),
        (1, INTEGER),
        (1.5, NUMBER),
        (True, BOOLEAN),
        (None, {}),
        ({}, {"type": "object"}),
        ({"type": "integer", "enum": [1]}, {"type": "integer", "enum": [1]}),
    ],
)
def test_what_the_parts_of_a_template_mean(template: Any, means: Any) -> None:
    assert schema_of_template({"x": template})["properties"]["x"] == means


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"a": {1, 2}},
        {"a": "list of " * 1_000 + "x"},
        json.loads('{"a":' * 100 + "1" + "}" * 100),
        {"a": float("nan")},
        {"type": "object", "properties": {"a": {"default": {1}}}},
        {"type": "object", "properties": {"a": {"default": float("inf")}}},
        {"type": "object", "properties": {"a": {"description": "\ud800"}}},
    ],
)
def test_what_no_json_could_look_like_is_refused(template: Any) -> None:
    with pytest.raises(InvalidRequest):
        shape_of(template)


@pytest.mark.parametrize("text", ["{", "[]", '"string"', "[" * 100_000])
def test_text_that_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        shape_of(text)


def test_what_is_a_schema_and_what_a_template() -> None:
    assert is_json_schema({"$schema": "x"})
    assert is_json_schema({"type": "object", "properties": {}})
    assert is_json_schema({"type": ["string", "null"], "enum": [None]})
    assert is_json_schema({"type": "array", "items": {}})
    assert is_json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}})
    assert is_json_schema({"oneOf": [{"type": ["string"]}, {"$ref": "#/$defs/a"}]})
    assert is_json_schema({"type": "object", "additionalProperties": {"type": "integer"}})
    assert not is_json_schema({"anyOf": ["list", "of", "strings"], "allOf": "string", "oneOf": [{"name": "string"}]})
    assert not is_json_schema({"type": "object"})
    assert not is_json_schema({"type": "kind of thing", "items": ["list", "of", "strings"]})
    assert not is_json_schema({"enum": ["a"]})
    assert not is_json_schema({"type": [], "items": "list"})
    assert shape_of({"name": "string"}).schema == shape_of('{"name": "string"}').schema
