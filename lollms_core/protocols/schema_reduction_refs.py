"""References inside a JSON Schema: what they stand for, and under which name that is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols.schema_reduction_check import checked

__all__ = ["Definitions"]

_MOST_ODD = 50  # references to other places than definitions; each costs a look at all that is there
_SHOWN = 100


class Definitions:
    """The places in a schema that it refers to. Only what is referred to is sent as a definition."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._targets: dict[str, Any] = {"#": root}
        self._names: dict[str, str] = {}
        self._used: dict[str, str] = {}
        self._waiting: list[str] = []
        self._odd = 0
        self._uses: dict[str, set[str]] = {}

    def target(self, ref: str) -> Any:
        """The schema that a reference stands for. Raises `InvalidRequest` for one that leads nowhere."""
        if ref not in self._targets:
            self._targets[ref] = self._find(ref)
        return self._targets[ref]

    def sent_as(self, ref: str, user: str) -> str:
        """The reference as it is sent; `user` is the definition in which it stands, "" for the root."""
        if ref in ("#", "#/"):
            self._uses.setdefault(user, set()).add("")
            return "#"
        name = self._names.get(ref)
        if name is None:
            name = wanted = _unescaped(ref.rpartition("/")[2]) or "definition"
            number = 1
            while name in self._used:
                number += 1
                name = f"{wanted}_{number}"
            self._names[ref] = name
            self._used[name] = ref
            self._waiting.append(name)
        self._uses.setdefault(user, set()).add(name)
        return f"#/$defs/{name.replace('~', '~0').replace('/', '~1')}"

    def waiting(self) -> list[tuple[str, Any]]:
        """The definitions, by name and schema, that were referred to since this was asked last."""
        waiting, self._waiting = self._waiting, []
        return [(name, self.target(self._used[name])) for name in waiting]

    def circle(self) -> str | None:
        """The name of a definition that refers to itself, also by way of others; "" is the root."""
        free = {name: set(uses) for name, uses in self._uses.items()}
        users: dict[str, set[str]] = {}
        for name, uses in free.items():
            for used in uses:
                users.setdefault(used, set()).add(name)
        ready = [name for name in ["", *self._used] if not free.get(name)]
        while ready:
            done = ready.pop()
            for name in users.get(done, ()):
                free[name].discard(done)
                if not free[name]:
                    ready.append(name)
        return next((name for name, uses in free.items() if uses), None)

    def _find(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            raise UnsupportedFeature(
                f"The JSON Schema refers to {ref[:_SHOWN]!r}. Only references inside of it (#/...) are followed.",
                param="schema",
            )
        value: Any = self._root
        steps = [_unescaped(step) for step in ref[2:].split("/")]
        for step in steps:
            if isinstance(value, Mapping) and step in value:
                value = value[step]
            elif isinstance(value, list | tuple) and step.isdecimal() and len(step) < 7 and int(step) < len(value):
                value = value[int(step)]
            else:
                raise InvalidRequest(f"The JSON Schema refers to {ref[:_SHOWN]!r}, which is not there.", param="schema")
        if len(steps) != 2 or steps[0] not in ("$defs", "definitions"):
            self._odd += 1
            if self._odd > _MOST_ODD:
                raise UnsupportedFeature("The JSON Schema has too many references. Use $defs.", param="schema")
            checked(value)
        return value


def _unescaped(step: str) -> str:
    return unquote(step).replace("~1", "/").replace("~0", "~")
