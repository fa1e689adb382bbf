"""What VERSIONING.md calls public, as lines. `python -m tests.support.public_surface` prints it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

import msgspec

MODULES = (
    "lollms_client",
    "lollms_client.lollms_llm_binding",
    "lollms_client.testing",
    "lollms_core.errors",
    "lollms_core.testing.scripted",
    "lollms_core.types",
    "lollms_server.core.bindings",
)

_HIDDEN = {
    f"lollms_client.{each}"
    for each in ("client_base", "operations", "text_operations", "async_operations", "async_text_operations")
}
"""Modules of classes that are public only as a part of the clients."""


def surface() -> list[str]:
    """One line for each public thing, sorted."""
    lines: set[str] = set()
    for name in MODULES:
        module = importlib.import_module(name)
        own = [n for n, thing in vars(module).items() if getattr(thing, "__module__", "") == name and n[0] != "_"]
        for public in getattr(module, "__all__", own):
            lines.update(_described(f"{name}.{public}", getattr(module, public)))
    return sorted(lines)


def _described(name: str, thing: Any) -> Iterator[str]:
    if not inspect.isclass(thing) or thing.__module__ == "builtins":  # a function, a value, or another name of a type
        yield f"{name}{_signature(thing) if inspect.isfunction(thing) else ''}"
        return
    if issubclass(thing, Enum):  # its signature is Python's business
        yield from (f"{name}.{member.name} = {member.value!r}" for member in thing)
        return
    bases = ", ".join(base.__name__ for base in thing.__bases__)
    yield f"class {name}({bases}){_signature(thing) if not issubclass(thing, BaseException) else ''}"
    if issubclass(thing, msgspec.Struct):
        yield from (f"{name}.{field}" for field in thing.__struct_fields__)
    for member, value in _members(thing).items():
        if inspect.isfunction(value):
            yield f"{name}.{member}{_signature(value)}"
        elif isinstance(value, property | classmethod | staticmethod):
            yield f"{name}.{member}"


def _members(thing: type) -> dict[str, Any]:
    """The public members of a class, with those of bases that are not public themselves."""
    hidden = [base for base in reversed(thing.__mro__[1:]) if base.__module__ in _HIDDEN]
    found = {name: value for kind in (*hidden, thing) for name, value in vars(kind).items()}
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _signature(thing: Any) -> str:
    """The parameters by name and kind, with whether each has a default; annotations may change."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return ""
    shown = []
    for each in parameters:
        star = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(each.kind, "")
        only = "kw " if each.kind is inspect.Parameter.KEYWORD_ONLY else ""
        default = "" if each.default is inspect.Parameter.empty else "=..."
        shown.append(f"{only}{star}{each.name}{default}")
    return f"({', '.join(shown)})"


if __name__ == "__main__":
    print("\n".join(surface()))
