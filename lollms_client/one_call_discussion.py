"""The messages of one call in the shape of a discussion, for bindings that can only `chat(discussion)`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from lollms_core.errors import InvalidRequest
from lollms_core.types import ImagePart, Message

__all__ = ["OneCallDiscussion", "lollms_text"]


class OneCallDiscussion:
    """What `chat` needs of a discussion: its messages in one of the four export formats.

    Attributes: `system_prompt`; `messages`, those after it, each with `role`, `text` and `images`.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._all = tuple(messages)
        self.system_prompt = "\n\n".join(each.text for each in messages if each.role == "system")
        self.messages = tuple(each for each in messages if each.role != "system")

    def export(
        self, format_type: str, branch_tip_id: str | None = None, max_allowed_tokens: int | None = None
    ) -> str | list[dict[str, Any]]:
        """The messages as `lollms_text`, `markdown` (text), `openai_chat` or `ollama_chat` (lists of dictionaries).

        There is one branch and nothing is cut, so the other two arguments are ignored. Raises `InvalidRequest`, a
        ValueError, for another format.
        """
        if format_type == "lollms_text":
            return lollms_text(self._all)
        if format_type == "openai_chat":
            return [_openai(each) for each in self._all]
        if format_type == "ollama_chat":
            return [_ollama(each) for each in self._all]
        if format_type == "markdown":
            lines = [f"system: {self.system_prompt}"] if self.system_prompt else []
            return "\n".join([*lines, *(f"**{each.role.capitalize()}**: {each.text}\n" for each in self.messages)])
        raise InvalidRequest(f"Unsupported export format_type: {format_type}", param="format_type")


def lollms_text(messages: Sequence[Message]) -> str:
    """Messages as one text in which each turn begins with `!@>role:` on a line of its own."""
    return "\n".join(f"!@>{each.role}:\n{each.text}" for each in messages).strip()


def _openai(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}]
    for image in message.images:
        url = f"data:{image.mime};base64,{_base64(image)}"
        parts.append({"type": "image_url", "image_url": {"url": url, "detail": "auto"}})
    return {"role": message.role, "content": parts}


def _ollama(message: Message) -> dict[str, Any]:
    images = {"images": [_base64(each) for each in message.images]} if message.images else {}
    return {"role": message.role, "content": message.text, **images}


def _base64(image: ImagePart) -> str:
    return base64.b64encode(image.data).decode("ascii")
