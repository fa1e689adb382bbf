"""Small questions about one JSON Schema that is neither a reference nor `allOf`, and small answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lollms_core.protocols.outgoing import encode_json
from lollms_core.protocols.schema_reduction_merge import is_annotation, same, types_of
from lollms_core.protocols.schema_reduction_rules import SchemaRules

__all__ = [
    "APART",
    "KINDS",
    "admits_null",
    "by_type",
    "fitting",
    "in_words",
    "is_null",
    "is_plain",
    "kind_of",
    "or_null",
    "stated_types",
    "takes",
    "unique",
    "values_of",
]

_LONGEST = 2000
_SPECIAL = re.compile(r"\(\?(?!:)|\\[1-9bBk]")

APART = frozenset({"type", "enum", "const", "nullable"})
"""Keywords that say which values there are at all; each is looked at by itself."""

_NUMBERS = ("number", "integer")
KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("minLength", "maxLength", "pattern", "contentEncoding", "contentMediaType"), ("string",)),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _NUMBERS),
    "format": ("string", *_NUMBERS),
    **dict.fromkeys(("items", "prefixItems", "additionalItems", "unevaluatedItems", "uniqueItems"), ("array",)),
    **dict.fromkeys(("minItems", "maxItems", "contains", "minContains", "maxContains"), ("array",)),
    **dict.fromkeys(("properties", "additionalProperties", "patternProperties", "propertyNames"), ("object",)),
    **dict.fromkeys(("required", "minProperties", "maxProperties", "propertyOrdering"), ("object",)),
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"), ("object",)),
}
"""The types for which a keyword means something; keywords that are not here mean something for all."""


def kind_of(value: Any) -> str:
    """The JSON type of a value; `number` also for whole numbers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "object" if isinstance(value, Mapping) else "array"


def values_of(schema: Mapping[str, Any]) -> list[Any] | None:
    """The only values that `enum` and `const` allow, each once; None if any value is allowed."""
    if "const" in schema:
        fixed = schema["const"]
        return [fixed] if "enum" not in schema or any(same(fixed, each) for each in schema["enum"]) else []
    return unique(schema["enum"]) if "enum" in schema else None


def fitting(values: Iterable[Any], types: Collection[str]) -> list[Any]:
    """The values that are of one of the types; 1.0 is an integer, as JSON Schema has it."""
    return [
        each
        for each in values
        if (kind := kind_of(each)) in types or (kind == "number" and "integer" in types and each == int(each))
    ]


def by_type(schema: Mapping[str, Any], types: Collection[str], values: list[Any] | None) -> list[dict[str, Any]]:
    """A schema for each of its types, with the keywords and the values that mean something for it."""
    branches: list[dict[str, Any]] = []
    for kind in types:
        if kind == "integer" and "number" in types:
            continue  # each integer is a number
        branch = {
            key: value
            for key, value in schema.items()
            if not (key in APART or is_annotation(key)) and kind in KINDS.get(key, (kind,))
        }
        branch["type"] = kind
        if values is not None:
            ours = fitting(values, (kind,))
            if not ours:
                continue
            branch |= {} if kind == "null" else {"enum": ours}
        branches.append(branch)
    return branches


def stated_types(schema: Mapping[str, Any], values: list[Any] | None) -> tuple[str, ...]:
    """The types that a schema without `type` means; () where it could mean any."""
    if values is not None:
        return tuple(dict.fromkeys(map(kind_of, values)))
    found = {kind for key in schema if key != "format" for kind in KINDS.get(key, ())}
    if found == set(_NUMBERS):
        return ("number",)
    return tuple(found) if len(found) == 1 else ()


def unique(values: Iterable[Any]) -> list[Any]:
    """JSON values without repetitions, in their order."""
    return list({encode_json(each): each for each in reversed(list(values))}.values())[::-1]


def in_words(key: str, value: Any) -> str:
    """A keyword as it stands in a description."""
    text = encode_json(value).decode()
    return f"{key[:40]}: {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}"


def is_plain(pattern: str) -> bool:
    """Whether an expression has no look-around, no back reference and no word boundary."""
    return not _SPECIAL.search(pattern)


def is_null(schema: Any) -> bool:
    """Whether a schema allows null and nothing else, and says so at its top."""
    if not isinstance(schema, Mapping):
        return False
    return types_of(schema) == ("null",) or values_of(schema) == [None]


def takes(rules: SchemaRules, key: str, value: Any) -> bool:
    """Whether a keyword with this value may be sent."""
    if key not in rules.keywords or (key in rules.values and value not in rules.values[key]):
        return False
    return key != "pattern" or not rules.plain_patterns or is_plain(value)


def admits_null(schema: Mapping[str, Any]) -> bool:
    """Whether null is one of the values of a reduced schema; False also where that is not plain to see."""
    if "$ref" in schema:
        return False
    if "anyOf" in schema:
        return schema.get("nullable") is True or any(
            "anyOf" not in each and admits_null(each) for each in schema["anyOf"]
        )
    if "const" in schema or "enum" in schema:
        return None in schema.get("enum", ()) or ("const" in schema and schema["const"] is None)
    return "null" in types_of(schema) or schema.get("nullable") is True


def or_null(schema: dict[str, Any], rules: SchemaRules) -> dict[str, Any]:
    """A reduced schema, or null."""
    if "nullable" in rules.keywords:
        return {**schema, "nullable": True}
    types = types_of(schema)
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    scalars = not {"object", "array"} & set(types) and not {"enum", "const", "$ref"} & set(schema)
    if rules.type_lists and types and scalars:
        return {**schema, "type": [*types, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
