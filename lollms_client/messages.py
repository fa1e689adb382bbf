"""Messages as callers give them: a prompt, `Message` values, or the dictionaries of the chat-completions format.

Images in messages are also read as Anthropic, Ollama and OpenAI's newer protocol write them. They are data in any case:
a message may have come from a model or from strangers, so no text in it opens a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from lollms_client.images import ImageSource, image_of_text, image_part, image_parts
from lollms_core.errors import InvalidRequest
from lollms_core.types import ImagePart, Message, Native, Part, Role, TextPart, Tool, ToolCall

__all__ = ["AnyMessage", "AnyTool", "exported", "messages_of", "tools_of"]

AnyMessage: TypeAlias = Message | Mapping[str, Any]
AnyTool: TypeAlias = Tool | Mapping[str, Any]

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def messages_of(
    prompt: str | Sequence[AnyMessage],
    system: str | None = None,
    images: Iterable[ImageSource] | ImageSource | None = None,
) -> tuple[Message, ...]:
    """A prompt or messages as `Message` values; `system` goes first, `images` join the last message of the user.

    Raises `InvalidRequest` for messages that have no known role or content, or when images have no message to join.
    """
    if isinstance(prompt, str):
        messages = [Message.user(prompt)]
    elif isinstance(prompt, (list, tuple)):
        messages = [_message(each, index) for index, each in enumerate(prompt)]
    else:
        raise InvalidRequest(f"The prompt is a text or a list of messages, not {type(prompt).__name__}.")
    if parts := image_parts(images):
        messages = _with_images(messages, parts)
    if system:
        messages.insert(0, Message.system(system))
    if not messages:
        raise InvalidRequest("There is no message to answer. Give a prompt or at least one message.")
    return tuple(messages)


def exported(discussion: Any, branch_tip_id: str | None = None) -> Sequence[AnyMessage]:
    """The messages of a discussion, up to `branch_tip_id` if given. Raises `InvalidRequest` for what is none."""
    export = getattr(discussion, "export", None)
    if not callable(export):
        raise InvalidRequest(
            f"A {type(discussion).__name__} is no discussion: it has no export('openai_chat', branch_tip_id). For a "
            "list of messages there is generate_from_messages.",
            param="discussion",
        )
    messages: Sequence[AnyMessage] = export("openai_chat", branch_tip_id)
    return messages


def tools_of(tools: Sequence[AnyTool] | None) -> tuple[Tool, ...]:
    """Tools as `Tool` values; also from `{type: "function", function: {...}}` and `{name, description, parameters}`.

    Raises `InvalidRequest` for a tool without a name.
    """
    return tuple(each if isinstance(each, Tool) else _tool(each) for each in tools or ())


def _with_images(messages: list[Message], images: tuple[ImagePart, ...]) -> list[Message]:
    for index in range(len(messages) - 1, -1, -1):
        found = messages[index]
        if found.role == "user":
            joined = Message("user", (*found.parts, *images))
            return [*messages[:index], joined, *messages[index + 1 :]]
    raise InvalidRequest("The images need a message of role user to stand in.", param="images")


def _message(given: AnyMessage, index: int) -> Message:
    if isinstance(given, Message):
        return given
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"Message {index} is a {type(given).__name__}; it must be a Message or a dictionary.")
    role = _ROLES.get(str(given.get("role")))
    if role is None:
        raise InvalidRequest(f"Message {index} has the role {given.get('role')!r}; known are {', '.join(_ROLES)}.")
    calls = tuple(_tool_call(each, index) for each in given.get("tool_calls") or ())
    call_id = given.get("tool_call_id")
    parts = (*_parts(given.get("content"), index), *_own_images(given.get("images"), index))
    native = _native(given.get("native"), index) if role == "assistant" else None
    return Message(role, parts, calls, str(call_id) if call_id is not None else None, native)


def _native(given: object, index: int) -> Native | None:
    """The turn in its provider's own form, as `Reply.native` had it."""
    match given:
        case None | Native():
            return given
        case {"protocol": str(protocol), "data": data}:
            return Native(protocol, data)
    raise InvalidRequest(f"The native of message {index} is no object with a protocol and data.")


def _parts(content: object, index: int) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),) if content else ()
    if isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray, memoryview)):
        return tuple(_part(each, f"messages[{index}].content[{place}]") for place, each in enumerate(content))
    raise InvalidRequest(f"The content of message {index} is a {type(content).__name__}; it must be text or a list.")


def _own_images(images: object, index: int) -> tuple[Part, ...]:
    """The images that Ollama has beside the content: Base64, each one."""
    if images is None:
        return ()
    if not isinstance(images, (list, tuple)):
        raise InvalidRequest(f"The images of message {index} are a {type(images).__name__}; they must be a list.")
    return tuple(_image(each, f"messages[{index}].images[{place}]") for place, each in enumerate(images))


def _part(item: object, where: str) -> Part:
    if isinstance(item, (TextPart, ImagePart)):
        return item
    if isinstance(item, str):
        return TextPart(item)
    if isinstance(item, Mapping):
        if isinstance(text := item.get("text"), str):
            return TextPart(text)
        if (source := _image_source(item)) is not None:
            return _image(source, where)
    raise InvalidRequest(
        f"{where} cannot be used. A part is {{'type': 'text', 'text': ...}} or "
        "{'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,...'}}."
    )


def _image_source(item: Mapping[str, Any]) -> object:
    """Where the image of a part is, in any of the forms that are in use; None where it is none of them."""
    match item:
        case {"type": "image_url" | "input_image", "image_url": {"url": source}}:
            return source
        case {"type": "image_url" | "input_image", "image_url": source}:
            return source
        case {"type": "image", "source": {"type": "base64", "data": source}}:
            return source
        case {"type": "image", "source": {"type": "url", "url": source}}:
            return source
        case {"type": "image", "data": source}:
            return source
    return None


def _image(source: object, where: str) -> ImagePart:
    """An image within a message. Text is data here and nothing else, whatever it looks like."""
    if isinstance(source, str):
        return image_of_text(source, where)
    if isinstance(source, (bytes, bytearray, memoryview, ImagePart)):
        return image_part(source, where)
    raise InvalidRequest(
        f"{where} is a {type(source).__name__}; the image of a message is Base64, a data URL or bytes.", param="images"
    )


def _tool_call(given: object, index: int) -> ToolCall:
    if isinstance(given, ToolCall):
        return given
    function = given.get("function", given) if isinstance(given, Mapping) else None
    if isinstance(given, Mapping) and isinstance(function, Mapping):
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except (ValueError, RecursionError):
                arguments = None
        if isinstance(arguments, Mapping) and function.get("name"):
            return ToolCall(str(given.get("id") or ""), str(function["name"]), dict(arguments))
    raise InvalidRequest(f"Message {index} has a tool call without a name or without an object of arguments.")


def _tool(given: AnyTool) -> Tool:
    function = given.get("function", given) if isinstance(given, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise InvalidRequest("A tool is a Tool or a dictionary with name, description and parameters.", param="tools")
    schema = function.get("parameters") or function.get("input_schema") or {}
    if not isinstance(schema, Mapping):
        raise InvalidRequest(f"The parameters of tool {function['name']!r} must be a JSON Schema.", param="tools")
    return Tool(function["name"], str(function.get("description") or ""), schema)
