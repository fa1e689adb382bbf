"""From a request body to the call of a binding: the checks, each naming what is at fault."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols.lollms_input import HISTORY_ROLES, InputData, messages_of
from lollms_core.types import GenerationCall, ImagePart, Message, Params, ReceiptItem, Tool
from lollms_server.core.asked import Asked, AskedTool
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.adapter import translated
from lollms_server.core.inputs import CheckedInput, Takes, check_items
from lollms_server.core.parameters import read_parameters

__all__ = ["BuiltCall", "Manner", "build_call"]


_OUTPUTS = {
    "ttt": "text",
    "stt": "text",
    "tti": "image",
    "i2i": "image",
    "tts": "audio",
    "ttm": "audio",
    "audio2audio": "audio",
    "ttv": "video",
}
_LARGE = 256 * 1024  # characters of input whose check would hold up the event loop
_MAX_SCHEMA_BYTES = 256 * 1024
_MAX_SCHEMA_PARTS = 4000  # a backend that makes a grammar of a schema may work on each entry for milliseconds
_MAX_PATTERN = 1000


class Manner(Protocol):
    """What a personality adds to a call: its instructions, and parameters for those that nobody set."""

    @property
    def conditioning(self) -> str: ...
    def params(self) -> Params: ...


class BuiltCall(NamedTuple):
    """A call, what of the request was left out of it, and the items of input after their checks."""

    call: GenerationCall
    receipt: tuple[ReceiptItem, ...]
    items: Sequence[InputData]


async def build_call(
    request: Asked, instance: str, binding: Binding, max_item_bytes: int, manner: Manner | None = None
) -> BuiltCall:
    """The call that a request makes to a binding.

    A binding is asked for what its model takes only when there is more than text. Raises `InvalidRequest` naming the
    item or parameter, `UnsupportedFeature`, `PayloadTooLarge`.
    """
    model = request.model_name or str(binding.default_model_name or "")
    items: Sequence[InputData] = request.input_data
    wanted = _OUTPUTS[request.generation_type]
    with translated(binding):
        if wanted not in binding.get_supported_output_modalities():
            raise UnsupportedFeature(
                f"Binding instance {instance!r} does not produce {wanted}.", param="generation_type"
            )
        inputs: Sequence[str] = binding.get_supported_input_modalities()
        images: Mapping[int, ImagePart] | None = None
        if not _is_plain(items, inputs, max_item_bytes):
            items, images = await _checked(items, instance, binding, model, max_item_bytes)
    read = read_parameters(request.parameters)
    params, system = read.params, read.system_message
    if manner is not None:
        params, system = params.over(manner.params()), system or manner.conditioning
    call = GenerationCall(
        messages=_messages(items, images, system),
        model=model,
        params=params,
        stream=request.stream,
        tools=tuple(_tool(tool, place) for place, tool in enumerate(request.tools or ())),
        schema=_schema(request.response_schema, "response_schema"),
    )
    return BuiltCall(call, read.receipt, items)


def _is_plain(items: Sequence[InputData], inputs: Sequence[str], max_item_bytes: int) -> bool:
    """Whether the input is a conversation in text and nothing else, as nearly all are; it needs no further check."""
    for item in items:
        if item.type != "text" or item.role not in HISTORY_ROLES or item.mime_type is not None:
            return False
        if len(item.data) > max_item_bytes:
            return False
    return "text" in inputs


async def _checked(
    items: Sequence[InputData], instance: str, binding: Binding, model: str, max_item_bytes: int
) -> CheckedInput:
    takes = Takes(
        instance,
        await binding.get_model_input_modalities(model),
        binding.input_roles,
        binding.supports_input_role,
    )
    if sum(len(item.data) for item in items) < _LARGE:
        return check_items(items, takes, max_item_bytes)
    return await asyncio.to_thread(check_items, items, takes, max_item_bytes)


def _messages(
    items: Sequence[InputData], images: Mapping[int, ImagePart] | None, system_message: str
) -> tuple[Message, ...]:
    messages = messages_of(items, images)
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise InvalidRequest(
            "There is nothing to answer: give a text item of role user_prompt in input_data.", param="input_data"
        )
    if not system_message:
        return messages
    before = messages[0].text + "\n\n" if len(turns) < len(messages) else ""
    return (Message.system(before + system_message), *turns)


def _tool(spec: AskedTool, place: int) -> Tool:
    function = spec.function
    parameters = _schema(function.parameters, f"tools[{place}].function.parameters")
    return Tool(function.name, function.description, parameters or {})


def _schema(schema: Mapping[str, Any] | None, where: str) -> Mapping[str, Any] | None:
    """A JSON Schema of a size that no backend chokes on."""
    if schema is None:
        return None
    if len(msgspec.json.encode(schema)) > _MAX_SCHEMA_BYTES:
        raise InvalidRequest(f"{where} is larger than {_MAX_SCHEMA_BYTES // 1024} KiB.", param=where)
    if _parts(schema) > _MAX_SCHEMA_PARTS:
        raise InvalidRequest(
            f"{where} is too large: more than {_MAX_SCHEMA_PARTS} entries, or a pattern of more than "
            f"{_MAX_PATTERN} characters.",
            param=where,
        )
    return schema


def _parts(schema: Any) -> int:
    """How many entries a schema has, with all that it contains; too many at once where a pattern is too long."""
    count, todo = 0, [schema]
    while todo and count <= _MAX_SCHEMA_PARTS:
        part = todo.pop()
        if isinstance(part, Mapping):
            pattern = part.get("pattern")
            if isinstance(pattern, str) and len(pattern) > _MAX_PATTERN:
                return _MAX_SCHEMA_PARTS + 1
            count += len(part)
            todo += part.values()
        elif isinstance(part, list):
            count += len(part)
            todo += part
    return count
