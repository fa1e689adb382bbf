"""Two JSON Schemas that both must hold, as one schema: what `allOf` says, where a provider has no `allOf`.

The result says the same as both. Where one schema cannot say it, the second one's part is left out and returned in
words, so that it can stand in the description.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lollms_core.protocols.outgoing import encode_json

__all__ = ["Nothing", "Work", "both", "is_annotation", "same", "types_of"]

_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"}
    | {"$comment", "$schema", "$id", "$anchor", "$defs", "definitions"}
    | {"discriminator", "externalDocs", "xml"}  # OpenAPI: they say how to read a value
)

_LARGER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"})
_SMALLER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"})
_OBJECT = ("properties", "additionalProperties")


def is_annotation(key: str) -> bool:
    """Whether a keyword restricts nothing: it describes, or is an extension (`x-...`)."""
    return key in _ANNOTATIONS or key.startswith("x-")


class Nothing(Exception):
    """No value can satisfy both schemas. Never leaves the reduction."""


class Work(Protocol):
    """What a merge is a part of; it bounds the depth and the number of steps."""

    def flat(self, schema: Any) -> Mapping[str, Any]:
        """A schema without `$ref`, `allOf` and `oneOf` at its top, which says the same. Raises `Nothing`."""
        ...

    def join(self, a: Any, b: Any) -> dict[str, Any]:
        """`both`, one level deeper."""
        ...


def both(a: Any, b: Any, work: Work) -> dict[str, Any]:
    """A schema that holds where `a` and `b` hold. Raises `Nothing` if that is nowhere."""
    if same(a, b) and isinstance(a, Mapping):
        return dict(a)
    a, b = work.flat(a), work.flat(b)
    merged = dict(a)
    words: list[str] = []
    for key, value in b.items():
        if key in _OBJECT:
            continue
        if key not in a:
            merged[key] = value
        elif not same(a[key], value):
            _add(merged, key, value, words, work)
    if any(key in a or key in b for key in _OBJECT):
        _join_objects(merged, a, b, work)
    if words:
        merged["description"] = "\n".join(filter(None, [str(merged.get("description", "")), *words]))
    return merged


def _add(merged: dict[str, Any], key: str, value: Any, words: list[str], work: Work) -> None:
    """Add a keyword of the second schema that the first one has with another value."""
    there = merged[key]
    if key == "type":
        merged[key] = _common_types(there, value)
    elif key == "required":
        merged[key] = list(dict.fromkeys([*there, *value]))
    elif key == "enum":
        theirs = set(map(_hashable, value))
        merged[key] = [each for each in there if _hashable(each) in theirs]
        if not merged[key]:
            raise Nothing
    elif key == "const":
        raise Nothing
    elif key in _LARGER:
        merged[key] = max(there, value)
    elif key in _SMALLER:
        merged[key] = min(there, value)
    elif key in ("uniqueItems", "nullable"):
        merged[key] = there or value if key == "uniqueItems" else there and value
    elif key == "items" and isinstance(there, Mapping) and isinstance(value, Mapping) and "prefixItems" not in merged:
        merged[key] = work.join(there, value)
    elif key == "anyOf":
        merged[key] = _products(there, value, work)
    elif key == "description":
        merged[key] = f"{there}\n{value}"
    elif not is_annotation(key):
        words.append(f"also {key}: {encode_json(value).decode()}")


def _products(a: Any, b: Any, work: Work) -> list[Any]:
    pairs = [(x, y) for x in a for y in b]
    found = []
    for x, y in pairs:
        try:
            found.append(work.join(x, y))
        except Nothing:
            continue
    if not found:
        raise Nothing
    return found


def _join_objects(merged: dict[str, Any], a: Mapping[str, Any], b: Mapping[str, Any], work: Work) -> None:
    """The properties of both, each as both allow it: as a property, or as one of the additional ones."""
    ours, theirs = a.get("properties", {}), b.get("properties", {})
    rest_a, rest_b = a.get("additionalProperties", True), b.get("additionalProperties", True)
    # A name may be one of the patterns, which are not tried here: an expression of a stranger can take for ever.
    other_a, other_b = "patternProperties" in a or rest_a, "patternProperties" in b or rest_b
    properties: dict[str, Any] = {}
    for name in dict.fromkeys([*ours, *theirs]):
        schema = _pair(ours.get(name, other_a), theirs.get(name, other_b), work)
        if schema is not False:
            properties[name] = schema
    if properties or "properties" in merged or theirs:
        merged["properties"] = properties
    rest = _pair(rest_a, rest_b, work)
    if rest is not True or "additionalProperties" in merged:
        merged["additionalProperties"] = rest
    patterns = "patternProperties" in merged
    if rest is False and not patterns and any(name not in properties for name in merged.get("required", ())):
        raise Nothing


def _pair(a: Any, b: Any, work: Work) -> Any:
    if a is False or b is False:
        return False
    if a is True or b is True:
        return b if a is True else a
    try:
        return work.join(a, b)
    except Nothing:
        return False


def types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The types that a schema names, in its order; () if it names none."""
    stated = schema.get("type")
    if isinstance(stated, str):
        return (stated,)
    return tuple(dict.fromkeys(stated)) if stated else ()


def _common_types(a: Any, b: Any) -> Any:
    ours, theirs = types_of({"type": a}), types_of({"type": b})
    common = [each for each in ours if each in theirs or (each == "integer" and "number" in theirs)]
    if "number" in ours and "integer" in theirs and "integer" not in common:
        common.append("integer")
    if not common:
        raise Nothing
    return common[0] if len(common) == 1 else common


def _hashable(value: Any) -> Any:
    """A JSON value as a key of its own: what is the same for `same` is equal, and nothing else."""
    if isinstance(value, Mapping):
        return "object", frozenset((name, _hashable(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return "array", tuple(map(_hashable, value))
    return isinstance(value, bool), value


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are one; `True` is not 1, as it is in Python."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return len(a) == len(b) and all(key in b and same(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
