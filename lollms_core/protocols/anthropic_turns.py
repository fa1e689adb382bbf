"""The turns of a conversation as the Messages protocol wants them.

Instructions stand beside the turns, not among them. Turns of the user and of the assistant alternate and the user
begins, so neighbours of one role become one turn; results of tools are the user's, and come before anything else in
the turn. Texts must not be empty, so blank ones are left out. Ids of calls have few letters and none may stand there
twice; those of other providers, some of which count anew in each answer, are rewritten, with their results.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.types import ImagePart, Message, Part, ReceiptItem

__all__ = ["PROTOCOL", "conversation", "used_tools"]

PROTOCOL = "anthropic"
"""The name of `Native` turns of this protocol: their data is the list of content blocks."""

_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_OWN_BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use")
"""What a model writes that is offered nothing but functions."""
_OPENING = "…"

_Turn = tuple[str, list[dict[str, Any]]]


def conversation(messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]], tuple[ReceiptItem, ...]]:
    """The instructions ("" for none), the turns, and what was changed about the order.

    Raises `InvalidRequest` where nothing is asked, `UnsupportedFeature` for images that only the user may show.
    """
    system: list[str] = []
    turns: list[_Turn] = []
    receipt: list[ReceiptItem] = []
    ids = _Ids()
    for message in messages:
        if message.images and message.role in ("system", "assistant"):
            raise UnsupportedFeature("anthropic takes images of the user and of tools only.")
        if message.role == "system":
            if message.text.strip():
                system.append(message.text)
                if turns:
                    reason = "anthropic takes instructions before the conversation only"
                    receipt.append(ReceiptItem("system", "rewritten", reason))
            continue
        blocks = _blocks(message, ids)
        if not blocks:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns:
        raise InvalidRequest("There is no message to answer: write something for the user.", param="messages")
    if turns[0][0] == "assistant":
        turns.insert(0, ("user", [_text(_OPENING)]))
        reason = "anthropic wants the user to speak first; a turn without words stands before the assistant's"
        receipt.append(ReceiptItem("messages", "rewritten", reason))
    _end_cleanly(turns)
    return "\n\n".join(system), [_turn(*turn) for turn in turns], tuple(dict.fromkeys(receipt))


def used_tools(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the tools that were called in a conversation."""
    blocks = [block for turn in turns if isinstance(turn["content"], list) for block in turn["content"]]
    names = (block.get("name") for block in blocks if block.get("type") == "tool_use")
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def _end_cleanly(turns: list[_Turn]) -> None:
    """Take the blanks off the end of an answer that is to be continued: with them it is refused."""
    role, blocks = turns[-1]
    last = blocks[-1]
    if role == "assistant" and last["type"] == "text":
        blocks[-1] = {**last, "text": str(last.get("text", "")).rstrip()}


def _turn(role: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return {"role": role, "content": blocks[0]["text"]}
    if role == "user":
        blocks = sorted(blocks, key=lambda block: block["type"] != "tool_result")
    return {"role": role, "content": blocks}


def _blocks(message: Message, ids: _Ids) -> list[dict[str, Any]]:
    if message.role == "tool":
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": ids.answered(message.tool_call_id or "")}
        if content := _parts(message.parts):
            result["content"] = content if message.images else message.text
        return [result]
    if (native := _native(message)) is not None:
        for block in native:
            if block["type"] == "tool_use" and isinstance(call_id := block.get("id"), str):
                ids.keep(call_id)
        return native
    calls = [
        {"type": "tool_use", "id": ids.called(call.id), "name": call.name, "input": call.arguments}
        for call in message.tool_calls
    ]
    return [*_parts(message.parts), *calls]


def _native(message: Message) -> list[dict[str, Any]] | None:
    """The turn as it came from the provider; None for a turn of somebody else, and for what is no list of blocks.

    It may have been through the hands of a caller, who must not reach files or anything else of the account by it.
    """
    native = message.native
    if native is None or native.protocol != PROTOCOL or message.role != "assistant":
        return None
    data = native.data
    if not isinstance(data, list | tuple) or not data:
        return None
    if not all(isinstance(block, Mapping) and block.get("type") in _OWN_BLOCKS for block in data):
        return None
    return [dict(block) for block in data]


def _parts(parts: Sequence[Part]) -> list[dict[str, Any]]:
    return [_part(part) for part in parts if isinstance(part, ImagePart) or part.text.strip()]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        data = base64.b64encode(part.data).decode("ascii")
        return {"type": "image", "source": {"type": "base64", "media_type": part.mime, "data": data}}
    return _text(part.text)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


class _Ids:
    """Ids of calls as they are sent; what answers a call gets the id that the call was given."""

    def __init__(self) -> None:
        self._sent: set[str] = set()
        self._times: dict[str, int] = {}
        self._waiting: dict[str, deque[str]] = {}  # by the id in the message: calls that are not yet answered

    def called(self, call_id: str) -> str:
        """The id of one more call."""
        plain = sent = _NOT_IN_IDS.sub("_", call_id) or "call"
        while sent in self._sent:
            times = self._times[plain] = self._times.get(plain, 1) + 1
            sent = f"{plain}_{times}"
        return self._asked(call_id, sent)

    def keep(self, call_id: str) -> str:
        """A call that goes back with the id that it came with."""
        return self._asked(call_id, call_id)

    def _asked(self, call_id: str, sent: str) -> str:
        self._sent.add(sent)
        self._waiting.setdefault(call_id, deque()).append(sent)
        return sent

    def answered(self, call_id: str) -> str:
        """The id for a result: of the first call that waits for one."""
        waiting = self._waiting.get(call_id)
        return waiting.popleft() if waiting else _NOT_IN_IDS.sub("_", call_id) or "call"
