"""Parameters as the Gemini API names them: `generationConfig`, how to think, and which tools may be called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from lollms_core.errors import InvalidRequest
from lollms_core.protocols.base import Target
from lollms_core.protocols.gemini_errors import LEVEL, NO_THINKING, PENALTY, THINKING, THOUGHTS
from lollms_core.protocols.lessons import heeded
from lollms_core.protocols.outgoing import finite
from lollms_core.types import GenerationCall, Params, ReceiptItem

__all__ = ["planned", "tool_choice"]

_NAMES: Mapping[str, str] = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "stop": "stopSequences",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
"""The names of `Params`, and what Google calls them. What is not here does not exist there."""

_OURS = {theirs: ours for ours, theirs in _NAMES.items()} | {THINKING: "thinking"}
_PENALTIES = ("presencePenalty", "frequencyPenalty")
_MOST_STOPS = 5
_LARGEST_SEED = 2**31 - 1

_MORE = {"response_modalities": "responseModalities", "media_resolution": "mediaResolution"}
"""Further settings that may pass, of models that draw, and of how closely to look at images."""

_THINKING = ("thinking", "think", "thinking_budget", "thinking_level", "include_thoughts")
_CHOICES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY"}
_BUDGETED = re.compile(r"gemini-2\.5(?!\d)")
"""Models that are told how much to think by a number of tokens. Some of them do not think unless they are told to, and
then refuse to show thoughts: https://ai.google.dev/gemini-api/docs/thinking"""


def planned(params: Params, target: Target, model: str = "") -> tuple[dict[str, Any], list[ReceiptItem]]:
    """The `generationConfig` for some parameters to a model, and what was not done as asked.

    Raises `InvalidRequest` for numbers that are none, and for settings of thinking that make no sense.
    """
    name = "gemini"
    config: dict[str, Any] = {}
    receipt: list[ReceiptItem] = []
    for ours, value in finite(params).items():
        theirs = _NAMES.get(ours)
        if theirs is None:
            receipt.append(ReceiptItem(ours, "dropped", f"{name} has no such parameter"))
        elif ours == "stop":
            if len(value) > _MOST_STOPS:
                receipt.append(ReceiptItem(ours, "clamped", f"{name} takes {_MOST_STOPS} at most"))
            if value:
                config[theirs] = list(value[:_MOST_STOPS])
        elif ours == "seed" and value > _LARGEST_SEED:
            config[theirs] = _LARGEST_SEED
            receipt.append(ReceiptItem(ours, "clamped", f"{name} takes {_LARGEST_SEED} at most"))
        else:
            config[theirs] = value
    for ours, value in params.extra.items():
        if ours in _MORE:
            config[_MORE[ours]] = value
        elif ours not in _THINKING and ours != "tool_choice":
            receipt.append(ReceiptItem(ours, "dropped", f"{name} has no such parameter"))
    known = {lesson.field for lesson in target.lessons}
    if thinking := _as_taken(_thinking(params.extra), model, known, receipt):
        config[THINKING] = thinking
    _limit(config, target, receipt)
    config, learned = heeded(config, target.lessons, _OURS, name)
    if PENALTY in known:
        for theirs in _PENALTIES:
            if config.pop(theirs, None) is not None:
                reason = f"the model refused it when {name} was asked before"
                learned.append(ReceiptItem(_OURS[theirs], "dropped", reason))
    return config, receipt + learned


def _limit(config: dict[str, Any], target: Target, receipt: list[ReceiptItem]) -> None:
    """Hold the answer to the length that the target allows."""
    most = target.options.get("max_output_tokens")
    if not isinstance(most, int):
        return
    if config.get("maxOutputTokens", most) > most:
        receipt.append(ReceiptItem("max_tokens", "clamped", f"this instance allows {most} at most"))
    config["maxOutputTokens"] = min(config.get("maxOutputTokens", most), most)


# ---- thinking ------------------------------------------------------------------------------------------------------


def _thinking(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The `thinkingConfig` that some parameters ask for; empty if none does.

    `thinking` and `think` are a switch, a number of tokens, a level, or an object in the words of Google or Anthropic.
    Thoughts are shown wherever thinking is asked for, unless `include_thoughts` is false.
    """
    config: dict[str, Any] = {}
    for name in ("think", "thinking"):
        if extra.get(name) is not None:
            config.update(_of_value(extra[name], name))
    if (budget := extra.get("thinking_budget")) is not None:
        config.update(_budget(budget, "thinking_budget"))
    if (level := extra.get("thinking_level")) is not None:
        config.update(_level(level, "thinking_level"))
    if (shown := extra.get("include_thoughts")) is not None:
        if not isinstance(shown, bool):
            raise InvalidRequest("Parameter include_thoughts must be true or false.", param="include_thoughts")
        config["includeThoughts"] = shown
    return config


def _as_taken(
    thinking: dict[str, Any], model: str, known: Collection[str], receipt: list[ReceiptItem]
) -> dict[str, Any]:
    """Settings of thinking as the model takes them; `known` is what it refused before."""
    if NO_THINKING in known and thinking.get("thinkingBudget") == 0:
        receipt.append(ReceiptItem("thinking", "dropped", "the model always thinks"))
        return {}
    if LEVEL in known and "thinkingLevel" in thinking:
        receipt.append(ReceiptItem("thinking", "rewritten", "the model knows no levels, and thinks as it sees fit"))
        thinking = {name: value for name, value in thinking.items() if name != "thinkingLevel"}
    if thinking.get("includeThoughts") and len(thinking) == 1:
        if _BUDGETED.search(model):
            return {"thinkingBudget": -1, **thinking}
        if THOUGHTS in known:
            receipt.append(
                ReceiptItem("thinking", "dropped", "the model shows no thoughts without a budget or a level")
            )
            return {}
    return thinking


def _of_value(value: object, name: str) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"includeThoughts": True} if value else _budget(0, name)
    if isinstance(value, int):
        return _budget(value, name)
    if isinstance(value, str):
        return _level(value, name)
    if not isinstance(value, Mapping):
        raise _senseless(name)
    if value.get("type") == "disabled":
        return _budget(0, name)
    config: dict[str, Any] = {"includeThoughts": True}
    for key in ("budget_tokens", "thinking_budget", "thinkingBudget"):
        if key in value:
            config.update(_budget(value[key], name))
    for key in ("level", "thinking_level", "thinkingLevel"):
        if key in value:
            config.update(_level(value[key], name))
    for key in ("include_thoughts", "includeThoughts"):
        if isinstance(value.get(key), bool):
            config["includeThoughts"] = value[key]
    return config


def _budget(value: object, name: str) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 2**31:
        raise _senseless(name)
    return {"thinkingBudget": value, "includeThoughts": value != 0}


def _level(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, str) or not (value.isascii() and value.isalpha()) or len(value) > 32:
        raise _senseless(name)
    return {"thinkingLevel": value.upper(), "includeThoughts": True}


def _senseless(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"Parameter {name} must say how to think: true, false, a number of tokens (-1 leaves it to the model), or a "
        'level such as "low".',
        param=name,
    )


# ---- tools ---------------------------------------------------------------------------------------------------------


def tool_choice(call: GenerationCall) -> dict[str, Any] | None:
    """Which tools must be called, by `tool_choice`: auto, none, required, or the name of one; None if nobody says.

    Raises `InvalidRequest` for anything else.
    """
    choice = call.params.extra.get("tool_choice")
    if choice is None or not call.tools:
        return None
    if isinstance(choice, Mapping):  # as OpenAI has it, {"type": "function", "function": {"name": ...}}, or Anthropic
        function = choice.get("function")
        choice = function.get("name") if isinstance(function, Mapping) else choice.get("name") or choice.get("type")
    if isinstance(choice, str) and choice in _CHOICES:
        return {"mode": _CHOICES[choice]}
    if isinstance(choice, str) and any(tool.name == choice for tool in call.tools):
        return {"mode": "ANY", "allowedFunctionNames": [choice]}
    raise InvalidRequest(
        "Parameter tool_choice must be auto, none, required, or the name of a tool that is offered.",
        param="tool_choice",
    )
