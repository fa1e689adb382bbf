"""The schema of an object for a schema of anything: backends hold answers to objects only.

A value that is no object is asked for inside of one, in its property `value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

__all__ = ["INSIDE", "Root", "as_object", "referred"]

INSIDE = "value"
"""The property that holds an answer that is no object."""

_DEFINITIONS = ("$defs", "definitions")
_TOGETHER = ("$schema", *_DEFINITIONS)
_NO_SCHEMAS = ("enum", "const", "default", "examples", "example")
_NAMED = ("properties", "patternProperties", "dependentSchemas", *_DEFINITIONS)
_HERE = "#/"


class Root(NamedTuple):
    """A schema whose values are objects; `is_inside` where the value that was meant stands in one of them."""

    schema: Mapping[str, Any]
    is_inside: bool


def as_object(schema: Mapping[str, Any]) -> Root:
    """The schema of an object for a JSON Schema. Its definitions stay at the root; references are kept right."""
    if any("$id" in each for each in (schema, *_definitions(schema))):
        return Root(schema, False)  # references mean other things there
    if _is_object(schema, schema, ()):
        return Root(_without_reference(schema), False)
    inside = {name: _moved(each, name) for name, each in schema.items() if name not in _TOGETHER}
    kept = {name: _moved(schema[name], name) for name in _DEFINITIONS if name in schema}
    whole = {"type": "object", "properties": {INSIDE: inside}, "required": [INSIDE], "additionalProperties": False}
    return Root({**whole, **kept}, True)


def _definitions(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = [schema.get(name) for name in _DEFINITIONS]
    return [
        each for group in groups if isinstance(group, Mapping) for each in group.values() if isinstance(each, Mapping)
    ]


def _is_object(schema: Any, root: Mapping[str, Any], seen: tuple[str, ...]) -> bool:
    """Whether only objects can obey a schema; True as well for one that says nothing of types but has properties."""
    if not isinstance(schema, Mapping):
        return False
    reference, kind = schema.get("$ref"), schema.get("type")
    if kind is not None:
        return kind in ("object", ["object"])
    if isinstance(reference, str) and reference not in seen:
        return _is_object(referred(root, reference), root, (*seen, reference))
    for name, every in (("anyOf", True), ("oneOf", True), ("allOf", False)):
        branches = schema.get(name)
        if isinstance(branches, list) and branches:
            found = [_is_object(each, root, seen) for each in branches]
            if all(found) if every else any(found):
                return True
    return "properties" in schema


def _without_reference(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with what its root refers to in its place: strict backends want the type there."""
    target = schema
    for _ in range(8):
        reference = target.get("$ref")
        if not isinstance(reference, str):
            break
        found = referred(schema, reference)
        if not isinstance(found, Mapping):
            return schema
        target = found
    if target is schema or "$ref" in target:
        return schema
    beside = {name: each for name, each in schema.items() if name != "$ref"}
    return {**beside, **target}


def referred(root: Mapping[str, Any], reference: str) -> Any:
    """What a reference within the root refers to, by the way that leads to it; None where it is not found."""
    if reference == "#":
        return root
    if not reference.startswith(_HERE):
        return None
    value: Any = root
    for step in unquote(reference.removeprefix(_HERE)).split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and step.isdecimal() and len(step) < 9:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _moved(value: Any, name: str) -> Any:
    """A part of a schema with its references as they are one level deeper."""
    if name in _NO_SCHEMAS:
        return value
    if isinstance(value, list):
        return [_moved(each, "") for each in value]
    if not isinstance(value, Mapping):
        return _moved_reference(value) if name == "$ref" and isinstance(value, str) else value
    if name in _NAMED:
        return {key: _moved(each, "") for key, each in value.items()}
    return {key: _moved(each, key) for key, each in value.items()}


def _moved_reference(reference: str) -> str:
    if reference.startswith(tuple(f"#/{name}/" for name in _DEFINITIONS)):
        return reference
    if reference == "#":
        return f"#/properties/{INSIDE}"
    return f"#/properties/{INSIDE}/{reference.removeprefix(_HERE)}" if reference.startswith(_HERE) else reference
