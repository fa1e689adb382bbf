"""The neutral calls of tests/wire, as calls of ours and as JSON, and what two requests differ in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lollms_core.types import GenerationCall, ImagePart, Message, Params, Part, TextPart, Tool, ToolCall
from lollms_runtime.yaml_file import load_yaml
from tests.support.ollama_server import png

__all__ = ["Neutral", "call_of", "differences", "listed_differences", "neutral_calls"]

FOLDER = Path(__file__).resolve().parents[1] / "wire"

Neutral = dict[str, Any]
"""One call of calls.yaml: every message has `parts`, of which an image has `png`, its bytes."""


def neutral_calls() -> list[Neutral]:
    """The calls in their order, complete: nothing has to be looked up with a default."""
    found = []
    for raw in load_yaml(FOLDER / "calls.yaml").values["calls"]:
        usual = {"params": {}, "tools": [], "schema": None, "stream": False, "thoughts": ""}
        found.append({**usual, **raw, "messages": [_message(each) for each in raw["messages"]]})
    return found


def _message(raw: dict[str, Any]) -> dict[str, Any]:
    written = raw.get("parts") or ([{"text": raw["text"] * raw.get("repeat", 1)}] if "text" in raw else [])
    parts = [{"png": png(*part["png"])} if "png" in part else part for part in written]
    calls = raw.get("tool_calls", [])
    return {"role": raw["role"], "parts": parts, "text": _text(parts), "tool_calls": calls, "call": raw.get("call", "")}


def _text(parts: list[dict[str, Any]]) -> str:
    return "".join(part.get("text", "") for part in parts)


def call_of(neutral: Neutral, model: str, thoughts: str) -> GenerationCall:
    """The same call as our codecs take it; `thoughts` is the name of the parameter that says how hard to think."""
    params = {name: tuple(each) if isinstance(each, list) else each for name, each in neutral["params"].items()}
    extra = {thoughts: neutral["thoughts"]} if neutral["thoughts"] else {}
    return GenerationCall(
        tuple(_our_message(each) for each in neutral["messages"]),
        model,
        Params(**params, extra=extra),
        neutral["stream"],
        tuple(Tool(**each) for each in neutral["tools"]),
        neutral["schema"],
    )


def _our_message(message: dict[str, Any]) -> Message:
    parts: list[Part] = [
        ImagePart(part["png"], "image/png") if "png" in part else TextPart(part["text"]) for part in message["parts"]
    ]
    calls = tuple(ToolCall(**each) for each in message["tool_calls"])
    return Message(message["role"], tuple(parts), calls, message["call"] or None)


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Each place in which two JSON values differ: `ours a.b`, `theirs a.b` (one side has it alone) or `value a.b`.

    `*` stands for any place in a list; what one side has alone is named as a whole.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            place = f"{path}.{name}" if path else name
            if name not in theirs:
                yield f"ours {place}"
            elif name not in ours:
                yield f"theirs {place}"
            else:
                yield from differences(ours[name], theirs[name], place)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from differences(one, other, f"{path}.*" if path else "*")
    elif type(ours) is not type(theirs) or ours != theirs:
        yield f"value {path}"


def listed_differences(protocol: str) -> dict[tuple[str, str], str]:
    """What differences.yaml allows for a protocol: the reason, by the name of the call and the difference."""
    found: dict[tuple[str, str], str] = {}
    for entry in load_yaml(FOLDER / "differences.yaml").values["differences"]:
        if entry["protocol"] == protocol:
            for name in entry["calls"]:
                key = (name, entry["difference"])
                assert key not in found, f"{protocol}: {key} is listed twice"
                assert entry["reason"].strip(), f"{protocol}: {key} has no reason"
                found[key] = entry["reason"]
    return found
