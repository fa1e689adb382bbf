"""What the calls of a flow have cost so far, and the limit that they end at."""

from __future__ import annotations

from typing import Any

import msgspec

from lollms_core.text.tokens import estimate
from lollms_core.types import GenerationCall, ReceiptItem, Reply, Usage

__all__ = ["Limits", "Spending"]


class Limits(msgspec.Struct, frozen=True):
    """How much a flow may ask of a model: `calls`, and `tokens` of all its answers together (None: no limit)."""

    calls: int = 3
    tokens: int | None = None


class Spending:
    """Adds up the replies of a flow.

    Attributes: `calls`; `tokens` of the answers, as reported, else estimated; `usage` as reported; `model`; `receipt`.
    """

    def __init__(self, limits: Limits = Limits(calls=1_000_000)) -> None:  # noqa: B008  an immutable value
        self._limits = limits
        self.calls = 0
        self.tokens = 0
        self.usage: Usage | None = None
        self.model = ""
        self.receipt: dict[ReceiptItem, None] = {}  # in order, each once

    @property
    def is_left(self) -> bool:
        """Whether one more call is within the limits."""
        limits = self._limits
        return self.calls < limits.calls and (limits.tokens is None or self.tokens < limits.tokens)

    def within(self, call: GenerationCall) -> GenerationCall:
        """The call with an answer that is no longer than what is left of the tokens."""
        if self._limits.tokens is None:
            return call
        left = max(1, self._limits.tokens - self.tokens)
        asked = call.params.max_tokens
        params = msgspec.structs.replace(call.params, max_tokens=left if asked is None else min(asked, left))
        return msgspec.structs.replace(call, params=params)

    def add(self, reply: Reply | None) -> None:
        """One call was made; None where nothing came of it."""
        self.calls += 1
        if reply is None:
            return
        self.tokens += _answered(reply)
        if reply.usage is not None:
            self.usage = reply.usage + self.usage
        self.model = reply.model or self.model
        self.receipt |= dict.fromkeys(reply.receipt)

    def note(self, item: ReceiptItem) -> None:
        """Something of the flow's own that was not done as asked."""
        self.receipt[item] = None

    def reply(self, text: str, finish_reason: str = "stop", **more: Any) -> Reply:
        """A reply of this text with all that was spent."""
        return Reply(
            text=text,
            finish_reason=finish_reason,
            usage=self.usage,
            model=self.model,
            receipt=tuple(self.receipt),
            **more,
        )


def _answered(reply: Reply) -> int:
    """The tokens of an answer, at least about."""
    if reply.usage is not None and reply.usage.completion_tokens is not None:
        return max(0, reply.usage.completion_tokens)
    calls = "".join(str(each.arguments) for each in reply.tool_calls) + "".join(raw for _, raw in reply.broken_calls)
    return estimate(reply.text) + estimate(reply.thoughts) + estimate(calls)
