"""Templates: an example of the JSON that is wanted, read as the JSON Schema that it means.

A string that names a type is that type (`"integer"`, `"list of strings"`, `"number or null"`, `"integer|string"`); any
other string describes a text. A number or a truth value is an example of its type. A list is a list of whatever its
first element means, and a dictionary is an object that has all its names and no others.

    {"name": "string", "age": "integer", "city": "where they live now", "hobbies": ["list", "of", "strings"]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lollms_core.errors import InvalidRequest

__all__ = ["is_json_schema", "schema_of_template"]

_DEEPEST = 32
_JSON_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_OF_SCHEMAS = frozenset({"$schema", "$defs", "$ref"})
_OF_TYPES = frozenset({"properties", "items", "enum", "additionalProperties", "patternProperties", "prefixItems"})
_OF_BRANCHES = _OF_SCHEMAS | {"type", "properties", "enum", "const"}
_NAMES = {
    "string": ("string", "str", "text"),
    "integer": ("integer", "int", "whole number"),
    "number": ("number", "float", "decimal", "double"),
    "boolean": ("boolean", "bool", "true/false", "true or false", "true|false"),
    "array": ("array", "list"),
    "object": ("object", "dict", "dictionary"),
    "null": ("null", "none"),
}
_TYPES = {spelled: name for name, spellings in _NAMES.items() for spelled in spellings}
_OR = re.compile(r"(.+)(?:\bor\b|\|)(.+)", re.IGNORECASE)
_OPTIONAL = re.compile(r"optional\[(.+)\]", re.IGNORECASE)
_LONGEST_TYPE = 100
_LIST_OF = re.compile(r"(?:an?\s+)?(?:list|array)s?\s+of\s+(?:an?\s+)?(\S.*)|(?:list|array)\[(.+)\]", re.IGNORECASE)


def is_json_schema(given: Mapping[str, Any]) -> bool:
    """Whether a dictionary is a JSON Schema, and no template.

    It has `$schema`, or a JSON `type` beside what such a type has, or what no template would have: definitions, a
    reference, or a list of schemas to choose from.
    """
    kind = given.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    is_type = bool(kinds) and all(isinstance(each, str) and each in _JSON_TYPES for each in kinds)
    return (
        bool(_OF_SCHEMAS & given.keys())
        or (is_type and bool(_OF_TYPES & given.keys()))
        or any(_are_schemas(given.get(name)) for name in ("anyOf", "oneOf", "allOf"))
    )


def _are_schemas(given: Any) -> bool:
    return isinstance(given, list) and any(isinstance(each, Mapping) and _OF_BRANCHES & each.keys() for each in given)


def schema_of_template(template: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """The JSON Schema that a template means, an object or a list.

    Raises `InvalidRequest` for what no JSON value could look like, and for what seems to be a schema with a mistake.
    """
    if not template:
        raise InvalidRequest('The template is empty. For example: {"name": "string", "age": "integer"}', param="schema")
    if isinstance(template, Mapping) and isinstance(template.get("properties"), Mapping):
        kind = template.get("type")
        near = get_close_matches(kind, _JSON_TYPES, 1, 0.8) if isinstance(kind, str) else []
        if near:
            raise InvalidRequest(f"The schema has the type {kind!r}. Did you mean {near[0]!r}?", param="schema")
    return _of(template, "schema", _DEEPEST)


def _of(value: Any, where: str, left: int) -> dict[str, Any]:
    if left == 0:
        raise InvalidRequest(f"The template is nested deeper than {_DEEPEST} levels.", param="schema")
    if isinstance(value, Mapping):
        return _of_object(value, where, left)
    if isinstance(value, (list, tuple)):
        return _of_list(value, where, left)
    if isinstance(value, str):
        return _of_words(value, left)
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, (int, float)):
        return {"type": "integer" if isinstance(value, int) else "number"}
    if value is None:
        return {}
    raise InvalidRequest(f"{where} of the template is a {type(value).__name__}, which JSON has not.", param="schema")


def _of_object(value: Mapping[str, Any], where: str, left: int) -> dict[str, Any]:
    if is_json_schema(value):
        return dict(value)  # one field of a template may say it all
    if not value:
        return {"type": "object"}
    return {
        "type": "object",
        "properties": {str(name): _of(each, f"{where}[{name!r}]", left - 1) for name, each in value.items()},
        "required": [str(name) for name in value],
        "additionalProperties": False,
    }


def _of_list(value: Sequence[Any], where: str, left: int) -> dict[str, Any]:
    if not value:
        return {"type": "array"}
    if all(isinstance(each, str) for each in value):
        whole = " ".join(value)
        if _LIST_OF.fullmatch(whole):
            return _of_words(whole, left)
    return {"type": "array", "items": _of(value[0], f"{where}[0]", left - 1)}


def _of_words(words: str, left: int, *, several: bool = False) -> dict[str, Any]:
    """The type that words name; a text with these words as its description where they name none.

    `several`: the words stand for the elements of a list, so that a type may be in the plural.
    """
    if left == 0:
        raise InvalidRequest(f"The template is nested deeper than {_DEEPEST} levels.", param="schema")
    plain = words.strip()
    if found := _LIST_OF.fullmatch(plain):
        return {"type": "array", "items": _of_words(found[1] or found[2], left - 1, several=True)}
    if found := _OPTIONAL.fullmatch(plain):
        plain = f"{found[1]} or null"
    names = _types_in(plain) if len(plain) <= _LONGEST_TYPE else []
    if not names and several:
        names = _types_in(plain.removesuffix("s"))
    if names:
        return {"type": names[0] if len(names) == 1 else names}
    return {"type": "string", "description": words} if plain else {"type": "string"}


def _types_in(words: str) -> list[str]:
    """The types that words name, one or several to choose from; none where they say anything else."""
    if (name := _TYPES.get(words.strip().lower())) is not None:
        return [name]
    found = _OR.fullmatch(words)
    if found is None:
        return []
    first, last = _types_in(found[1]), _types_in(found[2])
    return list(dict.fromkeys([*first, *last])) if first and last else []
