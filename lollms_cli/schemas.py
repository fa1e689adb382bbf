"""`--schema`: the shape that an answer must have.

A schema is given as the path of a file with a JSON Schema, as a JSON Schema itself, or in a short form for flat
objects: fields parted by commas, or by line ends where a description has commas. A field is a name, then perhaps a
type (`str`, the usual one, `int`, `float`, `bool`), then perhaps a colon and a description:

    name, age int, email: where to write to

All fields are needed and no others are allowed. A reference in a schema is followed only inside of it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lollms_core.errors import InvalidRequest

__all__ = ["read_schema", "short_form"]

_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?:\s+([A-Za-z]+))?\s*(?::\s*(.*))?", re.DOTALL)
_LARGEST = 1_000_000
_SHOWN = 200


def read_schema(given: str) -> dict[str, Any]:
    """The JSON Schema that the value of `--schema` stands for. Raises `InvalidRequest`, in words."""
    text = given.strip()
    if text.startswith("{"):
        return _object(text, "--schema")
    if (file := _file(text)) is not None:
        from lollms_runtime.files import read_text_strict

        return _object(read_text_strict(file, _LARGEST), str(file))
    if "/" in text or text.lower().endswith(".json"):
        raise InvalidRequest(f"There is no file {text[:_SHOWN]}. --schema is a file, a JSON Schema, or: name, age int")
    return short_form(text)


def short_form(text: str) -> dict[str, Any]:
    """The JSON Schema of `name, age int, email: description`. Raises `InvalidRequest` naming the field."""
    properties: dict[str, Any] = {}
    for part in text.splitlines() if "\n" in text.strip() else text.split(","):
        if not part.strip():
            continue
        found = _FIELD.fullmatch(part.strip())
        if found is None:
            raise InvalidRequest(
                f"{part.strip()[:_SHOWN]!r} is not a field. A field is a name, perhaps a type and perhaps "
                "a description: name, age int, email: where to write to"
            )
        name, kind, description = found[1], found[2] or "str", (found[3] or "").strip()
        if kind not in _TYPES:
            raise InvalidRequest(f"The field {name} has the type {kind!r}; there are {', '.join(_TYPES)}.")
        if name in properties:
            raise InvalidRequest(f"The field {name} stands in --schema twice.")
        properties[name] = {"type": _TYPES[kind], **({"description": description} if description else {})}
    if not properties:
        raise InvalidRequest("--schema is empty. For example: --schema 'name, age int'")
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"{where} is not JSON: {error}.") from error
    except RecursionError:
        raise InvalidRequest(f"{where} is nested too deeply.") from None
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{where} is not a JSON Schema: it must be an object.")
    return schema


def _file(text: str) -> Path | None:
    try:
        path = Path(text).expanduser()
        return path if text and path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None
