"""The text of an instance file, and one more line in a main configuration, whose other lines stay as they are.

A configuration that people write has comments and an order of its own. So nothing is written anew from values: the
place of the entry is found in the text, the entry is put there, and the result is read again. Where it does not say
exactly what was wanted, it is not used.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lollms_cli.bindings_form import OWN_FIELDS
from lollms_core.config.schema import SchemaPath, Section
from lollms_core.errors import ConfigError
from lollms_runtime.os_lock import try_lock
from lollms_runtime.yaml_file import is_mapping, parse_yaml, root_of

__all__ = ["alone", "instance_text", "scalar", "with_setting"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(:[0-9/][A-Za-z0-9_./:-]*)?")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_END = "# end of configuration"
_WIDTH = 110
_PATIENCE, _PAUSE = 5.0, 0.02  # seconds


@contextlib.contextmanager
def alone(main: Path) -> Iterator[None]:
    """No other command changes a main configuration in this block, or one of two would undo what the other has done.

    Raises `ConfigError` when another one does not end, or the folder cannot be written.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(main.with_name(f".{main.name}.lock"), flags, 0o600)
    except OSError as error:
        raise ConfigError(f"{main.parent} cannot be written: {error.strerror}. Nothing was added.") from error
    try:
        deadline = time.monotonic() + _PATIENCE
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise ConfigError(f"Another command is changing {main} and does not end. Nothing was added; try again.")
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def scalar(value: Any) -> str:
    """A value in YAML, on one line."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return "".join(map(_written, json.dumps(value, ensure_ascii=False)))
    if isinstance(value, list):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(name))}: {scalar(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def _written(character: str) -> str:
    """A character of a quoted text; what YAML does not allow as it stands is written as an escape."""
    code = ord(character)
    if character.isprintable():
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def instance_text(type_name: str, name: str, title: str, schema: Section, values: Mapping[SchemaPath, Any]) -> str:
    """An instance file: each setting with what it is for, those that were not given as comments with their default."""
    about = f"{type_name} ({_one(title)})" if title else type_name
    lines = [
        f"# An instance of {about}. A setting written after a # has its default.",
        f"type: {scalar(type_name)}",
        f"binding_instance_name: {scalar(name)}",
        *_settings(schema, values, ()),
    ]
    return "\n".join(lines) + "\n"


def _settings(section: Section, values: Mapping[SchemaPath, Any], path: SchemaPath) -> Iterator[str]:
    indent = "  " * len(path)
    for name, item in section.fields.items():
        here = (*path, name)
        if isinstance(item, Section):
            if any(given[: len(here)] == here for given in values):
                yield from ("", f"{indent}{scalar(name)}:", *_settings(item, values, here))
        elif path or name not in OWN_FIELDS:
            yield ""
            yield from (f"{indent}# {line}" for line in textwrap.wrap(_one(item.help), _WIDTH))
            given = here in values
            shown = values[here] if given else None if item.required else item.default
            yield f"{indent}{'' if given else '# '}{scalar(name)}: {scalar(shown)}"


def _one(text: str) -> str:
    return " ".join(text.split())


def with_setting(text: str, section: str, name: str, value: str, file: str) -> str:
    """A main configuration in which `section.name` is `value`, and nothing else is changed.

    Raises `ConfigError`, which says what to write by hand, where that cannot be done.
    """
    before = parse_yaml(text, file).values
    held = before.get(section)
    wanted = {**before, section: {**(held if isinstance(held, dict) else {}), name: value}}
    changed = _changed(text, section, name, value)
    try:
        same = changed is not None and parse_yaml(changed, file).values == wanted
    except ConfigError:
        same = False
    if changed is None or not same:
        raise ConfigError(f"{file}: the place for it was not found. Write in the section {section}: {name}: {value}")
    return changed


def _changed(text: str, section: str, name: str, value: str) -> str | None:
    root = root_of(text)
    if root is None or not is_mapping(root) or not root.value:
        return None
    found = _inside(root, section)
    if found is None:
        return _with_section(text, root, section, name, value)
    if not is_mapping(found):
        return None
    inner = _inside(found, name)
    if inner is not None:
        return text[: inner.start_mark.index] + scalar(value) + text[inner.end_mark.index :]
    return _with_entry(text, found, name, value)


def _inside(mapping: Any, name: str) -> Any:
    return next((value for key, value in mapping.value if key.value == name), None)


def _with_section(text: str, root: Any, section: str, name: str, value: str) -> str:
    """The text with a new section at its end, before the line that says that this is the end."""
    if root.flow_style:
        at = root.value[-1][1].end_mark.index
        return f"{text[:at]}, {json.dumps(section)}: {{{json.dumps(name)}: {json.dumps(value)}}}{text[at:]}"
    indent = " " * root.value[0][0].start_mark.column
    lines = text.splitlines(keepends=True)
    line_end = "\r\n" if "\r\n" in text else "\n"
    written = [each for each, line in enumerate(lines) if line.strip()]
    at = written[-1] if lines[written[-1]].strip() == _END else len(lines)
    if at == len(lines) and not text.endswith("\n"):
        lines[-1] += line_end
    added = [f"{indent}{section}:", f"{indent}  {scalar(name)}: {scalar(value)}"]
    return "".join([*lines[:at], *(f"{line}{line_end}" for line in added), *lines[at:]])


def _with_entry(text: str, mapping: Any, name: str, value: str) -> str:
    """The text with one more entry at the end of a mapping."""
    if mapping.flow_style:
        entry = f"{json.dumps(name)}: {json.dumps(value)}"  # also right where the whole file is JSON
        if not mapping.value:
            at = mapping.end_mark.index - 1
            return f"{text[:at].rstrip()}{entry}{text[at:]}"
        at = mapping.value[-1][1].end_mark.index
        return f"{text[:at]}, {entry}{text[at:]}"
    line_end = "\r\n" if "\r\n" in text else "\n"
    indent = " " * mapping.value[0][0].start_mark.column
    end = mapping.value[-1][1].end_mark.index
    at = end if text[end - 1] == "\n" else text.find("\n", end) + 1  # a text in several lines ends behind its last
    line = f"{indent}{scalar(name)}: {scalar(value)}{line_end}"
    return f"{text[:at]}{line}{text[at:]}" if at else f"{text}{line_end}{line}"
