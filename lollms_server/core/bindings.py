"""The base class of all bindings.

A binding written by anybody needs only what is documented: it subclasses `Binding`, implements the abstract methods and
answers `generate` with a text, a dictionary or a list of dictionaries. The server itself talks to every binding through
one method, `open(call)`, whose default here calls the documented ones and turns what they return into events. Bindings
that come with the server override `open` instead (see `native_binding.py`).

The model is part of the call and never something the binding remembers for the next one: `open` makes sure that a
documented binding, which loads one model at a time, is not switched to another model while a request runs.
"""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lollms_core.errors import UnsupportedFeature
from lollms_core.types import Batch, GenerationCall
from lollms_server.core.adapter import Adapter, output_items

if TYPE_CHECKING:
    from lollms_runtime.transport.base import AsyncTransport
    from lollms_server.core.resource_manager import ResourceManager

__all__ = ["Binding", "ModelState", "Surroundings"]

ModelState = Literal["loading", "ready", "failed"]


class Surroundings:
    """What the server shares with its bindings: the folder of model files, and one HTTP transport for all."""

    def __init__(self, models_folder: Path, transport: AsyncTransport | None = None) -> None:
        self.models_folder = models_folder
        self._transport = transport

    def transport(self) -> AsyncTransport:
        """The transport, made when the first binding wants it."""
        if self._transport is None:
            from lollms_runtime.transport.aiohttp_async import AiohttpTransport

            self._transport = AiohttpTransport()
        return self._transport

    async def close(self) -> None:
        """Close what was made."""
        if self._transport is not None:
            await self._transport.close()


class Binding(ABC):
    """One configured instance of a binding type. Documented; subclass it to add a backend.

    `binding_type_name` must be the `type_name` of the card beside the class. `config` holds the instance's settings,
    `resource_manager` hands out the graphics card.
    """

    binding_type_name: ClassVar[str] = ""

    # Class attributes, so that a subclass that forgets to call `super().__init__` still works.
    config: dict[str, Any]
    resource_manager: ResourceManager | None = None
    binding_instance_name: str = ""
    default_model_name: str | None = None
    model_name: str | None = None
    _model_loaded: bool = False
    _adapter: Adapter | None = None

    def __init__(self, config: dict[str, Any], resource_manager: ResourceManager) -> None:
        self.config = config
        self.resource_manager = resource_manager
        self.binding_instance_name = str(config.get("binding_instance_name") or "")
        self.default_model_name = config.get("default_model")
        self.model_name = None
        self._model_loaded = False
        self._load_lock = asyncio.Lock()

    # ---- documented, to be implemented

    @abstractmethod
    async def list_available_models(self) -> list[dict[str, Any]]:
        """The models this instance can use; each a dictionary with at least `name`."""

    @abstractmethod
    def get_supported_input_modalities(self) -> list[str]:
        """What may be put in: `text`, `image`, `audio`, `video`, `document`."""

    @abstractmethod
    def get_supported_output_modalities(self) -> list[str]:
        """What can come out: `text`, `image`, `audio`, `video`."""

    @abstractmethod
    async def load_model(self, model_name: str) -> bool:
        """Make a model ready; False when that is impossible."""

    @abstractmethod
    async def unload_model(self) -> bool:
        """Let go of the loaded model."""

    @abstractmethod
    async def generate(
        self,
        prompt: str,
        params: dict[str, Any],
        request_info: dict[str, Any],
        multimodal_data: list[dict[str, Any]] | None = None,
    ) -> str | dict[str, Any] | list[dict[str, Any]]:
        """Answer once: a text, a dictionary (`text`, `image_base64`, ... or `type` and `data`), or a list of them."""

    @abstractmethod
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        """What is known of a model: `name`, `context_size`, `max_output_tokens`, `supports_vision`, `details` ..."""

    # ---- documented, optional

    @property
    def is_model_loaded(self) -> bool:
        """Whether a model is ready."""
        return self._model_loaded

    @property
    def supports_streaming(self) -> bool:
        """Whether the class has its own `generate_stream`."""
        return type(self).generate_stream is not Binding.generate_stream

    async def generate_stream(
        self,
        prompt: str,
        params: dict[str, Any],
        request_info: dict[str, Any],
        multimodal_data: list[dict[str, Any]] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Answer in chunks: dictionaries with `type`, `content`, `thoughts`, `metadata`, the last one of type `final`.

        The default sends the finished answer as one chunk per item.
        """
        items = output_items(await self.generate(prompt, params, request_info, multimodal_data))
        for item in items:
            if item["type"] == "text":
                yield {"type": "chunk", "content": item["data"], "thoughts": item.get("thoughts"), "metadata": {}}
        yield {"type": "final", "content": items, "thoughts": None, "metadata": {}}

    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        """The tokens of a text. Raises `UnsupportedFeature`, a NotImplementedError, unless overridden."""
        raise UnsupportedFeature(f"Binding instance {self.binding_instance_name!r} cannot tokenize.")

    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        """The text of tokens. Raises `UnsupportedFeature`, a NotImplementedError, unless overridden."""
        raise UnsupportedFeature(f"Binding instance {self.binding_instance_name!r} cannot detokenize.")

    async def count_tokens(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> int:
        """How many tokens a text has."""
        return len(await self.tokenize(text, add_bos=add_bos, add_eos=add_eos, model_name=model_name))

    def supports_input_role(self, data_type: str, role: str) -> bool:
        """Whether an input item of this type may have this role."""
        return data_type in self.get_supported_input_modalities()

    def get_instance_config(self) -> dict[str, Any]:
        """The settings of this instance, secrets included."""
        return dict(self.config)

    async def health_check(self) -> tuple[bool, str]:
        """Whether the backend can be used, and a sentence."""
        return True, "No check is made."

    def get_resource_requirements(self, model_name: str | None = None) -> dict[str, Any]:
        """`gpu_required`: each request holds the graphics card while it runs; `estimated_vram_mb`."""
        return {"gpu_required": False, "estimated_vram_mb": 0}

    @classmethod
    def get_binding_package_path(cls) -> Path:
        """The folder that the class lies in."""
        return Path(inspect.getfile(cls)).resolve().parent

    @classmethod
    def get_binding_card(cls) -> dict[str, Any]:
        """The card beside the class. Raises `ConfigError`."""
        from lollms_runtime.yaml_file import load_yaml
        from lollms_server.core.instances import CARD_NAME

        return dict(load_yaml(cls.get_binding_package_path() / CARD_NAME).values)

    @classmethod
    def get_config_schema(cls) -> dict[str, Any]:
        """The `instance_schema` of the card."""
        return dict(cls.get_binding_card().get("instance_schema") or {})

    # ---- what the server calls

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the model; leaving the block ends the work. The default uses the documented methods."""
        if self._adapter is None:
            self._adapter = Adapter(self)
        return self._adapter.open(call)

    @property
    def model_state(self) -> ModelState:
        """How far the model of this instance is, for `/health`."""
        return "ready"

    @property
    def capacity(self) -> int | None:
        """How many requests this instance can run at once; None for any number."""
        return None

    def attach(self, surroundings: Surroundings) -> None:  # noqa: B027  optional
        """Called once, before `start`, with what the server shares."""

    async def start(self) -> None:  # noqa: B027  optional
        """Called when the server starts; must return at once, loading goes on behind it."""

    async def stop(self) -> None:
        """Called when the server stops."""
        if self.is_model_loaded:
            await self.unload_model()
