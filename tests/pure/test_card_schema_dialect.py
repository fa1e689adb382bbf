"""The schema dialect of cards: what it accepts, what it fills in, and what it refuses, for any data at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lollms_core.config.schema import Section, parse_schema, public_view, suggestion, validate
from lollms_core.errors import ConfigError

OPENAI: dict[str, Any] = {
    "__version__": "0.1.0",
    "type": {"type": "str", "default": "openai_binding", "help": "The binding."},
    "binding_instance_name": {"type": "str", "default": "openai", "help": "The name."},
    "default_model": {"type": "str", "nullable": True, "default": "gpt-4o-mini", "help": "A model."},
    "api_key": {"type": "str", "nullable": True, "secret": True, "default": None, "help": "The key."},
    "context_size": {"type": "int", "default": 4096, "min_val": 64, "max_val": 1_000_000},
    "strength": {"type": "float", "default": 0.8, "min_val": 0, "max_val": 1},
    "quality": {"type": "str", "default": "standard", "options": ["standard", "hd"]},
    "lora_paths": {"type": "list", "default": []},
    "use_fp16": {"type": "bool", "default": True},
    "model_path": {"type": "str"},
    "advanced": {
        "type": "section",
        "help": "More.",
        "schema": {"token": {"type": "str", "default": "", "secret": True}, "retries": {"type": "int", "default": 2}},
    },
    "vault": {"type": "section", "secret": True, "schema": {"a": {"type": "str", "default": "x"}}},
    "extra": {"type": "section", "schema": {}},
}
SCHEMA = parse_schema(OPENAI)
LEAST = {"model_path": "/m.gguf"}


def test_defaults_are_filled_in_at_every_level() -> None:
    result = validate(SCHEMA, {"__version__": "0.0.9", **LEAST, "advanced": {"retries": 5}})
    assert result.errors == () and result.unknown == ()
    assert result.values["default_model"] == "gpt-4o-mini"
    assert result.values["api_key"] is None
    assert result.values["advanced"] == {"token": "", "retries": 5}
    assert result.values["extra"] == {}
    assert "__version__" not in result.values


def test_defaults_are_not_shared_between_instances() -> None:
    first = validate(SCHEMA, LEAST).values
    first["lora_paths"].append("x")
    assert validate(SCHEMA, LEAST).values["lora_paths"] == []


def test_secrets_are_known_by_declaration_set_or_not() -> None:
    assert validate(SCHEMA, LEAST).secrets == {("api_key",), ("advanced", "token"), ("vault", "a")}


def test_undeclared_names_are_left_out_and_reported() -> None:
    result = validate(SCHEMA, {**LEAST, "api_kye": "x", "advanced": {"tries": 1}, "extra": {"any": [1]}})
    assert result.unknown == (("advanced", "tries"), ("api_kye",))
    assert "api_kye" not in result.values
    assert result.values["extra"] == {"any": [1]}
    assert suggestion("api_kye", list(OPENAI)) == " Did you mean 'api_key'?"


@pytest.mark.parametrize(
    ("data", "path", "words"),
    [
        ({}, ("model_path",), "is missing"),
        ({"model_path": None}, ("model_path",), "not empty"),
        ({"model_path": 5}, ("model_path",), "text"),
        ({**LEAST, "context_size": "4096"}, ("context_size",), "whole number"),
        ({**LEAST, "context_size": 4096.0}, ("context_size",), "whole number"),
        ({**LEAST, "context_size": True}, ("context_size",), "whole number"),
        ({**LEAST, "context_size": 63}, ("context_size",), "at least 64"),
        ({**LEAST, "context_size": 10**9}, ("context_size",), "at most 1000000"),
        ({**LEAST, "strength": 1.5}, ("strength",), "at most 1"),
        ({**LEAST, "strength": float("nan")}, ("strength",), "finite"),
        ({**LEAST, "strength": "0.5"}, ("strength",), "a number"),
        ({**LEAST, "quality": "best"}, ("quality",), "standard, hd"),
        ({**LEAST, "lora_paths": "x"}, ("lora_paths",), "a list"),
        ({**LEAST, "use_fp16": 1}, ("use_fp16",), "true or false"),
        ({**LEAST, "advanced": 5}, ("advanced",), "mapping"),
        ({**LEAST, "advanced": {"retries": "many"}}, ("advanced", "retries"), "whole number"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(data: dict[str, Any], path: tuple[str, ...], words: str) -> None:
    ((where, sentence),) = validate(SCHEMA, data).errors
    assert where == path
    assert words in sentence


def test_a_whole_number_does_for_a_float() -> None:
    assert validate(SCHEMA, {**LEAST, "strength": 1}).errors == ()


def test_the_public_view_shows_declared_fields_without_secrets() -> None:
    data = {**LEAST, "api_key": "canary", "undeclared": "canary", "extra": {"x": "canary"}, "vault": {"a": "canary"}}
    values = validate(SCHEMA, {**data, "advanced": {"token": "canary"}}).values
    view = public_view(SCHEMA, values)
    assert "canary" not in repr(view)
    assert view["advanced"] == {"retries": 2}
    assert view["model_path"] == "/m.gguf"
    assert view["extra"] == view["vault"] == {}


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ({"a": 5}, "instance_schema.a:"),
        ({"a": {}}, "instance_schema.a.type:"),
        ({"a": {"type": "dict"}}, "instance_schema.a.type:"),
        ({"a": {"type": ["str"]}}, "instance_schema.a.type:"),
        ({"a": {"type": "str", "default": 5}}, "instance_schema.a.default:"),
        ({"a": {"type": "str", "default": None}}, "instance_schema.a.default:"),
        ({"a": {"type": "int", "default": 5, "min_val": 6}}, "instance_schema.a.default:"),
        ({"a": {"type": "int", "default": 5, "min_val": "1"}}, "instance_schema.a.min_val:"),
        ({"a": {"type": "str", "default": "x", "options": []}}, "instance_schema.a.options:"),
        ({"a": {"type": "str", "default": "x", "options": ["y"]}}, "instance_schema.a.default:"),
        ({"a": {"type": "str", "default": "x", "secret": "yes"}}, "instance_schema.a.secret:"),
        ({"a": {"type": "str", "default": "x", "nullable": 1}}, "instance_schema.a.nullable:"),
        ({"a": {"type": "section"}}, "instance_schema.a.schema:"),
        ({"a": {"type": "section", "schema": {"b": {"type": "x"}}}}, "instance_schema.a.b.type:"),
    ],
)
def test_a_wrong_schema_is_named_by_its_path(raw: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_schema(raw)
    assert caught.value.message.startswith(place)


def test_a_schema_without_end_is_refused() -> None:
    raw: dict[str, Any] = {"a": {"type": "str", "default": ""}}
    for _ in range(20):
        raw = {"s": {"type": "section", "schema": raw}}
    with pytest.raises(ConfigError, match="levels"):
        parse_schema(raw)
    with pytest.raises(ConfigError, match="fields"):
        parse_schema({f"f{n}": {"type": "str", "default": ""} for n in range(1000)})


def test_an_empty_schema_declares_nothing() -> None:
    assert parse_schema({"__version__": "1"}) == Section()
    assert validate(Section(), {"a": 1}).unknown == (("a",),)


WORDS = st.text("abc_.0\n", max_size=5)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*OPENAI, "other"]), PLAIN))
def test_any_data_gives_values_or_errors_and_never_an_exception(data: dict[str, Any]) -> None:
    result = validate(SCHEMA, data)
    assert set(result.values) <= set(SCHEMA.fields)
    if not result.errors:
        assert set(result.values) == set(SCHEMA.fields)
        again = validate(SCHEMA, result.values)
        assert again.errors == () and again.values == result.values


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(WORDS, PLAIN | st.dictionaries(st.sampled_from(["type", "default"]), PLAIN)))
def test_any_schema_is_read_or_refused_with_a_typed_error(raw: dict[str, Any]) -> None:
    try:
        schema = parse_schema(raw)
    except ConfigError:
        return
    validate(schema, {})
