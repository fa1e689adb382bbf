"""A JSON Schema goes to a provider in the words it understands; answers that were allowed stay allowed."""

from __future__ import annotations

import contextlib
import copy
import time
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lollms_core.errors import InvalidRequest, LollmsError, UnsupportedFeature
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

Pair = tuple[dict[str, Any], Any]  # a schema and a value that it allows


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _valid(schema: Any, value: Any) -> bool:
    return Draft202012Validator(_standard(schema)).is_valid(value)


def _standard(schema: Any) -> Any:
    """The same without `nullable`, which JSON Schema does not have."""
    if isinstance(schema, list):
        return [_standard(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _standard(value) for key, value in schema.items() if key != "nullable" or not isinstance(value, bool)}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


def _keywords(schema: Any) -> set[str]:
    """All keywords of a schema and of those inside of it."""
    found: set[str] = set()
    todo = [schema]
    while todo:
        part = todo.pop()
        if not isinstance(part, dict):
            continue
        found |= set(part)
        for key in ("properties", "$defs"):
            todo += part.get(key, {}).values()
        for key in ("anyOf", "prefixItems", "allOf", "oneOf"):
            todo += part.get(key, [])
        todo += [part.get("items"), part.get("additionalProperties")]
    return found


# ---- schemas with a value that they allow ---------------------------------------------------------------------------

_texts = st.text("abc 9", min_size=1, max_size=4)


@st.composite
def _leaf(draw: Any) -> Pair:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "null", "enum", "const", "either"]))
    about = draw(st.fixed_dictionaries({}, optional={"description": _texts, "title": _texts, "default": _texts}))
    text, number = draw(_texts), draw(st.integers(-5, 5))
    if kind == "string":
        bounds = {"minLength": 1, "maxLength": len(text), "pattern": "^.", "contentEncoding": "x"}
        chosen = draw(st.lists(st.sampled_from(sorted(bounds)), unique=True))
        return {**about, "type": "string", **{key: bounds[key] for key in chosen}}, text
    if kind in ("integer", "number"):
        bounds = {"minimum": number - 1, "exclusiveMaximum": number + 1, "multipleOf": 1, "maxLength": 3}
        chosen = draw(st.lists(st.sampled_from(sorted(bounds)), unique=True))
        return {**about, "type": kind, **{key: bounds[key] for key in chosen}}, number
    if kind == "enum":
        values = draw(st.lists(st.one_of(_texts, st.integers(0, 3), st.booleans(), st.none()), min_size=1, max_size=4))
        return {**about, "enum": values}, draw(st.sampled_from(values))
    if kind == "const":
        value = draw(st.one_of(_texts, st.integers(0, 3), st.booleans(), st.none()))
        return {**about, "const": value}, value
    if kind == "either":
        types = draw(st.lists(st.sampled_from(["string", "integer", "null"]), min_size=1, unique=True))
        value = {"string": text, "integer": number, "null": None}[draw(st.sampled_from(types))]
        return {**about, "type": types, "minLength": 1, "minimum": -5}, value
    return {**about, "type": kind}, True if kind == "boolean" else None


def _around(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    @st.composite
    def build(draw: Any) -> Pair:
        kind = draw(st.sampled_from(["object", "array", "tuple", "anyOf", "oneOf", "allOf"]))
        pairs = draw(st.lists(inner, min_size=1, max_size=3))
        schemas, values = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if kind == "object":
            names = ["a", "b/c", "d~"][: len(pairs)]
            made = _object(**dict(zip(names, schemas, strict=True)))
            made["required"] = draw(st.lists(st.sampled_from(names), unique=True))
            return made, dict(zip(names, values, strict=True))
        if kind == "array":
            bounds = draw(st.fixed_dictionaries({}, optional={"minItems": st.just(1), "maxItems": st.just(2)}))
            return {"type": "array", "items": schemas[0], **bounds}, [values[0]]
        if kind == "tuple":
            many = len(pairs)
            return {"type": "array", "prefixItems": schemas, "minItems": many, "maxItems": many}, values
        if kind == "allOf":
            return {"allOf": [schemas[0], {"description": "more"}], "title": "t"}, values[0]
        return {kind: schemas, "description": "one of them"}, draw(st.sampled_from(values))

    return build()


_pairs = st.recursive(_leaf(), _around, max_leaves=8)


@st.composite
def _wholes(draw: Any) -> Pair:
    """An object with definitions, some of which it refers to."""
    parts = draw(st.lists(_pairs, min_size=1, max_size=3))
    names = ["one", "two", "three"][: len(parts)]
    place = draw(st.sampled_from(["$defs", "definitions"]))
    properties, definitions = {}, {}
    for name, (schema, _) in zip(names, parts, strict=True):
        if draw(st.booleans()):
            definitions[name] = schema
            beside = draw(st.sampled_from([{}, {"description": "see there"}, {"minLength": 0}]))
            schema = {"$ref": f"#/{place}/{name}", **beside}
        properties[name] = schema
    return {**_object(**properties), place: definitions}, {
        name: value for name, (_, value) in zip(names, parts, strict=True)
    }


@every_row
@given(pair=_wholes())
def test_what_was_allowed_stays_allowed_in_words_that_are_understood(rules: SchemaRules, pair: Pair) -> None:
    schema, value = pair
    assume(_valid(schema, value))
    before = copy.deepcopy(schema)
    made, receipt = reduced(schema, rules)
    assert schema == before
    assert _keywords(made) <= rules.keywords
    assert _valid(made, value)
    assert reduced(made, rules) == (made, ())
    unsaid = {"$defs", "definitions"}  # definitions that nothing refers to mean nothing
    assert receipt or {**made, **dict.fromkeys(unsaid)} == {**schema, **dict.fromkeys(unsaid)}
    assert len(receipt) < 30
    for item in receipt:
        assert item.name == "schema" and item.action in ("rewritten", "dropped") and item.reason


_SOME_KEYWORDS = ["type", "properties", "items", "anyOf", "allOf", "oneOf", "$ref", "$defs", "enum", "const"]
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [*_SOME_KEYWORDS, "required", "additionalProperties", "prefixItems", "minimum", "nullable", "x", "not"]
            ),
            st.one_of(inner, st.sampled_from(["object", "string", "#", "#/$defs/x", "#/items", ["a"], [True, 1]])),
            max_size=4,
        ),
    ),
    max_leaves=15,
)


@every_row
@given(schema=_json)
def test_anything_gives_a_schema_or_a_typed_error(rules: SchemaRules, schema: Any) -> None:
    with contextlib.suppress(LollmsError):
        made, _ = reduced(schema, rules)
        assert _keywords(made) <= rules.keywords
        assert msgspec.json.encode(made)


# ---- one thing each -------------------------------------------------------------------------------------------------


def _reasons(schema: dict[str, Any], rules: SchemaRules) -> list[str]:
    return [f"{item.action} {item.reason}" for item in reduced(schema, rules)[1]]


@every_row
def test_a_schema_that_is_understood_is_sent_as_it_is(rules: SchemaRules) -> None:
    schema = _object(
        name={"type": "string", "description": "whose"}, ages={"type": "array", "items": {"type": "integer"}}
    )
    if "additionalProperties" not in rules.keywords:
        del schema["additionalProperties"]
    assert reduced(schema, rules) == (schema, ())


def test_a_bound_that_is_not_understood_is_said_in_the_description() -> None:
    schema = _object(name={"type": "string", "maxLength": 5, "description": "A name."})
    made, receipt = reduced(schema, ANTHROPIC_SCHEMAS)
    assert made["properties"]["name"] == {"type": "string", "description": "A name.\n\n(maxLength: 5)"}
    assert [(item.name, item.action) for item in receipt] == [("schema", "rewritten")]
    assert "maxLength" in receipt[0].reason and "/properties/name" in receipt[0].reason


def test_only_some_values_of_a_keyword_may_be_understood() -> None:
    schema = _object(
        a={"type": "string", "format": "iri"}, b={"type": "array", "items": {"type": "null"}, "minItems": 2}
    )
    made, _ = reduced(schema, ANTHROPIC_SCHEMAS)
    assert made["properties"]["a"] == {"type": "string", "description": '(format: "iri")'}
    assert made["properties"]["b"] == {"type": "array", "items": {"type": "null"}, "description": "(minItems: 2)"}
    fits = _object(
        a={"type": "string", "format": "date"}, b={"type": "array", "items": {"type": "null"}, "minItems": 1}
    )
    assert reduced(fits, ANTHROPIC_SCHEMAS) == (fits, ())


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", r"\bword", "(?<!a)b", "(?i)a"])
def test_an_expression_that_looks_around_is_said_in_words(pattern: str) -> None:
    made, _ = reduced(_object(a={"type": "string", "pattern": pattern}), OPENAI_SCHEMAS)
    assert "pattern" not in made["properties"]["a"]
    assert "pattern" in made["properties"]["a"]["description"]


def test_a_property_that_may_be_left_out_is_null_instead() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"enum": [1]}}, "required": ["a"]}
    made, receipt = reduced(schema, OPENAI_SCHEMAS)
    assert made["required"] == ["a", "b"]
    assert made["additionalProperties"] is False
    assert _valid(made, {"a": "x", "b": None}) and not _valid(made, {"a": "x"})
    assert len(receipt) == 3
    rules = msgspec.structs.replace(OPENAI_SCHEMAS, optional="refused")
    with pytest.raises(UnsupportedFeature, match="/properties/b"):
        reduced(schema, rules)
    may_be_null = _object(a={"type": ["string", "null"]}) | {"required": []}
    assert reduced(may_be_null, rules)[0]["required"] == ["a"]


def test_definitions_are_put_in_where_they_are_not_understood() -> None:
    schema = _object(a={"$ref": "#/definitions/A"}, b={"$ref": "#/definitions/A", "description": "again"}) | {
        "definitions": {"A": {"type": "integer", "minimum": 1}, "unused": {"type": "null"}}
    }
    made, receipt = reduced(schema, OPENAPI_SCHEMAS)
    assert made["properties"]["a"] == {"type": "integer", "minimum": 1}
    assert made["properties"]["b"] == {"type": "integer", "minimum": 1, "description": "again"}
    assert any("definition" in item.reason for item in receipt)
    kept, _ = reduced(schema, OPENAI_SCHEMAS)
    assert kept["$defs"] == {"A": {"type": "integer", "minimum": 1}}
    assert kept["properties"]["b"] == {"anyOf": [{"$ref": "#/$defs/A"}], "description": "again"}


_TREE = _object(children={"type": "array", "items": {"$ref": "#"}})
_CHAIN = _object(first={"$ref": "#/$defs/N"}) | {
    "$defs": {"N": _object(next={"anyOf": [{"$ref": "#/$defs/M"}, {"type": "null"}]}), "M": {"$ref": "#/$defs/N"}}
}


@pytest.mark.parametrize("schema", [_TREE, _CHAIN], ids=["tree", "chain"])
def test_a_definition_of_itself_is_kept_or_refused(schema: dict[str, Any]) -> None:
    made, _ = reduced(schema, OPENAI_SCHEMAS)
    assert _valid(made, {"children": [{"children": []}]}) or _valid(made, {"first": {"next": {"next": None}}})
    for rules in (ANTHROPIC_SCHEMAS, OPENAPI_SCHEMAS):
        with pytest.raises(UnsupportedFeature, match="itself"):
            reduced(schema, rules)


@every_row
@pytest.mark.parametrize(
    "schema",
    [
        _object(a={"$ref": "#/$defs/a"}) | {"$defs": {"a": {"$ref": "#/$defs/a"}}},
        _object(a={"$ref": "#/$defs/a"}) | {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"minLength": 1}]}}},
        {"$ref": "#"},
        _object(a={"$ref": "https://example.org/schema.json"}),
        _object(a={"$ref": "#/$defs/missing"}),
        _object(a={"allOf": [{"type": "string"}, {"type": "integer"}]}),
        _object(a={"enum": ["a"], "const": "b"}),
        _object(a=False),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_words(rules: SchemaRules, schema: dict[str, Any]) -> None:
    with pytest.raises((UnsupportedFeature, InvalidRequest), match="JSON Schema") as caught:
        reduced(schema, rules)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("rules", [OPENAI_SCHEMAS, ANTHROPIC_SCHEMAS, OPENAPI_SCHEMAS])
@pytest.mark.parametrize(
    "part",
    [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "patternProperties": {"^a": {"type": "string"}}},
        {"type": "object"},
        {"type": "array"},
        {"type": "array", "items": {}},
        {},
        True,
    ],
)
def test_what_leaves_the_model_no_words_is_refused_where_all_must_be_said(rules: SchemaRules, part: Any) -> None:
    with pytest.raises(UnsupportedFeature):
        reduced(_object(a=part), rules)


def test_a_map_of_free_names_is_asked_for_where_it_is_understood() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 3}}
    made, _ = reduced(schema, GEMINI_SCHEMAS)
    assert made["additionalProperties"] == {"type": "string", "description": "(maxLength: 3)"}


@pytest.mark.parametrize("schema", [{"type": "array", "items": {"type": "string"}}, {"type": "string"}])
def test_the_whole_answer_is_never_wrapped_silently(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeature, match="property"):
        reduced(schema, OPENAI_SCHEMAS)
    assert reduced(schema, GEMINI_SCHEMAS) == (schema, ())


def test_one_schema_says_what_all_of_them_say() -> None:
    made, _ = reduced(
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]},
                {"properties": {"a": {"minimum": 3, "maximum": 9}, "b": {"const": "x"}}, "required": ["b"]},
            ]
        },
        OPENAI_SCHEMAS,
    )
    assert made["properties"]["a"] == {"type": "integer", "minimum": 3, "maximum": 9}
    assert made["properties"]["b"] == {"type": "string", "const": "x"}
    assert made["required"] == ["a", "b"]


def test_null_is_said_as_the_provider_says_it() -> None:
    schema = _object(a={"type": ["string", "null"]}, b={"enum": ["x", None]}, c={"type": "integer", "nullable": True})
    made = reduced(schema, OPENAPI_SCHEMAS)[0]["properties"]
    assert made["a"] == {"type": "string", "nullable": True}
    assert made["b"] == {"type": "string", "enum": ["x"], "nullable": True}
    assert made["c"] == {"type": "integer", "nullable": True}
    made = reduced(schema, ANTHROPIC_SCHEMAS)[0]["properties"]
    assert made["a"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    made = reduced(schema, GEMINI_SCHEMAS)[0]["properties"]
    assert made["b"] == {"anyOf": [{"type": "string", "enum": ["x"]}, {"type": "null"}]}
    assert made["c"] == {"type": ["integer", "null"]}


# ---- limits ---------------------------------------------------------------------------------------------------------


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = _object(a=schema)
    return schema


def test_published_limits_are_kept() -> None:
    reduced(_deep(10), OPENAI_SCHEMAS)
    with pytest.raises(UnsupportedFeature, match="11 levels"):
        reduced(_deep(11), OPENAI_SCHEMAS)
    with pytest.raises(UnsupportedFeature, match="properties"):
        reduced(_object(**{f"p{n}": {"type": "null"} for n in range(5001)}), OPENAI_SCHEMAS)
    with pytest.raises(UnsupportedFeature, match="1001 values"):
        reduced(_object(a={"enum": list(range(1001))}), OPENAI_SCHEMAS)


@every_row
def test_bombs_are_typed_errors_in_bounded_time(rules: SchemaRules) -> None:
    cyclic: dict[str, Any] = {"type": "array"}
    cyclic["items"] = cyclic
    laughs = {f"d{n}": _object(a={"$ref": f"#/$defs/d{n + 1}"}, b={"$ref": f"#/$defs/d{n + 1}"}) for n in range(30)}
    bombs = [
        _deep(10_000),
        cyclic,
        {"anyOf": [{"type": "string"}] * 100_000},
        {**laughs["d0"], "$defs": {**laughs, "d30": {"type": "string"}}},
        {"allOf": [{"anyOf": [{"minLength": n}, {"minLength": n + 1}]} for n in range(60)]},
        {"type": "string", "nullable": "yes"},
        {"type": "text"},
        _object(a=5),
        _object(a={"type": "number", "minimum": float("nan")}),
        {"enum": [object()]},
        [],
    ]
    for bomb in bombs:
        start = time.process_time()
        if bomb is bombs[3] and "$ref" in rules.keywords:
            reduced(bomb, rules)  # its definitions are understood, and small
            continue
        with pytest.raises((InvalidRequest, UnsupportedFeature)) as caught:
            reduced(bomb, rules)  # type: ignore[arg-type]
        assert len(caught.value.message) < 500
        assert time.process_time() - start < 5


def test_a_large_schema_has_a_small_receipt() -> None:
    schema = _object(**{f"p{n}": {"type": "string", "minLength": n, "maxLength": n} for n in range(1000)})
    _, receipt = reduced(schema, ANTHROPIC_SCHEMAS)
    assert len(receipt) == 2
    assert all(len(item.reason) < 300 and "more places" in item.reason for item in receipt)


def test_the_cost_grows_with_the_size_and_no_faster() -> None:
    def cost(many: int) -> float:
        schema = _object(**{f"p{n}": {"type": ["string", "null"], "minLength": 1} for n in range(many)})
        start = time.process_time()
        reduced(schema, ANTHROPIC_SCHEMAS)
        return time.process_time() - start

    small = min(cost(200) for _ in range(3))
    assert min(cost(1600) for _ in range(3)) < 8 * 4 * small
