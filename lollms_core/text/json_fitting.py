"""A value that nearly obeys a JSON Schema, changed so that it does, where that loses nothing and means one thing only.

What is changed: a number or truth value that was written as a text, a whole number where a text is wanted, 34.0 where
a whole number is wanted, a value where a list of such is wanted, the case and the blanks around a choice, properties
that a closed object does not have, a property that is missing and may be null, and one that is null and may be
missing. Whatever else is wrong is given back to the model. Nothing is taken for granted: whoever calls this checks the
value again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from lollms_core.text.json_keywords import remembered
from lollms_core.text.json_roots import referred

__all__ = ["Fitted", "fitted"]

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,30})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,16})?(?:[eE][+-]?[0-9]{1,2})?")
_SEVERAL = re.compile(r"[,;|/\n]|\b(?:and|or)\b")  # a text that may be several
_EXACT = 2**53
_DEEPEST = 100
_NONE: tuple[Any, ...] = ()


# What a value became for one of several schemas, and the changes; the value itself, so that no other has its identity.
_Tried: TypeAlias = dict[tuple[int, int], tuple[Any, list[str], Any]]


class Fitted(NamedTuple):
    """A value, and what was changed about it, each in a few words; nothing where it was left as it is."""

    value: Any
    changes: tuple[str, ...]


def fitted(value: Any, schema: Mapping[str, Any], is_valid: Callable[[Any, Any], bool]) -> Fitted:
    """The value as the schema wants it, as far as that is clear.

    `is_valid(value, part)` says whether a value obeys a part of the schema. The value given is not touched.
    """
    work = _Work(schema, is_valid, {})
    with remembered():
        made = work.fit(value, schema, "", _DEEPEST)
    return Fitted(made, tuple(work.changes))


class _Work:
    def __init__(self, root: Mapping[str, Any], is_valid: Callable[[Any, Any], bool], tried: _Tried) -> None:
        self._root = root
        self._is_valid = is_valid
        self._tried = tried
        self.changes: list[str] = []

    def fit(self, value: Any, schema: Any, place: str, left: int) -> Any:
        if not isinstance(schema, Mapping) or left == 0:
            return value
        if isinstance(reference := schema.get("$ref"), str):
            value = self.fit(value, referred(self._root, reference), place, left - 1)
        for part in _listed(schema, "allOf"):
            value = self.fit(value, part, place, left - 1)
        for name in ("anyOf", "oneOf"):
            if branches := _listed(schema, name):
                value = self._fit_one(value, branches, place, left - 1)
        if "enum" in schema or "const" in schema:
            choices = schema["enum"] if isinstance(schema.get("enum"), list) else [schema.get("const")]
            return self._choice(value, choices, place)
        kinds = _kinds(schema)
        if kinds and not any(_is_of(value, kind) for kind in kinds):
            value = self._converted(value, kinds, schema, place, left)
        elif type(value) is float and "integer" in kinds and "number" not in kinds:
            value = self._note(value, int(value), place) if abs(value) <= _EXACT else value
        if isinstance(value, dict):
            return self._object(value, schema, place, left)
        return self._list(value, schema, place, left) if isinstance(value, list) else value

    # ---- one value

    def _converted(self, value: Any, kinds: tuple[str, ...], schema: Mapping[str, Any], place: str, left: int) -> Any:
        """A value of another type, as the one of the wanted types that it can be; else as it is."""
        made = [found for kind in kinds for found in _as(value, kind)]
        if len(made) == 1 or (made and all(type(each) is type(made[0]) and each == made[0] for each in made)):
            return self._note(value, made[0], place)
        if not made and "array" in kinds and not (isinstance(value, str) and _SEVERAL.search(value)):
            return self._wrapped(value, schema, place, left)
        return value

    def _wrapped(self, value: Any, schema: Mapping[str, Any], place: str, left: int) -> Any:
        """One value where a list of such is wanted, as a list of one."""
        items = schema.get("items")
        if value in (None, "", {}) or not isinstance(items, Mapping) or not items or "prefixItems" in schema:
            return value
        if not self._is_valid(value, items):
            return value
        self._say(place, "is a list of one now")
        return [value]

    def _choice(self, value: Any, choices: list[Any], place: str) -> Any:
        if any(_same(value, choice) for choice in choices):
            return value
        if isinstance(value, str):
            plain = value.strip().casefold()
            meant = [each for each in choices if isinstance(each, str) and each.strip().casefold() == plain]
        else:
            meant = []
        if not meant:
            kinds = {_kind_of(each) for each in choices} & {"integer", "string", "boolean"}
            made = [found for kind in kinds for found in _as(value, kind)]
            meant = [each for each in choices if any(_same(each, found) for found in made)]
        return self._note(value, meant[0], place) if len(meant) == 1 else value

    def _fit_one(self, value: Any, branches: list[Any], place: str, left: int) -> Any:
        """A value for one of several schemas: left where it obeys one, changed where only one change makes it so."""
        if not isinstance(value, (dict, list)):
            made, changes = self._try_each(value, branches, place, left)
        else:  # which may hold others for which that is asked: each is tried once, on whatever way it is reached
            key = (id(value), id(branches))
            if key not in self._tried:
                self._tried[key] = (*self._try_each(value, branches, place, left), value)
            made, changes, _ = self._tried[key]
        self.changes += changes
        return made

    def _try_each(self, value: Any, branches: list[Any], place: str, left: int) -> tuple[Any, list[str]]:
        """See `_fit_one`; the value and its changes."""
        if any(self._is_valid(value, branch) for branch in branches):
            return value, []
        made: list[tuple[Any, list[str]]] = []
        for branch in branches:
            inner = _Work(self._root, self._is_valid, self._tried)
            found = inner.fit(value, branch, place, left)
            if inner.changes and self._is_valid(found, branch):
                made.append((found, inner.changes))
        return made[0] if len(made) == 1 else (value, [])

    # ---- objects and lists

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], place: str, left: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        rest = schema.get("additionalProperties")
        made = {
            name: self.fit(each, properties.get(name, rest), _at(place, name), left - 1) for name, each in value.items()
        }
        required = [name for name in _listed(schema, "required") if isinstance(name, str)]
        for name in [name for name, each in made.items() if each is None and name not in required]:
            if name in properties and not self._is_valid(None, properties[name]):
                del made[name]  # strict backends have all properties in an answer, as null where they may be missing
                self._say(_at(place, name), "was null and is left out, since it may be missing")
        missing = [name for name in required if name not in made]
        patterns = schema.get("patternProperties")
        is_closed = rest is False and not patterns
        extra = [name for name in made if name not in properties] if is_closed else []
        if extra and (missing or len(extra) == len(made)):
            return made  # perhaps one of them is another under a wrong name, and nothing is left without them
        for name in extra:
            del made[name]
            self._say(_at(place, name), "was left out, since there is no such property")
        if all(name in properties and self._may_be_null(properties[name]) for name in missing):
            for name in missing:
                made[name] = None
                self._say(_at(place, name), "was missing and is null")
        return made

    def _list(self, value: list[Any], schema: Mapping[str, Any], place: str, left: int) -> list[Any]:
        first = _listed(schema, "prefixItems")
        items = schema.get("items")
        return [
            self.fit(each, first[at] if at < len(first) else items, _at(place, str(at)), left - 1)
            for at, each in enumerate(value)
        ]

    def _may_be_null(self, schema: Any) -> bool:
        """Whether a schema names null among what it allows."""
        if not isinstance(schema, Mapping):
            return False
        named = "null" in _kinds(schema) or (isinstance(schema.get("enum"), list) and None in schema["enum"])
        branches = [*_listed(schema, "anyOf"), *_listed(schema, "oneOf")]
        named = named or any(isinstance(each, Mapping) and "null" in _kinds(each) for each in branches)
        return named and self._is_valid(None, schema)

    # ---- inside

    def _note(self, old: Any, new: Any, place: str) -> Any:
        self._say(place, f"was {_shown(old)} and is {_shown(new)}")
        return new

    def _say(self, place: str, words: str) -> None:
        self.changes.append(f"{place or 'the answer'} {words}")


def _as(value: Any, kind: str) -> tuple[Any, ...]:
    """The value as one of a type: one or none."""
    if kind == "string":
        return (str(value),) if type(value) is int else _NONE
    if type(value) is float and kind == "integer":
        return (int(value),) if value.is_integer() and abs(value) <= _EXACT else _NONE
    if not isinstance(value, str):
        return _NONE
    plain = value.strip()
    if kind == "boolean" and plain.lower() in ("true", "false"):
        return (plain.lower() == "true",)
    if kind == "null" and plain == "null":
        return (None,)
    if kind in ("integer", "number") and _WHOLE.fullmatch(plain):
        return (int(plain),)
    if kind in ("integer", "number") and _NUMBER.fullmatch(plain):
        number = float(plain)
        if kind == "number":
            return (number,)
        return (int(number),) if number.is_integer() and abs(number) <= _EXACT else _NONE
    return _NONE


def _kinds(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return tuple(each for each in kinds if isinstance(each, str))


def _kind_of(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    return kinds.get(type(value), "null")


def _is_of(value: Any, kind: str) -> bool:
    own = _kind_of(value)
    return own == kind or (kind == "number" and own == "integer") or (kind == "integer" and _is_whole(value))


def _is_whole(value: Any) -> bool:
    return type(value) is float and value.is_integer()


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _listed(schema: Mapping[str, Any], name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []


def _at(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"
