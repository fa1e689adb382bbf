"""The schema dialect of binding cards: what an instance of a binding may be configured with.

A schema is a mapping of names to leaves and sections. A leaf is `{type, default, help, nullable, options, min_val,
max_val, secret}` with a type of `str`, `int`, `float`, `bool` or `list`; a section is `{type: section, help, schema:
{...}}`, and with an empty schema it takes any names. `__version__` may stand beside the names.

A leaf that is not nullable and has no default must be given. Values are never converted, except a whole number where
a float is wanted: a number in quotes is text, and guessing otherwise would hide mistakes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from lollms_core.errors import ConfigError

__all__ = [
    "Leaf",
    "Problem",
    "SchemaPath",
    "Section",
    "Validated",
    "parse_schema",
    "public_view",
    "suggestion",
    "validate",
]

SchemaPath: TypeAlias = tuple[str, ...]
Problem: TypeAlias = tuple[SchemaPath, str]

VERSION_FIELD: Final = "__version__"
_MAX_FIELDS = 500
_MAX_DEPTH = 8
_MAX_TEXT = 100_000
_MAX_ITEMS = 10_000
_WORDS: Final[Mapping[str, str]] = {
    "str": "text (put it in quotes if it looks like a number)",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
}
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting. `default` is meaningless when `required`; numbers are bounded by `low` and `high` where given."""

    type: str
    default: Any = None
    required: bool = False
    nullable: bool = False
    options: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    secret: bool = False
    help: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Named settings and sections; a dynamic one declares none and takes any."""

    fields: Mapping[str, Leaf | Section] = field(default_factory=dict)
    dynamic: bool = False
    help: str = ""


@dataclass(frozen=True, slots=True)
class Validated:
    """The result of a validation: values with defaults filled in, and what was wrong.

    `secrets` are the paths of all settings declared secret; `unknown` the paths that the schema does not declare,
    which are left out of `values`. With `errors` the values must not be used.
    """

    values: dict[str, Any]
    secrets: frozenset[SchemaPath]
    unknown: tuple[SchemaPath, ...]
    errors: tuple[Problem, ...]


def _joined(path: SchemaPath) -> str:
    return ".".join(path)


def _bad(path: SchemaPath, sentence: str) -> ConfigError:
    return ConfigError(f"instance_schema.{_joined(path)}: {sentence}")


def _flag(raw: Mapping[str, Any], name: str, path: SchemaPath) -> bool:
    value = raw.get(name, False)
    if not isinstance(value, bool):
        raise _bad((*path, name), "must be true or false.")
    return value


def _bound(raw: Mapping[str, Any], name: str, path: SchemaPath) -> float | None:
    value = raw.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _bad((*path, name), "must be a number.")
    return value


def _parse_leaf(raw: Mapping[str, Any], path: SchemaPath, secret: bool) -> Leaf:
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in _WORDS:
        raise _bad((*path, "type"), f"must be one of section, {', '.join(_WORDS)}.")
    options = raw.get("options")
    if options is not None and (not isinstance(options, list) or not options):
        raise _bad((*path, "options"), "must be a list with at least one entry.")
    nullable = _flag(raw, "nullable", path)
    numeric = kind in ("int", "float")
    leaf = Leaf(
        type=kind,
        default=raw.get("default"),
        required="default" not in raw and not nullable,
        nullable=nullable,
        options=tuple(options or ()),
        low=_bound(raw, "min_val", path) if numeric else None,
        high=_bound(raw, "max_val", path) if numeric else None,
        secret=_flag(raw, "secret", path) or secret,
        help=str(raw.get("help") or "")[:_MAX_TEXT],
    )
    if not leaf.required and (wrong := _check(leaf, leaf.default)):
        raise _bad((*path, "default"), wrong)
    return leaf


def parse_schema(raw: Mapping[str, Any], path: SchemaPath = (), *, secret: bool = False) -> Section:
    """Read a schema written in the dialect. Raises ConfigError naming the place that does not follow it."""
    if len(path) > _MAX_DEPTH or len(raw) > _MAX_FIELDS:
        raise _bad(path, f"a schema has at most {_MAX_DEPTH} levels and {_MAX_FIELDS} fields in each.")
    fields: dict[str, Leaf | Section] = {}
    for name, item in raw.items():
        here = (*path, name)
        if name == VERSION_FIELD and not path:
            continue
        if not isinstance(item, Mapping):
            raise _bad(here, "must be a mapping with a 'type'.")
        if item.get("type") != "section":
            fields[name] = _parse_leaf(item, here, secret)
            continue
        inner = item.get("schema")
        if not isinstance(inner, Mapping):
            raise _bad((*here, "schema"), "a section needs a 'schema' mapping ({} takes any names).")
        fields[name] = parse_schema(inner, here, secret=secret or _flag(item, "secret", here))
    return Section(fields, dynamic=not fields and bool(path))


def _in_bounds(leaf: Leaf, value: float) -> str:
    if not math.isfinite(value):
        return "must be a finite number."
    if leaf.low is not None and value < leaf.low:
        return f"must be at least {leaf.low}."
    if leaf.high is not None and value > leaf.high:
        return f"must be at most {leaf.high}."
    return ""


def _has_type(kind: str, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    wanted: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "list": list}
    return isinstance(value, wanted[kind])


def _check(leaf: Leaf, value: Any) -> str:
    """What is wrong with a value, as a sentence without the value; "" when nothing is."""
    if value is None:
        return "" if leaf.nullable else f"must be {_WORDS[leaf.type]}, not empty."
    if not _has_type(leaf.type, value):
        return f"must be {_WORDS[leaf.type]}."
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"must have at most {_MAX_TEXT} characters."
    if isinstance(value, list) and len(value) > _MAX_ITEMS:
        return f"must have at most {_MAX_ITEMS} entries."
    if leaf.type in ("int", "float") and (wrong := _in_bounds(leaf, value)):
        return wrong
    if leaf.options and value not in leaf.options:
        return f"must be one of {', '.join(str(option) for option in leaf.options)}."
    return ""


def suggestion(name: str, known: Sequence[str]) -> str:
    """`Did you mean 'host'?` with a space before it, or "" when nothing is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


class _Run:
    """Collects what one validation finds."""

    def __init__(self) -> None:
        self.secrets: set[SchemaPath] = set()
        self.unknown: list[SchemaPath] = []
        self.errors: list[Problem] = []

    def section(self, section: Section, data: Mapping[str, Any], path: SchemaPath) -> dict[str, Any]:
        if section.dynamic:
            return dict(data)
        values: dict[str, Any] = {}
        for name, item in section.fields.items():
            here = (*path, name)
            given: Any = data.get(name, _MISSING)
            if isinstance(item, Leaf):
                values[name] = self.leaf(item, given, here)
            elif given is _MISSING:
                values[name] = self.section(item, {}, here)
            elif isinstance(given, Mapping):
                values[name] = self.section(item, given, here)
            else:
                self.errors.append((here, "must be a mapping of names to values."))
        self.unknown += [(*path, name) for name in data if name not in section.fields]
        return values

    def leaf(self, leaf: Leaf, given: Any, path: SchemaPath) -> Any:
        if leaf.secret:
            self.secrets.add(path)
        if given is _MISSING:
            if leaf.required:
                self.errors.append((path, "is missing."))
            return list(leaf.default) if isinstance(leaf.default, list) else leaf.default
        if wrong := _check(leaf, given):
            self.errors.append((path, wrong))
        return given


def validate(schema: Section, data: Mapping[str, Any]) -> Validated:
    """Check plain data against a schema and fill in defaults; never raises for any data."""
    run = _Run()
    values = run.section(schema, {name: item for name, item in data.items() if name != VERSION_FIELD}, ())
    return Validated(values, frozenset(run.secrets), tuple(run.unknown), tuple(run.errors))


def _public(section: Section, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, item in section.fields.items():
        if name not in values:
            continue
        if isinstance(item, Section):
            yield name, dict(_public(item, values[name]))
        elif not item.secret:
            yield name, values[name]


def public_view(schema: Section, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that may be shown: declared and not secret. What a dynamic section holds is not declared."""
    return dict(_public(schema, values))
