"""Bindings to an engine of this machine: one model, in a child process that the engine watches over."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from lollms_core.errors import LollmsError, UnknownModel
from lollms_core.types import Batch, Embeddings, GenerationCall, ModelInfo
from lollms_server.core.bindings import ModelState, Surroundings
from lollms_server.core.bindings.native import NativeBinding, described

if TYPE_CHECKING:
    from lollms_server.core.resource_manager import ResourceManager

__all__ = ["Engine", "EngineBinding"]


class Engine(Protocol):
    """What a binding needs of an engine. `start` returns at once and loading goes on; `stop` may take a moment."""

    @property
    def state(self) -> str: ...

    @property
    def error(self) -> LollmsError | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def aopen(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]: ...

    async def atokenize(self, text: str, *, markers: bool = False) -> list[int]: ...

    async def adetokenize(self, tokens: Sequence[int]) -> str: ...

    async def aembed(self, texts: Sequence[str]) -> Embeddings: ...

    async def amodel_info(self) -> ModelInfo: ...


class EngineBinding(NativeBinding):
    """One engine with one model. A subclass says in `make_engine` how to run it."""

    def __init__(self, config: dict[str, Any], resource_manager: ResourceManager) -> None:
        super().__init__(config, resource_manager)
        self._engine: Engine | None = None
        self._names: frozenset[str] = frozenset()

    @abstractmethod
    def make_engine(self, surroundings: Surroundings) -> tuple[Engine, str]:
        """The engine for this instance's settings, not started, and the name its model answers under."""

    @override
    def attach(self, surroundings: Surroundings) -> None:
        self._engine, name = self.make_engine(surroundings)
        self._names = frozenset({"", name, str(self.default_model_name or "")})
        self.model_name = name

    @property
    def engine(self) -> Engine:
        """The engine."""
        if self._engine is None:
            raise RuntimeError("the binding was used before it was attached")
        return self._engine

    @property
    @override
    def capacity(self) -> int | None:
        return int(self.config.get("n_parallel") or 1)

    @override
    def get_resource_requirements(self, model_name: str | None = None) -> dict[str, Any]:
        return {"gpu_required": bool(self.config.get("n_gpu_layers")), "estimated_vram_mb": 0}

    @override
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"] if self.config.get("clip_model_path") else ["text"]

    @override
    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        self._check_model(call.model)
        return self.engine.aopen(call)

    @property
    @override
    def model_state(self) -> ModelState:
        state = self.engine.state
        if state == "failed":
            return "failed"
        return "ready" if state == "ready" else "loading"

    @override
    async def start(self) -> None:
        self.engine.start()

    @override
    async def stop(self) -> None:
        if self._engine is not None:
            await asyncio.to_thread(self._engine.stop)

    @override
    async def load_model(self, model_name: str) -> bool:
        return model_name in self._names

    @override
    async def health_check(self) -> tuple[bool, str]:
        error = self.engine.error
        return error is None, error.message if error is not None else f"The model is {self.model_state}."

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        if self.model_state == "ready":
            return [await self.get_model_info()]
        return [{"name": self.model_name}]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        self._check_model(model_name or "")
        model = await self.engine.amodel_info()
        return {
            **described(model),
            "model_name": model.name,
            "model_type": "vlm" if model.supports_vision else "ttt",
            "supports_streaming": True,
        }

    @override
    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        self._check_model(model_name or "")
        tokens = await self.engine.atokenize(text)
        if add_bos:
            tokens = [*await self._marker("bos_token"), *tokens]
        return [*tokens, *await self._marker("eos_token")] if add_eos else tokens

    async def _marker(self, name: str) -> list[int]:
        """The token that begins or ends a text; none for a model that has no such token."""
        text = (await self.engine.amodel_info()).details.get(name)
        return await self.engine.atokenize(str(text), markers=True) if text else []

    @override
    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        self._check_model(model_name or "")
        return await self.engine.adetokenize(tokens)

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        self._check_model(model_name or "")
        return await self.engine.aembed(texts)

    def _check_model(self, name: str) -> None:
        if name not in self._names:
            raise UnknownModel(
                f"Binding instance {self.binding_instance_name!r} runs the model {self.model_name!r} only; it has no "
                f"{name[:200]!r}.",
                param="model_name",
            )
