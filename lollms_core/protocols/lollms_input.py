"""The input of the native wire: a conversation as `input_data` items, and back.

A list of items is flatter than a conversation. Text items carry the turns in order: `user_message`, `assistant_message`
(with its tool calls in `metadata.tool_calls`), `tool_result` (with `metadata.tool_call_id`), and the turn to be
answered as `user_prompt`; `system_context` items are the system message. A conversation that ends with another role
than the user, such as one that waits for the model to go on after a tool's result, has no `user_prompt`. Image items
belong to the last turn of the user: the wire has no place for those of earlier turns, so they come along with it and
the receipt says so. Whatever else a list holds (a sound, a document, the mask of an image) is no part of a
conversation; `in_conversation` tells it apart.

An `assistant_message` may hold the turn in its provider's own form, too, in `metadata.native`: the object that came
with the answer, `{"protocol": ..., "data": ...}`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols.outgoing import encode_json
from lollms_core.text.binary import decode_base64, sniff_image
from lollms_core.types import ImagePart, Message, Native, ReceiptItem, TextPart, ToolCall

__all__ = [
    "HISTORY_ROLES",
    "IMAGE_ROLES",
    "LARGEST_NATIVE",
    "InputData",
    "InputItem",
    "conversation_roles",
    "decode_base64",
    "in_conversation",
    "items_of",
    "messages_of",
    "sniff_image",
]

HISTORY_ROLES = ("user_message", "assistant_message", "tool_result", "user_prompt", "system_context")
"""The roles of text items that make up a conversation."""

IMAGE_ROLES = ("input_image", "user_prompt", "user_image", "image", "context_image", "reference_image")
"""The roles of images that a conversation is about."""

LARGEST_NATIVE = 4 * 1024 * 1024
"""Bytes of JSON that a turn in its provider's own form may have."""

_LONGEST_PROTOCOL = 64

_ROLES: Mapping[str, tuple[str, ...]] = {"text": HISTORY_ROLES, "image": IMAGE_ROLES}


class InputItem(msgspec.Struct):
    """One piece of input: `type` is text, image, audio, video or document; `data` is text, or base64."""

    type: str
    role: str
    data: str
    mime_type: str | None = None
    metadata: dict[str, Any] | None = msgspec.field(default_factory=dict)


# ---- a conversation to items ---------------------------------------------------------------------------------------


def items_of(messages: Sequence[Message]) -> tuple[list[InputItem], tuple[ReceiptItem, ...]]:
    """The items of a conversation, and what could not be said exactly. Raises `UnsupportedFeature`."""
    items: list[InputItem] = []
    images: list[ImagePart] = []
    moved = False
    last = len(messages) - 1
    for place, message in enumerate(messages):
        if message.images and message.role != "user":
            raise UnsupportedFeature("A lollms server takes images in the user's messages only.")
        moved = moved or (message.role == "user" and bool(images))
        images += message.images
        items.append(_item(message, prompt=place == last and message.role == "user"))
    for image in images:
        data = base64.b64encode(image.data).decode("ascii")
        items.append(InputItem("image", "input_image", data, image.mime))
    if not moved:
        return items, ()
    return items, (ReceiptItem("images", "rewritten", "images of earlier turns were sent with the user's last one"),)


def _item(message: Message, *, prompt: bool) -> InputItem:
    text = message.text
    if message.role == "system":
        return InputItem("text", "system_context", text)
    if message.role == "tool":
        return InputItem("text", "tool_result", text, metadata={"tool_call_id": message.tool_call_id or ""})
    if message.role == "user":
        return InputItem("text", "user_prompt" if prompt else "user_message", text)
    metadata: dict[str, Any] = {}
    if message.tool_calls:
        calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls]
        metadata["tool_calls"] = calls
    if message.native is not None:
        metadata["native"] = {"protocol": message.native.protocol, "data": message.native.data}
    return InputItem("text", "assistant_message", text, metadata=metadata)


# ---- items to a conversation ---------------------------------------------------------------------------------------


class InputData(Protocol):
    """One piece of input, whoever has read it."""

    @property
    def type(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def mime_type(self) -> str | None: ...
    @property
    def metadata(self) -> dict[str, Any] | None: ...


def conversation_roles(kind: str) -> tuple[str, ...]:
    """The roles in which items of a type are part of a conversation."""
    return _ROLES.get(kind, ())


def in_conversation(kind: str, role: str) -> bool:
    """Whether an item is part of the conversation."""
    return role in conversation_roles(kind)


def messages_of(items: Sequence[InputData], images: Mapping[int, ImagePart] | None = None) -> tuple[Message, ...]:
    """The conversation in a list of items, the system message first; other items are passed over.

    `images` are those that somebody has decoded and checked before, by their place in the list; any other is decoded
    here. Raises `InvalidRequest` naming the item (counted from 0) for base64 or metadata that cannot be used.
    """
    system = "\n\n".join(item.data for item in items if item.type == "text" and item.role == "system_context")
    parts: list[ImagePart] = []
    turns: list[Message] = []
    for place, item in enumerate(items):
        if item.role not in _ROLES.get(item.type, ()):
            continue
        where = f"input_data[{place}]"
        if item.type == "image":
            parts.append((images or {}).get(place) or _image(item, where))
        elif item.role != "system_context":
            turns.append(_turn(item, where))
    if parts:
        turns = _with_images(turns, parts)
    return (Message.system(system), *turns) if system else tuple(turns)


def _image(item: InputData, where: str) -> ImagePart:
    data = decode_base64(item.data, where)
    return ImagePart(data, sniff_image(data) or item.mime_type or "image/png")


def _turn(item: InputData, where: str) -> Message:
    metadata = item.metadata or {}
    if item.role == "assistant_message":
        return Message.assistant(item.data, _calls(metadata, where), _native(metadata, where))
    if item.role == "tool_result":
        return Message.tool(str(metadata.get("tool_call_id", "")), item.data)
    return Message.user(item.data)


def _calls(metadata: Mapping[str, Any], where: str) -> list[ToolCall]:
    try:
        return msgspec.convert(metadata.get("tool_calls") or [], list[ToolCall])
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{where}.metadata.tool_calls: {error}", param=where) from None


def _native(metadata: Mapping[str, Any], where: str) -> Native | None:
    """The turn in its provider's own form, if the item has it."""
    given = metadata.get("native")
    if given is None:
        return None
    try:
        native = msgspec.convert(given, Native)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{where}.metadata.native: {error}", param=where) from None
    if not 0 < len(native.protocol) <= _LONGEST_PROTOCOL:
        raise InvalidRequest(f"{where}.metadata.native.protocol is no name of a protocol.", param=where)
    if len(encode_json(native.data)) > LARGEST_NATIVE:
        raise InvalidRequest(f"{where}.metadata.native has more than {LARGEST_NATIVE} bytes.", param=where)
    return native


def _with_images(turns: list[Message], images: Sequence[ImagePart]) -> list[Message]:
    for place in range(len(turns) - 1, -1, -1):
        if turns[place].role == "user":
            message = turns[place]
            return [*turns[:place], Message("user", (*message.parts, *images)), *turns[place + 1 :]]
    return [*turns, Message("user", (TextPart(""), *images))]
