"""What each provider understands of JSON Schema, one row each; `schema_reduction` brings schemas down to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

__all__ = ["ANTHROPIC_SCHEMAS", "GEMINI_SCHEMAS", "OPENAI_SCHEMAS", "OPENAPI_SCHEMAS", "SchemaRules"]


class SchemaRules(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's part of JSON Schema. The defaults ask for nothing; only `keywords` are ever sent.

    `name` is the provider for messages. `values` are the only values of a keyword that it takes (`format`, `minItems`);
    a keyword that is not in there may have any. `enums` are the types that values of `enum` may have. `plain_patterns`:
    expressions without look-around, back references and word boundaries.

    `typed`: each part must say what type it has, an array of what, an object with which properties. `closed`: objects
    must forbid other properties. `optional`: whether a property may be left out (`kept`), must be there and is null
    instead (`nullable`), or is `refused` if null was not among its values before. `type_lists`: whether `type` may be a
    list. `recursion`: whether a definition may refer to itself. `root_object`: the whole must be an object, no union.

    `$ref` among the keywords means that definitions are understood; else they are put in where they are referred to.
    `nullable` among them means that null is said that way. The limits are counted over the whole schema: levels of
    objects and arrays, properties, values of enums, and characters of names and values; None is no limit.
    """

    name: str
    keywords: frozenset[str]
    values: Mapping[str, frozenset[Any]] = msgspec.field(default_factory=dict)
    enums: frozenset[str] = frozenset({"string", "number", "boolean", "null"})
    plain_patterns: bool = False
    typed: bool = False
    closed: bool = False
    optional: Literal["kept", "nullable", "refused"] = "kept"
    type_lists: bool = True
    recursion: bool = True
    root_object: bool = False
    max_depth: int | None = None
    max_properties: int | None = None
    max_enum_values: int | None = None
    max_name_chars: int | None = None


_COMMON = frozenset({"type", "title", "description", "properties", "required", "items", "enum", "anyOf"})

OPENAI_SCHEMAS = SchemaRules(
    name="openai",
    keywords=_COMMON
    | {"$ref", "$defs", "additionalProperties", "const", "pattern", "format", "multipleOf", "minimum", "maximum"}
    | {"exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"},
    values={
        "format": frozenset(
            {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
        )
    },
    plain_patterns=True,
    typed=True,
    closed=True,
    optional="nullable",
    root_object=True,
    max_depth=10,
    max_properties=5000,
    max_enum_values=1000,
    max_name_chars=120_000,
)
"""Strict mode: https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas"""

ANTHROPIC_SCHEMAS = SchemaRules(
    name="anthropic",
    keywords=_COMMON | {"$ref", "$defs", "additionalProperties", "const", "format", "minItems"},
    values={
        "format": frozenset(
            {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
        ),
        "minItems": frozenset({0, 1}),
    },
    typed=True,
    closed=True,
    type_lists=False,
    recursion=False,
)
"""`output_config.format` and strict tools:
https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations"""

GEMINI_SCHEMAS = SchemaRules(
    name="gemini",
    keywords=_COMMON
    | {"$ref", "$defs", "additionalProperties", "format", "prefixItems", "minItems", "maxItems", "minimum", "maximum"}
    | {"propertyOrdering"},
    enums=frozenset({"string", "number"}),
)
"""`responseJsonSchema` and `parametersJsonSchema`: https://ai.google.dev/api/generate-content#generationconfig"""

OPENAPI_SCHEMAS = SchemaRules(
    name="gemini",
    keywords=_COMMON
    | {"nullable", "format", "minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength", "pattern"}
    | {"minProperties", "maxProperties", "propertyOrdering", "example"},
    values={"format": frozenset({"date-time", "enum", "float", "double", "int32", "int64"})},
    enums=frozenset({"string"}),
    typed=True,
    type_lists=False,
    recursion=False,
)
"""`responseSchema` and `parameters` of older models, a part of OpenAPI 3.0: https://ai.google.dev/api/caching#Schema"""
