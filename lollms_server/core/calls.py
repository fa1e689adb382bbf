"""From a request body to a piece of work: the checks that need no I/O, each naming what is at fault.

Bodies come from two readers, the documented models and the struct of the quick route; what is needed of them is said in
protocols, so that both are treated by the same code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from lollms_core.errors import InvalidRequest, NotFound, PayloadTooLarge, UnsupportedFeature
from lollms_core.protocols.lollms_input import HISTORY_ROLES, InputItem, messages_of
from lollms_core.types import GenerationCall, Message, ReceiptItem, Tool
from lollms_runtime.observe import LogObserver
from lollms_server.core.bindings import Binding
from lollms_server.core.parameters import read_parameters
from lollms_server.core.requests import LOG, RequestContext
from lollms_server.core.services import Services
from lollms_server.core.work import Work, resources_of

__all__ = ["Asked", "AskedItem", "build_call", "prepare"]


class AskedItem(Protocol):
    """One item of input as it was sent."""

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


class AskedFunction(Protocol):
    """A function that the model may ask for."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


class AskedTool(Protocol):
    """A tool that is offered."""

    @property
    def function(self) -> AskedFunction: ...


class Asked(Protocol):
    """The body of a generate request."""

    @property
    def input_data(self) -> Sequence[AskedItem]: ...
    @property
    def personality(self) -> str | None: ...
    @property
    def binding_name(self) -> str | None: ...
    @property
    def model_name(self) -> str | None: ...
    @property
    def generation_type(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def functions(self) -> Sequence[str] | None: ...
    @property
    def tools(self) -> Sequence[AskedTool] | None: ...
    @property
    def response_schema(self) -> Mapping[str, Any] | None: ...


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
_MAX_SCHEMA_PARTS = 4000  # a backend that makes a grammar of a schema may work on each entry for milliseconds
_MAX_PATTERN = 1000


async def prepare(asked: Asked, state: Mapping[str, Any], house: Services) -> Work:
    """The work that a request asks for; `state` is what the guard knows of the request.

    Raises as `build_call` does, `NotFound` for an unknown personality or instance, and `InstanceUnavailable`.
    """
    if asked.personality is not None:
        raise NotFound(
            f"Personality {asked.personality!r} not found: this version serves no personalities yet.",
            param="personality",
        )
    instance, binding = await house.manager.for_request(asked.binding_name, asked.generation_type)
    call, receipt = build_call(asked, instance, binding, house.loaded.config.limits.max_item_bytes)
    request_id = str(state["request_id"])
    context = RequestContext(
        request_id,
        key=str(state.get("key_id", "-")),
        observer=LogObserver(LOG),
        instance=instance,
        model=call.model,
        stream=call.stream,
        generation_type=asked.generation_type,
    )
    resources = resources_of(instance, binding, call.model)
    return Work(call, binding, context, resources, house.registry, house.scheduler, receipt)


def build_call(
    request: Asked, instance: str, binding: Binding, max_item_bytes: int
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


def _check_items(items: Sequence[AskedItem], instance: str, binding: Binding, max_item_bytes: int) -> None:
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


def _messages(items: Sequence[AskedItem], system_message: str) -> tuple[Message, ...]:
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
