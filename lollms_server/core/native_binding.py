"""Bindings that speak in events themselves: the base of all that come with the server.

Such a binding implements `open`; the documented methods, which personalities and other third-party code call, are
derived from it here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.types import Batch, GenerationCall, Message, ModelInfo, Reply, ReplyFold, TextDelta, ThoughtDelta
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
        fold = ReplyFold()
        async with self.open(self._call(prompt, params, request_info, stream=False)) as batches:
            async for batch in batches:
                fold.add(batch)
        return [_item(fold.done())]

    @override
    async def generate_stream(
        self,
        prompt: str,
        params: dict[str, Any],
        request_info: dict[str, Any],
        multimodal_data: list[dict[str, Any]] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        fold = ReplyFold()
        async with self.open(self._call(prompt, params, request_info, stream=True)) as batches:
            async for batch in batches:
                fold.add(batch)
                for event in batch:
                    if isinstance(event, TextDelta):
                        yield {"type": "chunk", "content": event.text, "thoughts": None, "metadata": {}}
                    elif isinstance(event, ThoughtDelta):
                        yield {"type": "chunk", "content": "", "thoughts": event.text, "metadata": {}}
        yield {"type": "final", "content": [_item(fold.done())], "thoughts": None, "metadata": {}}

    def _call(
        self, prompt: str, params: dict[str, Any], request_info: dict[str, Any], *, stream: bool
    ) -> GenerationCall:
        read = read_parameters(params)
        system = (Message.system(read.system_message),) if read.system_message else ()
        model = str(request_info.get("model_name") or self.default_model_name or "")
        return GenerationCall((*system, Message.user(prompt)), model, read.params, stream)


def _item(reply: Reply) -> dict[str, Any]:
    metadata = {
        "model_used": reply.model,
        "finish_reason": reply.finish_reason,
        "usage": msgspec.to_builtins(reply.usage),
    }
    return {
        "type": "text",
        "data": reply.text,
        "mime_type": None,
        "thoughts": reply.thoughts or None,
        "metadata": metadata,
    }


def described(model: ModelInfo, context_size: int | None = None) -> dict[str, Any]:
    """A model in the documented form; `context_size` stands in where the backend does not say."""
    return {
        "name": model.name,
        "context_size": model.context_size or context_size,
        "max_output_tokens": model.max_output_tokens,
        "supports_vision": model.supports_vision,
        "supports_audio": model.supports_audio,
        "details": dict(model.details),
    }
