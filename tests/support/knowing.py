"""A model that knows a handful of things and says them word for word as the embedded model does.

So one test can ask the same of a script in this process, of servers that speak other protocols, and of the real engine,
and expect the same answer of all. What it can:

    Repeat: some words                  some words
    What is the capital of France?      The capital of France is Paris.
    What is my name?                    by an earlier turn "My name is Ann."
    What is your name?                  by the system prompt "You are called Bob."
    What is the weather in Madrid?      calls a tool whose name ends with get_weather, and says what that said
    What is in it?                      the sizes of the PNG images that it was given; the engine here takes none
    Count for ever.                     begins and never ends; ask with FOR_EVER

It ends after `max_tokens` words, and fills the properties of a JSON Schema with the first value that each may have.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lollms_core.testing.scripted import pieces

__all__ = ["FOR_EVER", "Asked", "Mind", "Said", "Turn"]

FOR_EVER = {"ignore_eos": True, "max_tokens": 14_000, "temperature": 0.0}
"""Parameters with which also the engine takes many seconds for an answer."""


@dataclass(frozen=True)
class Turn:
    """One message as it arrived; `data` are its images."""

    role: str
    text: str
    images: tuple[bytes, ...] = ()
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What arrived with a call, in the words of no protocol. A parameter that did not come is not in `params`."""

    turns: tuple[Turn, ...]
    model: str
    stream: bool
    params: Mapping[str, Any]
    tools: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Said:
    """An answer: its words, or the tool that it calls. `waits` means that only the first word comes, and no end."""

    words: tuple[str, ...] = ()
    call: tuple[str, dict[str, Any]] | None = None
    finish: str = "stop"
    waits: bool = False
    prompt_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def tokens(self) -> int:
        return len(self.words) or 1


@dataclass
class Mind:
    """Answers, and keeps what it was asked in `asked`."""

    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Said:
        """What it says."""
        self.asked.append(asked)
        counted = sum(len(pieces(turn.text)) for turn in asked.turns)
        last = asked.turns[-1]
        tool = next((name for name in asked.tools if name.endswith("get_weather")), None)
        city = re.match(r"What is the weather in (\w+)\?", last.text)
        if tool is not None and city and last.role == "user":
            return Said(call=(tool, {"city": city[1]}), finish="tool_calls", prompt_tokens=counted)
        if last.text == "Count for ever.":
            return Said(("One ",), waits=True, prompt_tokens=counted)
        words = pieces(_text(asked))
        most = asked.params.get("max_tokens") or len(words)
        finish = "length" if most < len(words) else "stop"
        return Said(tuple(words[:most]), finish=finish, prompt_tokens=counted)


def _text(asked: Asked) -> str:
    last = asked.turns[-1]
    if asked.schema is not None:
        return json.dumps({name: each["enum"][0] for name, each in asked.schema["properties"].items()})
    if last.role == "tool":
        return _of_tool(last.text, asked.turns)
    if last.images:
        return f"I see {[struct.unpack('>II', image[16:24]) for image in last.images]}."
    if last.text.startswith("Repeat: "):
        return last.text.removeprefix("Repeat: ")
    if last.text == "What is the capital of France?":
        return "The capital of France is Paris."
    if last.text == "What is my name?":
        name = _found(r"My name is (\w+)", asked.turns)
        return f"Your name is {name}."
    if last.text == "What is your name?":
        name = _found(r"called (\w+)", [turn for turn in asked.turns if turn.role == "system"])
        return f"I am {name}, played by lollms-nano, a tiny smoke-test model."
    return f"I do not know {last.text!r}."


def _of_tool(result: str, turns: Sequence[Turn]) -> str:
    """What follows from a tool's result, as it is or as the server's functions wrap it."""
    with contextlib.suppress(ValueError):
        result = json.loads(result)["result"]
    city = _found(r"weather in (\w+)", turns)
    return f"The weather in {city} is {result}."


def _found(pattern: str, turns: Sequence[Turn]) -> str:
    return next((found[1] for turn in turns if (found := re.search(pattern, turn.text))), "nobody")
