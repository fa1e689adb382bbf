"""Documented bindings for tests: the least that is required, and how to ask one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from lollms_core.fold import ReplyFold
from lollms_core.types import Batch, GenerationCall, Message, Reply
from lollms_server.core.bindings import Binding
from lollms_server.core.resource_manager import ResourceManager

CALL = GenerationCall((Message.user("hello"),), model="m")
STREAM = GenerationCall((Message.user("hello"),), model="m", stream=True)


class Documented(Binding):
    """Implements what is documented as required, and nothing else."""

    binding_type_name = "documented"

    def __init__(self, config: dict[str, Any], resource_manager: ResourceManager) -> None:
        super().__init__(config, resource_manager)
        self.loads: list[str] = []
        self.asked: list[dict[str, Any]] = []

    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": "m"}]

    def get_supported_input_modalities(self) -> list[str]:
        return ["text"]

    def get_supported_output_modalities(self) -> list[str]:
        return ["text"]

    async def load_model(self, model_name: str) -> bool:
        self.loads.append(model_name)
        self._model_loaded = model_name != "missing"
        return self._model_loaded

    async def unload_model(self) -> bool:
        return True

    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": model_name}

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
        self.asked.append({"prompt": prompt, "params": params, "info": request_info, "media": multimodal_data})
        return self.config["answer"]


class Streaming(Documented):
    """Streams the `chunks` of its settings; an exception among them is raised."""

    async def generate_stream(
        self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None
    ) -> AsyncIterator[Any]:
        for chunk in self.config["chunks"]:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk


def make(kind: type[Documented] = Documented, **config: Any) -> Documented:
    """An instance with these settings."""
    return kind({"binding_instance_name": "mine", **config}, ResourceManager())


async def ask(binding: Binding, call: GenerationCall = CALL) -> tuple[Reply, list[Batch]]:
    """The folded reply of one call, and its batches."""
    fold, batches = ReplyFold(), []
    async with binding.open(call) as stream:
        async for batch in stream:
            batches.append(batch)
            fold.add(batch)
    return fold.done(), batches


def reply(binding: Binding, call: GenerationCall = CALL) -> Reply:
    """The same without a loop of one's own, and without the batches."""
    return asyncio.run(ask(binding, call))[0]
