"""`--schema`: a file, a JSON Schema or a short form; the answer must have that shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lollms_cli.schemas import list_of, read_schema, read_shape
from lollms_core.errors import InvalidRequest
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.text.templates import is_json_schema

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "email": {"type": "string", "description": "where to write to"},
    },
    "required": ["name", "age", "email"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "given", ["name, age int, email: where to write to", "name\nage int\nemail str: where to write to\n"]
)
def test_the_short_form_is_a_flat_object(given: str) -> None:
    assert read_schema(given) == PERSON


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("string", "string"),
        ("text", "string"),
        ("integer", "integer"),
        ("Int", "integer"),
        ("number", "number"),
        ("decimal", "number"),
        ("boolean", "boolean"),
        ("list", "array"),
    ],
)
def test_the_short_form_has_the_words_of_templates_for_types(word: str, kind: str) -> None:
    found = read_schema(f"name, field {word}: what it is")["properties"]
    assert found == {"name": {"type": "string"}, "field": {"type": kind, "description": "what it is"}}


def test_a_line_may_have_commas_in_its_description() -> None:
    assert read_schema("a: x, y\nb float")["properties"]["a"]["description"] == "x, y"


def test_a_file_and_json_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "schema"
    file.write_text(json.dumps(PERSON), encoding="utf-8")
    assert read_schema(str(file)) == read_schema(json.dumps(PERSON)) == PERSON


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "empty"),
        ("a b c", "not a field.*parted by commas"),
        ("name, age year", "has the type 'year'; there are str, int, float, bool.* a comma is missing: age, year"),
        ("name age", "a comma is missing: name, age$"),
        ("a, a", "twice"),
        ("{", "not JSON"),
        ("nowhere.json", "There is no file"),
    ],
)
def test_what_is_no_schema_is_refused_in_words(given: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_schema(given)


def test_a_template_is_the_schema_that_it_means() -> None:
    template = {"name": "string", "tags": ["string"]}
    assert read_schema(json.dumps(template))["properties"]["tags"] == {"type": "array", "items": {"type": "string"}}
    assert read_shape(json.dumps(template)) == template


@pytest.mark.parametrize(
    "schema", [{"type": "object"}, {"anyOf": [{"type": "null"}]}, {"$ref": "#/$defs/n", "$defs": {"n": {}}}, PERSON]
)
def test_a_schema_is_no_template_however_it_is_written(schema: dict[str, object]) -> None:
    assert read_schema(json.dumps(schema)) == schema
    shape = read_shape(json.dumps(schema))
    assert {**shape, "$schema": ""} == {**schema, "$schema": ""}
    assert is_json_schema(shape)


def test_a_list_has_the_definitions_of_what_is_in_it() -> None:
    schema = {"$schema": "x", "$defs": {"n": {"type": "string"}}, "type": "object", "items": {"$ref": "#/$defs/n"}}
    assert list_of(schema) == {
        "type": "array",
        "items": {"type": "object", "items": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "string"}},
    }
    assert list_of({"name": "string"})["items"]["required"] == ["name"]


def test_a_schema_that_is_not_right_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at type"):
        SchemaChecker({"type": "thing"})


def test_a_right_answer_is_its_value() -> None:
    value = SchemaChecker(PERSON).value(' {"name": "A", "age": 3, "email": "x"}\n')
    assert value == {"name": "A", "age": 3, "email": "x"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("Sure!", "not JSON"),
        ('{"name": "A"}', "required"),
        ('{"name": "A", "age": "3", "email": ""}', "at age"),
        ("[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_a_wrong_answer_says_what_is_wrong(answer: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SchemaChecker(PERSON).value(answer)


def test_a_reference_out_of_the_schema_is_not_followed() -> None:
    with pytest.raises(ValueError, match="which is not in it"):
        SchemaChecker({"$ref": "http://127.0.0.1:1/schema.json"}).value("1")
    assert SchemaChecker({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}).value("1") == 1
