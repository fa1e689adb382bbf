"""A conversation as the Gemini API wants it: `contents` of the roles user and model, and `systemInstruction`.

Neighbours of the model become one turn, and calls of tools stand behind a turn of the user, without which they are
refused. Results of tools are parts of a turn of the user, those of one round together, and name their tool; images
of a result stand inside of it, which newer models take. Texts must not be empty, so empty ones are left out. A turn of
the model that is kept in its own form goes back as that.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols.gemini_errors import SYSTEM
from lollms_core.protocols.gemini_reader import PROTOCOL
from lollms_core.types import ImagePart, Message, Part, ReceiptItem

__all__ = ["UNSIGNED", "conversation"]

UNSIGNED = "skip_thought_signature_validator"
"""What stands for a signature where a call of a tool was made by another model, or edited:
https://ai.google.dev/gemini-api/docs/thought-signatures"""


_OWN_FIELDS = frozenset({"text", "thought", "thoughtSignature", "functionCall", "inlineData", "partMetadata"})
"""What the parts have that a model writes which is offered nothing but functions."""

_OPENING = "…"


def conversation(
    messages: Sequence[Message], *, apart: bool = True, sign: bool = False
) -> tuple[dict[str, Any], list[ReceiptItem]]:
    """The fields of the body that hold the messages, and what was not done as asked.

    Without `apart` the system prompt goes into the user's first turn, for models that have no place for it. With `sign`
    calls of tools without a signature get one that stands for none. Raises `InvalidRequest` where nothing is said,
    `UnsupportedFeature` for images in messages of the system.
    """
    receipt: list[ReceiptItem] = []
    told = [message for message in messages if message.role == "system"]
    for message in messages:
        if message.images and message.role == "system":
            raise UnsupportedFeature("gemini takes no images in the system's messages.")
    contents = _contents([message for message in messages if message.role != "system"])
    if any(message.role == "system" for message in messages[len(told) :]):
        receipt.append(ReceiptItem("messages", "rewritten", "gemini has one system prompt, at the head of all"))
    if contents and contents[0]["role"] == "model" and any(_is_call(part) for part in contents[0]["parts"]):
        contents.insert(0, {"role": "user", "parts": [{"text": _OPENING}]})
        reason = "gemini wants the user to speak before tools are called; a turn without words stands there"
        receipt.append(ReceiptItem("messages", "rewritten", reason))
    body: dict[str, Any] = {"contents": contents}
    if system := "\n\n".join(text for message in told if (text := message.text)):
        if apart and contents:
            body[SYSTEM] = {"parts": [{"text": system}]}
        else:
            _fold_in(contents, system)
            if not apart:
                receipt.append(ReceiptItem("system", "rewritten", "the model knows none; the first turn holds it"))
    if not contents:
        raise InvalidRequest("There is no message to answer: write something for the user.", param="messages")
    if sign and _sign(contents):
        receipt.append(ReceiptItem("tool_calls", "rewritten", "calls that the model did not sign are marked as such"))
    return body, receipt


def _fold_in(contents: list[dict[str, Any]], system: str) -> None:
    """Put the system prompt in front of what the user says first."""
    first = next((content for content in contents if content["role"] == "user"), None)
    if first is None or "functionResponse" in first["parts"][0]:
        contents.insert(0, {"role": "user", "parts": [{"text": system}]})
    else:
        first["parts"] = [{"text": f"{system}\n\n"}, *first["parts"]]


def _sign(contents: list[dict[str, Any]]) -> bool:
    """Give the first call of each turn a signature where none has one; whether there was such a turn."""
    found = False
    for content in contents:
        calls = [at for at, part in enumerate(content["parts"]) if "functionCall" in part]
        if calls and not any("thoughtSignature" in content["parts"][at] for at in calls):
            parts = list(content["parts"])
            parts[calls[0]] = {**parts[calls[0]], "thoughtSignature": UNSIGNED}
            content["parts"] = parts
            found = True
    return found


def _contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    called: dict[str, tuple[str, bool]] = {}  # ids of calls to names of tools, and whether the provider knows the id
    contents: list[dict[str, Any]] = []
    answering = False  # the last content holds results of tools
    for message in messages:
        if message.role == "tool":
            name, known = called.get(message.tool_call_id or "", ("unknown", False))
            response: dict[str, Any] = {"name": name, "response": {"output": message.text}}
            if known:
                response["id"] = message.tool_call_id
            if message.images:
                response["parts"] = [_part(image) for image in message.images]
            if not answering:
                contents.append({"role": "user", "parts": []})
            contents[-1]["parts"].append({"functionResponse": response})
            answering = True
            continue
        if message.role == "assistant":
            parts = _returned(message)
            native = [part["functionCall"].get("id") for part in parts or () if _is_call(part)]
            called.update((call.id, (call.name, parts is None or call.id in native)) for call in message.tool_calls)
            parts = _said(message) if parts is None else parts
        else:
            parts = _parts(message)
        if parts and message.role == "assistant" and contents and contents[-1]["role"] == "model":
            contents[-1]["parts"].extend(parts)
        elif parts:
            contents.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
            answering = False
    return contents


def _is_call(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("functionCall"), Mapping)


def _returned(message: Message) -> list[dict[str, Any]] | None:
    """The parts that the provider sent, where they were kept; None for a message of another provider.

    They may have been through the hands of a caller, who must not reach files or anything else of the account by them.
    """
    native = message.native
    if native is None or native.protocol != PROTOCOL or not isinstance(native.data, list | tuple) or not native.data:
        return None
    good = all(isinstance(part, dict) and _OWN_FIELDS.issuperset(part) for part in native.data)
    return list(native.data) if good else None


def _said(message: Message) -> list[dict[str, Any]]:
    calls = message.tool_calls
    return _parts(message) + [
        {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}} for call in calls
    ]


def _parts(message: Message) -> list[dict[str, Any]]:
    return [_part(part) for part in message.parts if isinstance(part, ImagePart) or part.text]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        return {"inlineData": {"mimeType": part.mime, "data": base64.b64encode(part.data).decode("ascii")}}
    return {"text": part.text}
