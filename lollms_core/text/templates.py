"""Templates: an example of the JSON that is wanted, read as the JSON Schema that it means.

A string that names a type is that type (`"integer"`, `"list of strings"`, `"number or null"`); any other string
describes a text. A number or a truth value is an example of its type. A list is a list of whatever its first element
means, and a dictionary is an object that has all its names and no others.

    {"name": "string", "age": "integer", "city": "where they live now", "hobbies": ["list", "of", "strings"]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lollms_core.errors import InvalidRequest

__all__ = ["is_json_schema", "schema_of_template"]

_DEEPEST = 32
_JSON_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
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
_OR_NULL = re.compile(r"([a-z ]+?)\s*(?:\bor\b|\|)\s*(?:null|none)", re.IGNORECASE)
_LIST_OF = re.compile(r"(?:an?\s+)?(?:list|array)s?\s+of\s+(?:an?\s+)?(\S.*)|(?:list|array)\[(.+)\]", re.IGNORECASE)


def is_json_schema(given: Mapping[str, Any]) -> bool:
    """Whether a dictionary is a JSON Schema: it has `$schema`, or a JSON `type` beside what such a type has."""
    kind = given.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    is_type = bool(kinds) and all(isinstance(each, str) and each in _JSON_TYPES for each in kinds)
    return "$schema" in given or (is_type and bool({"properties", "items", "enum"} & given.keys()))


def schema_of_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema that a template means. Raises `InvalidRequest` for what no JSON value could look like."""
    if not template:
        raise InvalidRequest('The template is empty. For example: {"name": "string", "age": "integer"}', param="schema")
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
    if (found := _OR_NULL.fullmatch(plain)) and (name := _TYPES.get(found[1].strip().lower())):
        return {"type": [name, "null"]}
    named = _TYPES.get(plain.lower())
    if named is None and several:
        named = _TYPES.get(plain.lower().removesuffix("s"))
    if named is not None:
        return {"type": named}
    return {"type": "string", "description": words} if plain else {"type": "string"}
