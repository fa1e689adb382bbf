"""How Anthropic's models are told to think, and when they cannot be.

Older models take a budget in tokens, newer ones decide themselves, and some always think. Thoughts cannot be asked for
where a tool must be used, nor, with a budget, in the middle of calls of tools that began without thoughts:
https://platform.claude.com/docs/en/build-with-claude/extended-thinking
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lollms_core.errors import InvalidRequest
from lollms_core.protocols.anthropic_models import ModelProfile
from lollms_core.types import ReceiptItem

__all__ = ["add_effort", "add_thinking", "begins_without_thoughts", "tidy_thinking"]

_LEAST_BUDGET, _USUAL_BUDGET = 1024, 16_000  # tokens


def add_thinking(fields: dict[str, Any], value: object, profile: ModelProfile, receipt: list[ReceiptItem]) -> None:
    """`thinking` in the form that the model takes.

    `value` is a switch, a budget in tokens, how hard to think in a word, or the API's own object, which passes as it
    is unless the model is known to refuse its type. Raises `InvalidRequest` for anything else.
    """
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        if _is_taken(value, profile):
            fields["thinking"] = dict(value)
            return
        budget = value.get("budget_tokens", True) if value["type"] == "enabled" else False
        value = budget if isinstance(budget, int) else None
    if isinstance(value, str) and 0 < len(value) <= 32:
        if value in ("none", "off"):
            value = False
        else:
            if profile.thinking != "none":
                add_effort(fields, value, profile, receipt)
            value = True
    if not isinstance(value, int) or value < 0:
        raise InvalidRequest(
            'Parameter thinking must be true, false, a number of tokens, a level such as "low", or an object with a '
            "type.",
            param="thinking",
        )
    if not value:
        _think_not(fields, profile, receipt)
    elif profile.thinking == "none":
        receipt.append(ReceiptItem("thinking", "dropped", "the model does not think"))
    elif profile.thinking == "adaptive" or (profile.thinking == "either" and value is True):
        fields["thinking"] = {"type": "adaptive", **({"display": "summarized"} if profile.hides else {})}
        if value is not True:
            receipt.append(ReceiptItem("thinking", "rewritten", "the model decides itself how much it thinks"))
    else:
        fields["thinking"] = {"type": "enabled", "budget_tokens": _budget(value, fields, profile)}


def add_effort(fields: dict[str, Any], value: object, profile: ModelProfile, receipt: list[ReceiptItem]) -> None:
    """How hard the model tries, where it can be told; the values differ from model to model and pass as they are."""
    if profile.efforts:
        fields.setdefault("output_config", {})["effort"] = value
    else:
        receipt.append(ReceiptItem("effort", "dropped", "the model has no levels of effort"))


def _think_not(fields: dict[str, Any], profile: ModelProfile, receipt: list[ReceiptItem]) -> None:
    if profile.thinks == "always":
        receipt.append(ReceiptItem("thinking", "dropped", "the model always thinks"))
    elif profile.thinks == "unless":
        fields["thinking"] = {"type": "disabled"}


def _budget(value: int, fields: Mapping[str, Any], profile: ModelProfile) -> int:
    """How many tokens to think: what was asked for, else half of all, which must leave some for the answer."""
    if value is not True:
        return value
    most = int(fields.get("max_tokens", profile.max_output))
    if most <= _LEAST_BUDGET:
        raise InvalidRequest(
            f"Thinking needs {_LEAST_BUDGET} tokens beside those of the answer: set max_tokens above that, or turn "
            "thinking off.",
            param="max_tokens",
        )
    return max(_LEAST_BUDGET, min(_USUAL_BUDGET, most // 2))


def _is_taken(value: Mapping[str, Any], profile: ModelProfile) -> bool:
    """Whether the type of a `thinking` is one that the model is not known to refuse."""
    if value["type"] == "enabled":
        return profile.thinking != "adaptive"
    return value["type"] != "disabled" or profile.thinks != "always"


def tidy_thinking(fields: dict[str, Any], receipt: list[ReceiptItem], *, forced: bool, unsigned: bool) -> None:
    """Leave thinking out where it is refused: `forced` says that a tool must be used, `unsigned` that the calls which
    are being answered have no thoughts before them."""
    kind = fields.get("thinking", {}).get("type")
    if forced and kind in ("enabled", "adaptive"):
        reason = "the model cannot be made to think where a tool must be used"
    elif unsigned and kind == "enabled":
        reason = "the calls of tools that are being answered came without thoughts"
    else:
        return
    del fields["thinking"]
    receipt.append(ReceiptItem("thinking", "dropped", reason))


def begins_without_thoughts(turns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last turn answers calls of tools that stand in a turn which does not begin with thoughts."""
    if len(turns) < 2 or isinstance(turns[-2]["content"], str):
        return False
    kinds = [block.get("type") for block in turns[-2]["content"]]
    return "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking")
