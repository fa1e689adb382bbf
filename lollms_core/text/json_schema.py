"""JSON Schemas: whether a value obeys one, in words for whoever wrote the value.

References are followed only inside of a schema; nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from lollms_core.errors import InvalidRequest
from lollms_core.text.json_keywords import quicker, remembered

__all__ = ["SchemaChecker", "schemas_in"]

_SHOWN = 200
_FORMATS = ("date", "email", "ipv4", "ipv6", "uuid")  # those that a few lines can check; and date-time
_MOST = 64  # errors of one value that are looked at for the one to tell
_TRIALS: tuple[Any, ...] = (None, True, 0, "", [], {})  # a value of each type
_ONE = ("additionalProperties", "items", "contains", "not", "if", "then", "else", "propertyNames")
_ONE_MORE = ("unevaluatedItems", "unevaluatedProperties", "additionalItems", "contentSchema")
_DYNAMIC = ("$dynamicRef", "$recursiveRef")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")


class SchemaChecker:
    """Says whether values have the shape of a schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises `InvalidRequest` for what is no JSON Schema, or refers to what is not in it or to itself alone."""
        import jsonschema  # type: ignore[import-untyped]
        import referencing

        if not isinstance(schema.get("$schema", ""), str):
            raise InvalidRequest("The schema is not right at $schema: it must be a text.", param="schema")
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = "/".join(str(step) for step in error.absolute_path)
            words = f"The schema is not right{f' at {place}' if place else ''}: {error.message}"
            raise InvalidRequest(words, param="schema") from error
        except RecursionError:
            raise InvalidRequest("The schema is nested too deeply.", param="schema") from None
        dynamic = any(name in each for each in schemas_in(schema) for name in _DYNAMIC)
        checked = quicker(kind, dynamic=dynamic)
        formats = jsonschema.FormatChecker(_FORMATS)
        formats.checks("date-time", raises=ValueError)(_is_date_time)
        registry = referencing.Registry()  # an empty one: nothing is fetched
        self._validator = checked(schema, registry=registry, format_checker=formats)
        _check_references(schema)
        for trial in _TRIALS:
            if not self._ends(trial):
                raise InvalidRequest("The schema refers to itself without an end.", param="schema")

    def _ends(self, trial: Any) -> bool:
        """Whether a check comes to an end."""
        import referencing.exceptions

        try:
            with remembered():
                self._validator.is_valid(trial)
        except RecursionError:
            return False
        except referencing.exceptions.Unresolvable:
            return True  # told to whoever checks
        return True

    def check(self, value: Any) -> Any:
        """The value, which is decoded JSON. Raises `ValueError` with what is wrong with it, in a sentence."""
        import jsonschema
        import referencing.exceptions

        try:
            with remembered() as verdicts:
                if self._validator.is_valid(value):
                    return value
                verdicts.levels = None
                try:
                    wrong = jsonschema.exceptions.best_match(islice(self._validator.iter_errors(value), _MOST))
                finally:
                    verdicts.levels = 0
        except referencing.exceptions.Unresolvable as error:
            raise ValueError(f"the schema refers to {error.ref!r}, which is not in it") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        place = "/".join(str(step) for step in wrong.absolute_path)
        words = wrong.message if len(wrong.message) <= _SHOWN else wrong.message[:_SHOWN] + "..."
        raise ValueError(f"{f'at {place}, ' if place else ''}{words}")

    def is_valid(self, value: Any, part: Any) -> bool:
        """Whether a value obeys a part of the schema, which may refer to others of its parts."""
        import referencing.exceptions

        try:
            with remembered():
                return bool(self._validator.evolve(schema=part).is_valid(value))
        except (referencing.exceptions.Unresolvable, RecursionError):
            return False

    def value(self, text: str) -> Any:
        """The value that a JSON text is. Raises `ValueError` as `check` does, and for what is no JSON."""
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ValueError(f"it is not JSON ({error})") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        return self.check(value)


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all that stand in it; what stands in examples, constants and such is none."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, Mapping):
            continue
        yield dict(each)
        waiting += [each[name] for name in (*_ONE, *_ONE_MORE) if name in each]
        for name in _LISTS:
            if isinstance(each.get(name), list):
                waiting += each[name]
        for name in _NAMED:
            if isinstance(each.get(name), Mapping):
                waiting += each[name].values()


def _check_references(schema: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` for a reference to what is not in the schema, before anybody is asked for a value."""
    parts = list(schemas_in(schema))
    if any("$id" in each or "$anchor" in each or "$dynamicAnchor" in each or "id" in each for each in parts):
        return  # whoever checks a value knows these names
    for each in parts:
        reference = each.get("$ref")
        if isinstance(reference, str) and not _is_in(schema, reference):
            words = f"The schema refers to {reference!r}, which is not in it."
            raise InvalidRequest(words, param="schema")


def _is_in(schema: Mapping[str, Any], reference: str) -> bool:
    import referencing
    import referencing.exceptions
    import referencing.jsonschema

    resource = referencing.jsonschema.DRAFT202012.create_resource(dict(schema))
    resolver = referencing.Registry().with_resource("", resource).resolver()
    try:
        resolver.lookup(reference)
    except (referencing.exceptions.Unresolvable, ValueError, LookupError, TypeError):
        return False
    return True


def _is_date_time(value: object) -> bool:
    """Whether a text is a date with a time, as RFC 3339 and ISO 8601 write it. Raises ValueError for what is none."""
    return not isinstance(value, str) or ("T" in value.upper() and bool(datetime.fromisoformat(value)))
