"""From a request body to a call: the checks that need no I/O, each naming what is at fault."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lollms_core.errors import InvalidRequest, PayloadTooLarge, UnsupportedFeature
from lollms_core.protocols.lollms_input import HISTORY_ROLES, InputItem, messages_of
from lollms_core.types import GenerationCall, Message, ReceiptItem, Tool
from lollms_server.api.models import GenerateRequest, InputData, ToolSpec
from lollms_server.core.bindings import Binding
from lollms_server.core.parameters import read_parameters

__all__ = ["build_call"]

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
_MAX_SCHEMA_BYTES = 256 * 1024


def build_call(
    request: GenerateRequest, instance: str, binding: Binding, max_item_bytes: int
) -> tuple[GenerationCall, tuple[ReceiptItem, ...]]:
    """The call that a request makes to a binding, and what of it was left out.

    Raises `InvalidRequest` naming the item or parameter, `UnsupportedFeature`, `PayloadTooLarge`.
    """
    wanted = _OUTPUTS[request.generation_type]
    if wanted not in binding.get_supported_output_modalities():
        raise UnsupportedFeature(f"Binding instance {instance!r} does not produce {wanted}.", param="generation_type")
    _check_items(request.input_data, instance, binding, max_item_bytes)
    read = read_parameters(request.parameters)
    messages = _messages(request.input_data, read.system_message)
    receipt = read.receipt
    if request.functions:
        receipt += (ReceiptItem("functions", "dropped", "only personalities with a script use functions"),)
    call = GenerationCall(
        messages=messages,
        model=request.model_name or str(binding.default_model_name or ""),
        params=read.params,
        stream=request.stream,
        tools=tuple(_tool(tool, place) for place, tool in enumerate(request.tools or ())),
        schema=_schema(request.response_schema, "response_schema"),
    )
    return call, receipt


def _check_items(items: Sequence[InputData], instance: str, binding: Binding, max_item_bytes: int) -> None:
    supported = binding.get_supported_input_modalities()
    most = math.ceil(max_item_bytes * 4 / 3)
    for place, item in enumerate(items):
        where = f"input_data[{place}]"
        if len(item.data) > (max_item_bytes if item.type == "text" else most):
            raise PayloadTooLarge(f"{where} is larger than the limit of {max_item_bytes} bytes.", param=where)
        if item.type not in supported:
            raise InvalidRequest(
                f"{where}: binding instance {instance!r} does not take {item.type}; it takes {', '.join(supported)}.",
                param=where,
            )
        if item.type == "text" and item.role in HISTORY_ROLES:
            continue
        if not binding.supports_input_role(item.type, item.role):
            raise InvalidRequest(
                f"{where}: binding instance {instance!r} has no use for {item.type} of role {item.role!r}.", param=where
            )


def _messages(items: Sequence[InputData], system_message: str) -> tuple[Message, ...]:
    messages = messages_of(
        [InputItem(item.type, item.role, item.data, item.mime_type, item.metadata) for item in items]
    )
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise InvalidRequest(
            "There is nothing to answer: give a text item of role user_prompt in input_data.", param="input_data"
        )
    if not system_message:
        return messages
    before = messages[0].text + "\n\n" if len(turns) < len(messages) else ""
    return (Message.system(before + system_message), *turns)


def _tool(spec: ToolSpec, place: int) -> Tool:
    function = spec.function
    parameters = _schema(function.parameters, f"tools[{place}].function.parameters")
    return Tool(function.name, function.description, parameters or {})


def _schema(schema: Mapping[str, Any] | None, where: str) -> Mapping[str, Any] | None:
    """A JSON Schema of a size that no backend chokes on."""
    if schema is None:
        return None
    if len(msgspec.json.encode(schema)) > _MAX_SCHEMA_BYTES:
        raise InvalidRequest(f"{where} is larger than {_MAX_SCHEMA_BYTES // 1024} KiB.", param=where)
    return schema
