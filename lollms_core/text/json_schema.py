"""JSON Schemas: whether a value obeys one, in words for whoever wrote the value.

References are followed only inside of a schema; nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lollms_core.errors import InvalidRequest

__all__ = ["SchemaChecker"]

_SHOWN = 200


class SchemaChecker:
    """Says whether values have the shape of a schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises `InvalidRequest` for what is no JSON Schema."""
        import jsonschema  # type: ignore[import-untyped]
        import referencing

        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = "/".join(str(step) for step in error.absolute_path)
            words = f"The schema is not right{f' at {place}' if place else ''}: {error.message}"
            raise InvalidRequest(words, param="schema") from error
        except RecursionError:
            raise InvalidRequest("The schema is nested too deeply.", param="schema") from None
        self._validator = kind(schema, registry=referencing.Registry())  # an empty one: nothing is fetched

    def check(self, value: Any) -> Any:
        """The value, which is decoded JSON. Raises `ValueError` with what is wrong with it, in a sentence."""
        import jsonschema
        import referencing.exceptions

        try:
            wrong = jsonschema.exceptions.best_match(self._validator.iter_errors(value))
        except referencing.exceptions.Unresolvable as error:
            raise ValueError(f"the schema refers to {error.ref!r}, which is not in it") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        if wrong is not None:
            place = "/".join(str(step) for step in wrong.absolute_path)
            words = wrong.message if len(wrong.message) <= _SHOWN else wrong.message[:_SHOWN] + "..."
            raise ValueError(f"{f'at {place}, ' if place else ''}{words}")
        return value

    def value(self, text: str) -> Any:
        """The value that a JSON text is. Raises `ValueError` as `check` does, and for what is no JSON."""
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ValueError(f"it is not JSON ({error})") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        return self.check(value)
