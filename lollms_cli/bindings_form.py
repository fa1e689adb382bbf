"""The settings of a new instance, from a terminal or from `--set`, as the card of its type asks for them.

What a value must be is said by the same validation that the server loads instances with, so nothing is accepted here
that a start would refuse. A secret is typed unseen, or comes from a variable of the environment or standard input; it
stands in no prompt, error or list.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click

from lollms_core.config.schema import Leaf, SchemaPath, Section, suggestion, validate
from lollms_core.errors import InvalidRequest

__all__ = ["OWN_FIELDS", "Question", "ask_settings", "questions_of", "read_settings", "value_of", "wrong_with"]

OWN_FIELDS = ("type", "binding_instance_name")
"""Settings that say which instance it is; they are never asked for."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,31}")  # keys are longer
_NOTHING = "-"
_LONGEST_SECRET = 8192
_YES, _NO = ("true", "yes", "on", "1", "y"), ("false", "no", "off", "0", "n")
_SOURCES = "write NAME=env:VARIABLE for a variable of the environment, or NAME=- to pipe it in"


class Question(NamedTuple):
    """One setting that may be given; `path` leads to it through the sections of the schema."""

    path: SchemaPath
    leaf: Leaf

    @property
    def name(self) -> str:
        """Its name as people write it, with dots between sections."""
        return ".".join(self.path)


def questions_of(schema: Section, path: SchemaPath = ()) -> Iterator[Question]:
    """The settings that a schema declares, without those that say which instance it is; in its order."""
    for name, item in schema.fields.items():
        if not path and name in OWN_FIELDS:
            continue
        if isinstance(item, Section):
            yield from questions_of(item, (*path, name))
        else:
            yield Question((*path, name), item)


def value_of(leaf: Leaf, text: str) -> Any:
    """What a text means for a setting. What cannot be read stays text, and `wrong_with` then says what it must be."""
    if leaf.nullable and text in ("", "null"):
        return None
    if leaf.type == "bool":
        word = text.strip().lower()
        return True if word in _YES else False if word in _NO else text
    if leaf.type == "list":
        return _list_of(text)
    if leaf.type in ("int", "float"):
        return _number_of(text)
    return text


def _list_of(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return [part.strip() for part in text.split(",") if part.strip()]


def _number_of(text: str) -> Any:
    plain = text.strip()
    try:
        return int(plain) if re.fullmatch(r"[+-]?[0-9]{1,30}", plain) else float(plain)
    except ValueError:
        return text


def wrong_with(leaf: Leaf, value: Any) -> str:
    """What the loader would say against a value, without the value; "" where it would take it."""
    errors = validate(Section({"value": leaf}), {"value": value}).errors
    return errors[0][1] if errors else ""


def read_settings(texts: Iterable[str], schema: Section) -> dict[SchemaPath, Any]:
    """The settings of `--set NAME=VALUE`, checked. Raises `UsageError`, which shows no value.

    A secret is never taken as it stands: it would be seen in the list of processes and in the shell's history.
    """
    known = {question.name: question for question in questions_of(schema)}
    found: dict[SchemaPath, Any] = {}
    piped = False
    for text in texts:
        name, sign, written = text.partition("=")
        question = known.get(name)
        if not sign or question is None:
            raise click.UsageError(_no_setting(name, bool(sign), list(known)))
        if question.leaf.secret:
            if written == _NOTHING and piped:
                raise click.UsageError("Only one secret can be piped in.")
            piped = piped or written == _NOTHING
            written = _secret(name, written)
        value = value_of(question.leaf, written)
        if wrong := wrong_with(question.leaf, value):
            raise click.UsageError(f"{name} {wrong}")
        found[question.path] = value
    return found


def _no_setting(name: str, has_value: bool, known: list[str]) -> str:
    listed = f"There are: {', '.join(known) or 'none'}."
    if not _NAME.fullmatch(name):  # it may be a key: not to be repeated
        return f"--set wants NAME=VALUE, with the name of a setting. {listed}"
    if name in known and not has_value:
        return f"--set wants {name}=VALUE."
    if has_value:
        return f"There is no setting {name!r}.{suggestion(name, known)} {listed}"
    return f"--set wants NAME=VALUE, with the name of a setting. {listed}"


def _secret(name: str, source: str) -> str:
    """The secret that a source leads to. Raises `UsageError` and `InvalidRequest`, without what was written."""
    if source == _NOTHING:
        return _piped_secret(name)
    variable = source.removeprefix("env:")
    if variable == source or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", variable):
        raise click.UsageError(
            f"{name} is a secret and does not stand on the command line, where others and the shell's history see it: "
            f"{_SOURCES.replace('NAME', name)}. If you have typed a key, it is now in that history."
        )
    found = os.environ.get(variable, "").strip()
    if not found:
        raise InvalidRequest(f"{name}: the variable {variable} of the environment is not set or empty.")
    return found


def _piped_secret(name: str) -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError(f"{name}=- reads the secret from standard input, and nothing is piped in.")
    try:
        text = sys.stdin.buffer.read(_LONGEST_SECRET).decode("utf-8-sig").strip()
    except (UnicodeDecodeError, OSError):
        raise InvalidRequest(f"{name}: what is piped in is not text.") from None
    if not text:
        raise InvalidRequest(f"{name}: nothing was piped in.")
    return text


# ---- on a terminal -------------------------------------------------------------------------------------------------


def ask_settings(schema: Section, given: Mapping[SchemaPath, Any], say: Callable[[str], None]) -> dict[SchemaPath, Any]:
    """Ask for every setting that is not given yet; what is left empty keeps its default and is not in the result."""
    answers = dict(given)
    for question in questions_of(schema):
        if question.path not in answers:
            answer = _ask(question, say)
            if answer is not _KEEP:
                answers[question.path] = answer
    return answers


_KEEP: Any = object()


def _ask(question: Question, say: Callable[[str], None]) -> Any:
    """One answer, asked again until it can be used; `_KEEP` for the default."""
    leaf = question.leaf
    if leaf.help:
        say(f"\n{leaf.help}")
    while True:
        # click shows no default of a hidden prompt, and ours is in the words already
        typed: str = click.prompt(
            _words(question), default="", show_default=False, hide_input=leaf.secret, err=True, prompt_suffix=": "
        )
        if not typed and not leaf.required:
            return _KEEP
        clears = typed == _NOTHING and leaf.nullable
        value = None if clears else _chosen(leaf, typed)
        if not typed:
            say("  this must be given.")
        elif wrong := wrong_with(leaf, value):
            say(f"  it {wrong}")
        else:
            return value


def _words(question: Question) -> str:
    leaf = question.leaf
    words = question.name
    if leaf.options:
        words += f" ({', '.join(f'{at}) {option}' for at, option in enumerate(leaf.options, 1))})"
    elif bounds := _bounds(leaf):
        words += f" ({bounds})"
    if leaf.secret:
        return f"{words} (not shown; empty for none)" if not leaf.required else f"{words} (not shown)"
    if leaf.required:
        return words
    words += f" [{_shown(leaf.default)}]"
    return f"{words} ({_NOTHING} for none)" if leaf.nullable and leaf.default is not None else words


def _bounds(leaf: Leaf) -> str:
    if leaf.low is not None and leaf.high is not None:
        return f"{leaf.low} to {leaf.high}"
    if leaf.low is not None:
        return f"at least {leaf.low}"
    return f"at most {leaf.high}" if leaf.high is not None else ""


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ", ".join(map(str, default)) if isinstance(default, list) else str(default)


def _chosen(leaf: Leaf, typed: str) -> Any:
    """What was typed, or the option whose number it is."""
    value = value_of(leaf, typed)
    if leaf.options and value not in leaf.options and typed.isascii() and typed.isdigit():
        place = int(typed) - 1
        if 0 <= place < len(leaf.options):
            return leaf.options[place]
    return value
