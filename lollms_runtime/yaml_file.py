"""YAML files as plain values with the line of every field.

Only what a configuration needs is read: mappings with text keys, lists, text, numbers, true/false and null, in one
document. Tags, merge keys and a second document are refused, the same key twice as well, and aliases count by what
they expand to, so that a few bytes cannot become millions of values. The parser builds a graph of nodes with
positions; the values are made from it here, so no object is ever constructed by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lollms_core.errors import ConfigError, StorageError
from lollms_runtime.files import read_text_strict

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

__all__ = ["FieldPath", "YamlFile", "is_mapping", "load_yaml", "parse_yaml", "root_of"]

FieldPath: TypeAlias = tuple[str | int, ...]

_MAX_VALUES = 20_000
_MAX_DEPTH = 40
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class YamlFile:
    """The values of a file, the 1-based line of each field, and the text they were read from."""

    name: str
    values: dict[str, Any]
    lines: Mapping[FieldPath, int]
    text: str

    def line(self, path: FieldPath) -> int:
        """The line of a field, or of the nearest field above it that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, path: FieldPath, sentence: str) -> ConfigError:
        """An error that names file, line and field."""
        return ConfigError(self.place(path, sentence))

    def place(self, path: FieldPath, sentence: str) -> str:
        """`file:line: field: sentence`."""
        field = dotted(path)
        return f"{self.name}:{self.line(path)}: {field + ': ' if field else ''}{sentence}"


def dotted(path: FieldPath) -> str:
    """`("server", "allowed_origins", 2)` as `server.allowed_origins[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Builder:
    """Makes plain values from nodes and notes their lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self.lines: dict[FieldPath, int] = {}

    def fail(self, node: Node, path: FieldPath, sentence: str) -> ConfigError:
        field = dotted(path)
        return ConfigError(f"{self._name}:{node.start_mark.line + 1}: {field + ': ' if field else ''}{sentence}")

    def _too_much(self, path: FieldPath, sentence: str) -> ConfigError:
        """An error at the outermost field: aliases make a place further in meaningless."""
        return ConfigError(f"{self._name}:{self.lines.get(path[:1], 1)}: {dotted(path[:1])}: {sentence}")

    def build(self, node: Node, path: FieldPath) -> Any:
        """The value of a node; raises ConfigError."""
        from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

        self._count += 1
        if self._count > _MAX_VALUES:
            raise self._too_much(path, f"the file stands for more than {_MAX_VALUES} values (aliases count in full).")
        if len(path) > _MAX_DEPTH:
            raise self._too_much(path, f"values are nested more than {_MAX_DEPTH} deep.")
        self.lines.setdefault(path, node.start_mark.line + 1)
        kind = str(node.tag or "")
        if isinstance(node, MappingNode) and kind == _CORE + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and kind == _CORE + "seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, kind, path)
        raise self.fail(node, path, "YAML tags are not used in this file; remove the word that starts with '!'.")

    def _mapping(self, node: Node, path: FieldPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str):
                raise self.fail(key_node, path, "a field name must be text, not a list or a mapping.")
            if str(key_node.tag) == _CORE + "merge":
                raise self.fail(key_node, path, "merge keys ('<<') are not used in this file; write the fields out.")
            if key in values:
                raise self.fail(key_node, (*path, key), "this field stands twice in the file; keep one.")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            values[key] = self.build(value_node, (*path, key))
        return values

    def _scalar(self, node: Node, kind: str, path: FieldPath) -> Any:
        text: str = node.value
        if kind == _CORE + "null":
            return None
        if kind == _CORE + "bool":
            return text.lower() == "true"
        if kind in (_CORE + "int", _CORE + "float"):
            return self._number(node, kind, text, path)
        if kind in (_CORE + "str", _CORE + "timestamp", _CORE + "value", "!"):
            return text
        raise self.fail(node, path, "YAML tags are not used in this file; remove the word that starts with '!'.")

    def _number(self, node: Node, kind: str, text: str, path: FieldPath) -> int | float:
        plain = text.replace("_", "").lower()
        if len(plain) > 40:
            raise self.fail(node, path, "this number has too many digits; put it in quotes if it is text.")
        try:
            if kind.endswith("int"):
                based = plain.lstrip("+-").startswith(("0x", "0o", "0b"))
                return int(plain, 0 if based else 10)
            number = float(plain)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.fail(node, path, "this is not a number that can be used; put it in quotes if it is text.")
        return number


def parse_yaml(text: str, name: str) -> YamlFile:
    """Parse the text of a configuration file; an empty file has no fields.

    Raises ConfigError of the form `name:line: field: sentence`. The sentence never contains a value of the file.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError

    if directive := _DIRECTIVE.search(text):
        line = text.count("\n", 0, directive.start()) + 1
        raise ConfigError(f"{name}:{line}: lines that start with '%' (YAML directives) are not used in this file.")
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{name}:{line}: this is not valid YAML: {_problem(error)}.") from None
    except RecursionError:
        raise ConfigError(f"{name}:1: values are nested too deeply.") from None
    except (YAMLError, YAMLStreamError, ValueError) as error:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        raise ConfigError(f"{name}:{line}: the file has a character that YAML does not allow.") from None
    if root is None:
        return YamlFile(name, {}, {}, text)
    builder = _Builder(name)
    values = builder.build(root, ())
    if not isinstance(values, dict):
        raise builder.fail(root, (), "the file must consist of 'name: value' lines.")
    return YamlFile(name, values, builder.lines, text)


def root_of(text: str) -> Node | None:
    """The nodes of a text that `parse_yaml` has accepted, each with where it stands: for who changes a place in it."""
    from ruamel.yaml import YAML

    root: Node | None = YAML(typ="safe", pure=True).compose(text)
    return root


def is_mapping(node: Node | None) -> bool:
    """Whether a node has entries: `value` is pairs of nodes then."""
    from ruamel.yaml.nodes import MappingNode

    return isinstance(node, MappingNode)


def _problem(error: Any) -> str:
    """What is wrong in the parser's words, as far as they cannot hold text of the file, else in ours."""
    problem = str(error.problem or "")
    known = {
        "\\t": "a tab stands where only spaces may indent",
        "alias": "an alias refers to an anchor that is not defined",
        "cannot start": "a value starts with a character that needs quotes",
        "another document": "a second document starts here",
        "end of stream": "the file ends in the middle of a value",
    }
    for part, words in known.items():
        if part in problem or part.encode().decode("unicode_escape") in problem:
            return words
    return re.split(r",? but |[ ,]['\"<]", problem, maxsplit=1)[0].strip(" .,") or "it breaks off"


def load_yaml(path: Path, max_bytes: int = 1_000_000) -> YamlFile:
    """Read and parse a configuration file. Raises ConfigError with file, line and field."""
    try:
        text = read_text_strict(path, max_bytes)
    except StorageError as error:
        raise ConfigError(error.message) from error
    return parse_yaml(text, str(path))
