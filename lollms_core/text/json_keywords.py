"""Keywords of JSON Schema whose checks in the library take too long, or count wrongly.

A recursive schema of alternatives, such as that of an expression, is checked there as often as there are ways through
it: some seconds for eight levels, and four times as long for each level more. Here each part of a value is checked
against each reference once, and of alternatives only the one is looked into that the value is meant to be.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from fractions import Fraction
from itertools import islice
from typing import Any, TypeAlias

__all__ = ["Verdicts", "quicker", "remembered"]

_Check: TypeAlias = Callable[[Any, Any, Any, Any], Iterator[Any]]

_TAGS = ("const", "enum")
_NAMES = ("required", "additionalProperties", "unevaluatedProperties")


class Verdicts:
    """Which values obey the schemas of references; both are kept, so that no other has their identity meanwhile.

    `levels` is how many references deep all errors are told; below them it is only known that there is one. None is no
    limit. `open` are the checks that have not come to an end.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], tuple[bool, Any, Any]] = {}
        self.open: set[tuple[int, int]] = set()
        self.levels: int | None = 0


_VERDICTS: ContextVar[Verdicts] = ContextVar("verdicts")


@contextlib.contextmanager
def remembered() -> Iterator[Verdicts]:
    """Within this block verdicts are kept; values that were checked must not be changed in it."""
    outer = _VERDICTS.get(None)
    token = None if outer is not None else _VERDICTS.set(Verdicts())
    try:
        yield _VERDICTS.get()
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RecursionError from error  # as the library's part in Rust says it, and not as an Exception
    finally:
        if token is not None:
            _VERDICTS.reset(token)


@functools.cache
def quicker(kind: Any, *, dynamic: bool) -> Any:
    """A class of validators for use within `remembered`; `dynamic`: what references mean depends on the way to them."""
    import jsonschema  # type: ignore[import-untyped]

    own: dict[str, _Check] = {"uniqueItems": _unique}
    if "multipleOf" in kind.VALIDATORS:
        own["multipleOf"] = _multiple
    if not dynamic:
        wrapped = {"$ref": _reference, "anyOf": _union, "oneOf": _union}
        own |= {name: wrap(kind.VALIDATORS[name]) for name, wrap in wrapped.items() if name in kind.VALIDATORS}
    return jsonschema.validators.extend(kind, own)


def _reference(original: _Check) -> _Check:
    def check(validator: Any, reference: Any, value: Any, schema: Any) -> Iterator[Any]:
        import jsonschema

        verdicts, key = _VERDICTS.get(), (id(value), id(schema))
        is_right = verdicts.known.get(key, (None,))[0]
        if is_right:
            return
        if is_right is False and verdicts.levels == 0:
            yield jsonschema.ValidationError(f"it does not obey {reference!r}")
            return
        if key in verdicts.open:
            raise RecursionError  # it never ends
        verdicts.open.add(key)
        try:
            yield from _looked_at(original(validator, reference, value, schema), verdicts, key, (value, schema))
        finally:
            verdicts.open.discard(key)

    return check


def _looked_at(errors: Iterator[Any], verdicts: Verdicts, key: tuple[int, int], kept: tuple[Any, Any]) -> Iterator[Any]:
    """The errors of a reference, as many as are told, of which there may be none; the verdict is kept."""
    levels = verdicts.levels
    if levels is not None:
        verdicts.levels = max(0, levels - 1)
        try:
            errors = iter(list(errors if levels else islice(errors, 1)))
        finally:
            verdicts.levels = levels
    first = next(errors, None)
    verdicts.known[key] = (first is None, *kept)
    if first is not None:
        yield first
        yield from errors


def _union(original: _Check) -> _Check:
    def check(validator: Any, branches: Any, value: Any, schema: Any) -> Iterator[Any]:
        verdicts = _VERDICTS.get()
        if verdicts.levels is not None:
            yield from original(validator, branches, value, schema)
            return
        verdicts.levels = 1
        try:
            errors = list(original(validator, branches, value, schema))
        finally:
            verdicts.levels = None
        meant = _meant(errors[0].context, len(branches)) if len(errors) == 1 else None
        if meant is None:
            yield from errors
        else:
            yield from validator.descend(value, branches[meant], schema_path=meant)

    return check


def _meant(errors: Sequence[Any], branches: int) -> int | None:
    """Which of several schemas a value is meant to obey, from what is wrong with it for each; None: not clear."""
    others: set[int] = set()
    for is_other in (_is_of_another, _has_other_names):
        others |= {error.relative_schema_path[0] for error in errors if is_other(error)}
        if len(others) == branches - 1:
            return next(at for at in range(branches) if at not in others)
    return None


def _is_of_another(error: Any) -> bool:
    """Whether the value is of another type, or has another mark of what it is."""
    depth = len(error.relative_path)
    return (depth == 0 and error.validator == "type") or (depth <= 1 and error.validator in _TAGS)


def _has_other_names(error: Any) -> bool:
    return not error.relative_path and error.validator in _NAMES


def _multiple(validator: Any, unit: Any, value: Any, schema: Any) -> Iterator[Any]:
    """`multipleOf` as the numbers are written: 19.99 is a multiple of 0.01, although no computer's fractions are."""
    import jsonschema

    if validator.is_type(value, "number") and _exact(value) % _exact(unit):
        yield jsonschema.ValidationError(f"{value!r} is not a multiple of {unit!r}")


def _exact(number: Any) -> Fraction:
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def _unique(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    """`uniqueItems` in linear time: the library's own compares each item with each other where they are mixed."""
    import jsonschema

    if wanted and validator.is_type(value, "array"):
        seen = {json.dumps(_canonical(item), sort_keys=True) for item in value}
        if len(seen) < len(value):
            yield jsonschema.ValidationError("the items of the list are not all different")


def _canonical(value: Any) -> Any:
    """The value with 1.0 as 1, which JSON Schema holds for the same number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(each) for each in value]
    if isinstance(value, dict):
        return {name: _canonical(each) for name, each in value.items()}
    return value
