"""What a docstring says: of the function as a whole, and of each parameter.

Four ways of writing are read, because all are common: Google (`Args:` and indented `name (type): text`), NumPy
(`Parameters` underlined, `name : type` and indented text), reST (`:param name: text`) and plain lines `name: text`.
A line counts only if its name is a parameter of the function, so that ordinary prose is never taken for one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection
from typing import NamedTuple

__all__ = ["Described", "describe"]

_REST = re.compile(
    r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?\*{0,2}(?P<name>\w+)\s*:\s*(?P<text>.*)"
)
_REST_OTHER = re.compile(r":(?:type|returns?|rtype|raises?|yields?|except)\b")
_GOOGLE = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:(?:\s+(?P<text>.*)|\Z)")
_NUMPY = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?::.*)?\Z")
_RULE = re.compile(r"-{3,}\s*\Z")
_PARAMETERS = {"args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "other parameters"}
_SECTIONS = _PARAMETERS | {
    "attributes",
    "example",
    "examples",
    "note",
    "notes",
    "raises",
    "references",
    "returns",
    "see also",
    "warning",
    "warnings",
    "yields",
}


class Described(NamedTuple):
    """`text` is the docstring without its sections; `parameters` has those that are described."""

    text: str
    parameters: dict[str, str]


class _Reader:
    """Goes through the lines of a docstring; `section` is the heading it is under, "" before the first."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._name = ""
        self._indent = 0
        self.section = ""
        self.numpy = False
        self.text: list[str] = []
        self.found: dict[str, list[str]] = {}

    def line(self, line: str) -> None:
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if started := self._starts(stripped):
            self._name, text = started
            self._indent = indent
            self.found[self._name] = [text] if text else []
        elif self._name and stripped and indent > self._indent:
            self.found[self._name].append(stripped)
        elif stripped or not self._name:
            self._name = ""
            if not self.section and not _REST_OTHER.match(stripped):
                self.text.append(line)

    def _starts(self, stripped: str) -> tuple[str, str] | None:
        """The name and the text of a line that begins the description of a parameter."""
        match = _REST.match(stripped)
        if match is None and self.section in _PARAMETERS and self.numpy:
            match = _NUMPY.match(stripped)
        elif match is None and (self.section in _PARAMETERS or not self.section):
            match = _GOOGLE.match(stripped)
        if match is None or match["name"] not in self._names or match["name"] in self.found:
            return None
        return match["name"], (match.groupdict().get("text") or "").strip()

    def heading(self, name: str, *, numpy: bool) -> None:
        self.section, self.numpy, self._name = name, numpy, ""


def describe(docstring: str | None, names: Collection[str]) -> Described:
    """Read a docstring of a function with these parameters; whatever it holds, the result is usable text."""
    reader = _Reader(names)
    lines = inspect.cleandoc(docstring or "").splitlines()
    skip = False
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        bare = line.strip().lower()
        if skip:
            skip = False
        elif bare in _SECTIONS and _RULE.match(following.strip()):
            reader.heading(bare, numpy=True)
            skip = True
        elif bare.endswith(":") and bare[:-1] in _SECTIONS:
            reader.heading(bare[:-1], numpy=False)
        else:
            reader.line(line)
    return Described("\n".join(reader.text).strip(), {name: " ".join(text) for name, text in reader.found.items()})
