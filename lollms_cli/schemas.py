"""`--schema`: the shape that an answer must have.

A shape is given as a JSON Schema, as a template (an example of what is wanted, see `lollms_core.text.templates`), as
the path of a file with one of these, or in a short form for flat objects: fields parted by commas, or by line ends
where a description has commas. A field is a name, then perhaps a type (`str`, the usual one, `int`, `float`, `bool`,
or another word for one of these that a template may have, too), then perhaps a colon and a description:

    name, age int, email: where to write to

All fields are needed and no others are allowed. A reference in a schema is followed only inside of it.

An object is a JSON Schema when it has `$schema`, a JSON `type` together with `properties`, `items` or `enum`, a `type`
alone, or one of the words by which schemas refer and combine (`$ref`, `anyOf`, ...); else it is a template.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lollms_core.errors import InvalidRequest

__all__ = ["list_of", "read_schema", "read_shape", "short_form"]

_TYPES = "str, int, float, bool, list, dict"  # and all other words that a template has for them
_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?:\s+([A-Za-z]+))?\s*(?::\s*(.*))?", re.DOTALL)
_OF_SCHEMAS = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const", "enum"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFINITIONS = ("$defs", "definitions")
_OTHER_REFERENCE = re.compile(r'"\$ref": "(?!#/(?:\$defs|definitions)/)')
_LARGEST = 1_000_000
_SHOWN = 200


def read_schema(given: str) -> dict[str, Any]:
    """The JSON Schema that the value of `--schema` stands for. Raises `InvalidRequest`, in words."""
    return _as_schema(_read(given))


def read_shape(given: str) -> dict[str, Any]:
    """What the value of `--schema` stands for, as the library takes it: a template as it is, or a JSON Schema.

    Raises `InvalidRequest`, in words.
    """
    from lollms_core.text.templates import is_json_schema

    shape = _read(given)
    # the library goes by fewer marks, so that a template may have a field of any name
    return shape if is_json_schema(shape) or not _is_schema(shape) else {"$schema": _DIALECT, **shape}


def list_of(shape: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a list of what a shape describes.

    Raises `InvalidRequest` for a shape that is a list itself, and for one that cannot stand inside of another.
    """
    schema = _as_schema(shape)
    if schema.get("type") == "array":
        raise InvalidRequest("--schema is a list already: leave --many out, or give the shape of one record.")
    items = {name: value for name, value in schema.items() if name not in ("$schema", *_DEFINITIONS)}
    if _OTHER_REFERENCE.search(json.dumps(schema)):
        raise InvalidRequest("--many takes a schema whose references lead to its $defs only.")
    return {"type": "array", "items": items, **{name: schema[name] for name in _DEFINITIONS if name in schema}}


def _as_schema(shape: dict[str, Any]) -> dict[str, Any]:
    if _is_schema(shape):
        return shape
    from lollms_core.text.templates import schema_of_template

    return schema_of_template(shape)


def _is_schema(shape: dict[str, Any]) -> bool:
    from lollms_core.text.templates import is_json_schema

    alone = list(shape) == ["type"] and is_json_schema({**shape, "enum": []})
    return alone or is_json_schema(shape) or bool(_OF_SCHEMAS & shape.keys())


def _read(given: str) -> dict[str, Any]:
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
                "a description; fields are parted by commas: name, age int, email: where to write to"
            )
        name, kind, description = found[1], found[2] or "str", (found[3] or "").strip()
        if (type_of := _type_named(kind)) is None:
            raise InvalidRequest(
                f"The field {name} has the type {kind!r}; there are {_TYPES}. If {kind!r} is another field, a comma is "
                f"missing: {name}, {kind}"
            )
        if name in properties:
            raise InvalidRequest(f"The field {name} stands in --schema twice.")
        properties[name] = {**type_of, **({"description": description} if description else {})}
    if not properties:
        raise InvalidRequest("--schema is empty. For example: --schema 'name, age int'")
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _type_named(word: str) -> dict[str, Any] | None:
    """The type that a word names, as in a template."""
    from lollms_core.text.templates import schema_of_template

    meant: dict[str, Any] = schema_of_template({"field": word})["properties"]["field"]
    return None if "description" in meant else meant  # a template takes other words for what a text is about


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"{where} is not JSON: {error}.") from error
    except RecursionError:
        raise InvalidRequest(f"{where} is nested too deeply.") from None
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{where} is neither a JSON Schema nor a template: it must be an object.")
    return schema


def _file(text: str) -> Path | None:
    try:
        path = Path(text).expanduser()
        return path if text and path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None
