"""What a reduction of a JSON Schema changed, as few items of a receipt, and the limits that its result must keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lollms_core.errors import UnsupportedFeature
from lollms_core.protocols.schema_reduction_rules import SchemaRules
from lollms_core.types import ReceiptItem

__all__ = ["Notes", "keep_limits"]

_SHOWN = 4
_LONGEST = 120


class Notes:
    """Changes by what was done, each with the JSON pointers of where."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._places: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, action: str, words: str, path: str) -> None:
        self._places.setdefault((action, words), {})[path or "/"] = None

    def receipt(self) -> tuple[ReceiptItem, ...]:
        """One item for each kind of change."""
        return tuple(
            ReceiptItem("schema", action, f"{self._provider}: {words} ({_listed(list(places))})")
            for (action, words), places in self._places.items()
        )


def _listed(places: list[str]) -> str:
    shown = ", ".join(place[:_LONGEST] for place in places[:_SHOWN])
    return f"at {shown} and {len(places) - _SHOWN} more places" if len(places) > _SHOWN else f"at {shown}"


def keep_limits(schema: Mapping[str, Any], rules: SchemaRules) -> None:
    """Raise `UnsupportedFeature` if a reduced schema is deeper or larger than the provider takes."""
    deepest = properties = values = chars = 0
    todo: list[tuple[Any, int]] = [(schema, 0)]
    while todo:
        part, depth = todo.pop()
        if not isinstance(part, Mapping):
            continue
        depth += "properties" in part or "items" in part
        deepest = max(deepest, depth)
        literal = [*part.get("enum", ()), *([part["const"]] if "const" in part else ())]
        values += len(part.get("enum", ()))
        chars += sum(len(each) for each in literal if isinstance(each, str))
        for key in ("properties", "$defs"):
            inner = part.get(key, {})
            properties += len(inner) if key == "properties" else 0
            chars += sum(map(len, inner))
            todo += [(each, depth) for each in inner.values()]
        for key in ("items", "additionalProperties"):
            todo.append((part.get(key), depth))
        for key in ("anyOf", "prefixItems"):
            todo += [(each, depth) for each in part.get(key, ())]
    for count, most, words in (
        (deepest, rules.max_depth, "levels of objects and arrays"),
        (properties, rules.max_properties, "properties"),
        (values, rules.max_enum_values, "values in its enums"),
        (chars, rules.max_name_chars, "characters in its names and values"),
    ):
        if most is not None and count > most:
            raise UnsupportedFeature(
                f"The JSON Schema has {count} {words}; {rules.name} takes {most} at most. Ask for less at once.",
                provider=rules.name,
                param="schema",
            )
