"""Every number, text, list and mapping of the main configuration has an upper bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lollms_server.core.settings import MainConfig


def unbounded(schema: dict[str, Any], definitions: dict[str, Any], place: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    for branch in schema.get("anyOf", ()):
        yield from unbounded(branch, definitions, place)
    match schema.get("type"):
        case "string" if not ("maxLength" in schema or "enum" in schema or "const" in schema):
            yield f"{place}: text"
        case "integer" | "number" if not {"maximum", "minimum"} <= set(schema):
            yield f"{place}: number"
        case "array":
            if "maxItems" not in schema:
                yield f"{place}: list"
            yield from unbounded(schema["items"], definitions, f"{place}[]")
        case "object":
            for name, field in schema.get("properties", {}).items():
                yield from unbounded(field, definitions, f"{place}.{name}")
            free = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
            for extra in (each for each in free if isinstance(each, dict)):
                if "maxProperties" not in schema or "maxLength" not in schema.get("propertyNames", {}):
                    yield f"{place}: mapping"
                yield from unbounded(extra, definitions, f"{place}.*")
            if free == [None] or True in free:
                yield f"{place}: takes anything"


def test_every_field_has_an_upper_bound() -> None:
    schema = MainConfig.model_json_schema()
    assert list(unbounded(schema, schema["$defs"], "")) == []


def test_the_walk_finds_what_is_unbounded() -> None:
    loose = {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "number"}}},
    }
    assert len(list(unbounded(loose, {}, ""))) == 5
    assert list(unbounded({"type": "object"}, {}, "")) == [": takes anything"]
