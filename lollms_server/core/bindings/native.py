"""Bindings that speak in events themselves: the base of all that come with the server.

Such a binding implements `open`; the documented methods, which personalities and other third-party code call, are
derived from it here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.fold import ReplyFold
from lollms_core.protocols.lollms_input import conversation_roles, decode_base64
from lollms_core.protocols.lollms_wire import OutputItem, reply_output
from lollms_core.text.binary import sniff
from lollms_core.types import (
    Batch,
    Event,
    GenerationCall,
    ImagePart,
    Message,
    ModelInfo,
    Notice,
    Output,
    Progress,
    TextDelta,
    ThoughtDelta,
)
from lollms_server.core.bindings import Binding
from lollms_server.core.parameters import read_parameters

__all__ = ["NativeBinding", "described"]


class NativeBinding(Binding):
    """A binding whose `open` is its own."""

    @abstractmethod
    @override
    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]: ...

    @override
    def get_supported_input_modalities(self) -> list[str]:
        return ["text"]

    @override
    def get_supported_output_modalities(self) -> list[str]:
        return ["text"]

    @override
    def input_roles(self, data_type: str) -> Sequence[str]:
        """The roles of a conversation's items: nothing else reaches the model."""
        return conversation_roles(data_type) if data_type in self.get_supported_input_modalities() else ()

    @override
    def supports_input_role(self, data_type: str, role: str) -> bool:
        return role in self.input_roles(data_type)

    @override
    async def load_model(self, model_name: str) -> bool:
        """The model is part of each call: there is nothing to load before it."""
        return True

    @override
    async def unload_model(self) -> bool:
        return True

    @property
    @override
    def is_model_loaded(self) -> bool:
        return self.model_state == "ready"

    @property
    @override
    def supports_streaming(self) -> bool:
        return True

    @override
    async def generate(
        self,
        prompt: str,
        params: dict[str, Any],
        request_info: dict[str, Any],
        multimodal_data: list[dict[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """The items of one answer. Raises `InvalidRequest` and `UnsupportedFeature` for what cannot be put in."""
        call = await self._documented_call(prompt, params, request_info, multimodal_data, stream=False)
        fold = ReplyFold()
        async with self.open(call) as batches:
            async for batch in batches:
                fold.add(batch)
        return _plain(reply_output(fold.done()))

    @override
    async def generate_stream(
        self,
        prompt: str,
        params: dict[str, Any],
        request_info: dict[str, Any],
        multimodal_data: list[dict[str, Any]] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """The chunks of one answer, the last of type `final` with all its items. Raises as `generate` does."""
        call = await self._documented_call(prompt, params, request_info, multimodal_data, stream=True)
        fold = ReplyFold()
        async with self.open(call) as batches:
            async for batch in batches:
                fold.add(batch)
                for event in batch:
                    for chunk in _chunks(event):
                        yield chunk
        items = _plain(reply_output(fold.done()))
        for item in items:
            if item["metadata"].get("kind") == "tool_call":
                yield _chunk("function_call", item["data"])
        yield _chunk("final", items)

    @override
    async def _documented_call(
        self,
        prompt: str,
        params: Mapping[str, Any],
        request_info: Mapping[str, Any],
        multimodal_data: Sequence[Mapping[str, Any]] | None,
        *,
        stream: bool = False,
    ) -> GenerationCall:
        read = read_parameters(params)
        system = (Message.system(read.system_message),) if read.system_message else ()
        model = str(request_info.get("model_name") or self.default_model_name or "")
        images = [self._image(item, place) for place, item in enumerate(multimodal_data or ())]
        if images and "image" not in await self.get_model_input_modalities(model):
            raise UnsupportedFeature(
                f"Model {model!r} of binding instance {self.binding_instance_name!r} cannot look at images.",
                param="multimodal_data",
            )
        return GenerationCall((*system, Message.user(prompt, images)), model, read.params, stream)

    def _image(self, item: Mapping[str, Any], place: int) -> ImagePart:
        where = f"multimodal_data[{place}]"
        kind, role, data = item.get("type"), item.get("role") or "input_image", item.get("data")
        if kind != "image" or role not in conversation_roles("image"):
            raise UnsupportedFeature(
                f"{where}: binding instance {self.binding_instance_name!r} has no use for {kind} of role {role!r}.",
                param=where,
            )
        if not isinstance(data, str):
            raise InvalidRequest(f"{where}.data must be base64 text.", param=where)
        decoded = decode_base64(data, where)
        shown = sniff(decoded)
        return ImagePart(decoded, shown if shown.startswith("image/") else str(item.get("mime_type") or "image/png"))


def _plain(items: Sequence[OutputItem]) -> list[dict[str, Any]]:
    """Output items as the dictionaries of the documentation."""
    return [{**msgspec.to_builtins(item), "metadata": msgspec.to_builtins(item.metadata or {})} for item in items]


def _chunk(
    kind: str, content: Any, thoughts: str | None = None, metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"type": kind, "content": content, "thoughts": thoughts, "metadata": dict(metadata or {})}


def _chunks(event: Event) -> list[dict[str, Any]]:
    """What is seen of an event before the end."""
    if isinstance(event, TextDelta):
        return [_chunk("chunk", event.text)]
    if isinstance(event, ThoughtDelta):
        return [_chunk("chunk", "", event.text)]
    if isinstance(event, Output) and not event.replaces:
        return [_chunk("chunk", item.data, item.thoughts, item.metadata) for item in event.items if item.kind == "text"]
    if isinstance(event, Progress):
        return [_chunk("info", event.message, None, {"kind": event.kind})]
    if isinstance(event, Notice):
        return [_chunk("info", event.text, None, {"kind": "notice", "level": event.level})]
    return []


_DOCUMENTED: Mapping[str, type] = {
    "size": int,
    "modified_at": str,
    "quantization_level": str,
    "format": str,
    "family": str,
    "families": list,
    "parameter_size": str,
    "template": str,
    "license": str,
    "homepage": str,
}
"""The documented fields that `ModelInfo` keeps in `details`, where a backend has them."""


def described(model: ModelInfo, context_size: int | None = None) -> dict[str, Any]:
    """A model in the documented form; `context_size` stands in where the backend does not say."""
    known = {name: _of_kind(model.details.get(name), kind) for name, kind in _DOCUMENTED.items()}
    return {
        "name": model.name,
        **known,
        "context_size": model.context_size or context_size,
        "max_output_tokens": model.max_output_tokens,
        "supports_vision": model.supports_vision,
        "supports_audio": model.supports_audio,
        "details": {name: value for name, value in model.details.items() if known.get(name) is None},
    }


def _of_kind(value: Any, kind: type) -> Any:
    if kind is list:
        return value if isinstance(value, list) and all(isinstance(each, str) for each in value) else None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
