"""The base class of all bindings.

A binding written by anybody needs only what is documented: it subclasses `Binding`, implements the abstract methods and
answers `generate` with a text, a dictionary or a list of dictionaries. The server itself talks to every binding through
one method, `open(call)`, whose default here calls the documented ones and turns what they return into events. Bindings
that come with the server override `open` instead (see `native.py`).

The model is part of the call and never something the binding remembers for the next one: `open` makes sure that a
documented binding, which loads one model at a time, is not switched to another model while a request runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from lollms_core.errors import EngineError, InvalidRequest, UnsupportedFeature
from lollms_core.text.tokens import estimate
from lollms_core.types import Batch, Embeddings, GenerationCall, Message, Params
from lollms_server.core.bindings.adapter import Adapter
from lollms_server.core.bindings.answers import output_items
from lollms_server.core.bindings.structured import Asking
from lollms_server.core.bindings.sync_methods import accept_other_forms
from lollms_server.core.parameters import read_parameters
from lollms_server.core.requests import CURRENT

if TYPE_CHECKING:
    from lollms_runtime.transport.base import AsyncTransport
    from lollms_server.core.bindings.foreign import OneAtATime
    from lollms_server.core.resource_manager import ResourceManager

__all__ = ["Binding", "ModelState", "Surroundings", "TokenCount"]

ModelState = Literal["loading", "ready", "failed"]

_CONTEXT_SIZE, _OUTPUT_TOKENS = 4096, 1024
_INPUTS = {"text", "image", "audio", "video", "document"}
_LONG = 20_000  # characters whose tokens are estimated on a thread


class TokenCount(msgspec.Struct, frozen=True):
    """How many tokens a text has; an estimate is not `exact`."""

    count: int
    exact: bool


class Surroundings:
    """What the server shares with its bindings: the folder of model files, and one HTTP transport for all.

    The defaults are tokens, for models whose sizes nobody states.
    """

    def __init__(
        self,
        models_folder: Path,
        transport: AsyncTransport | None = None,
        *,
        default_context_size: int = _CONTEXT_SIZE,
        default_max_output_tokens: int = _OUTPUT_TOKENS,
    ) -> None:
        self.models_folder = models_folder
        self.default_context_size = default_context_size
        self.default_max_output_tokens = default_max_output_tokens
        self._transport = transport

    def transport(self) -> AsyncTransport:
        """The transport, made when the first binding wants it."""
        if self._transport is None:
            from lollms_runtime.transport.http_async import AsyncHttpTransport

            self._transport = AsyncHttpTransport()
        return self._transport

    async def close(self) -> None:
        """Close what was made."""
        if self._transport is not None:
            await self._transport.close()


class Binding(ABC):
    """One configured instance of a binding type. Documented; subclass it to add a backend.

    `binding_type_name` must be the `type_name` of the card beside the class. `config` holds the instance's settings,
    `resource_manager` hands out the graphics card. A method that is documented as asynchronous may be a plain one: it
    then runs on a thread, one at a time.
    """

    binding_type_name: ClassVar[str] = ""

    # Class attributes, so that a subclass that forgets to call `super().__init__` still works.
    config: dict[str, Any]
    resource_manager: ResourceManager | None = None
    binding_instance_name: str = ""
    default_model_name: str | None = None
    model_name: str | None = None
    _model_loaded: bool = False
    default_sizes: tuple[int, int] = (_CONTEXT_SIZE, _OUTPUT_TOKENS)  # of the context, and of an answer, in tokens
    _adapter: Adapter | None = None
    _threads: OneAtATime | None = None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        accept_other_forms(cls)

    def __init__(self, config: dict[str, Any], resource_manager: ResourceManager) -> None:
        self.config = config
        self.resource_manager = resource_manager
        self.binding_instance_name = str(config.get("binding_instance_name") or "")
        self.default_model_name = config.get("default_model")
        self.model_name = None
        self._model_loaded = False

    @functools.cached_property
    def _load_lock(self) -> asyncio.Lock:
        return asyncio.Lock()

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
        """Answer once: a text, a dictionary (`text`, `image_base64`, ... or `type` and `data`), or a list of them.

        What the model may call stands in `request_info["tools"]`; who does not look there answers without tools.
        """

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
        """Whether the class has its own `generate_stream`; without one a stream brings the answer in one piece."""
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

    def input_roles(self, data_type: str) -> Sequence[str] | None:
        """The roles that input of this type may have besides those of a conversation; None for any."""
        return None

    async def get_model_input_modalities(self, model_name: str) -> Sequence[str]:
        """What may be put into one model; the default is what the instance says of itself.

        Some know that only of the model that is loaded. So where another one is, or where they leave out what the
        running request brings (anything, if that is not known), the model is loaded and they are asked again.
        """
        said = self.get_supported_input_modalities()
        if not model_name or not self._is_documented:
            return said
        context = CURRENT.get()
        wanted = {item.type for item in context.items} if context is not None else set()
        if self._adapted.has_another(model_name) or not (wanted or _INPUTS) <= set(said):
            async with self.model_ready(model_name):
                said = self.get_supported_input_modalities()
        return said

    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        """One vector for each text. Raises `UnsupportedFeature`, a NotImplementedError, unless overridden."""
        raise UnsupportedFeature(f"Binding instance {self.binding_instance_name!r} cannot embed.")

    async def token_count(
        self, text: str, model_name: str | None = None, add_bos: bool = False, add_eos: bool = False
    ) -> TokenCount:
        """How many tokens a text has: exactly where the binding can tokenize or count, else an estimate."""
        given = {"text": text, "add_bos": add_bos, "add_eos": add_eos, "model_name": model_name}
        kind = type(self)
        with contextlib.suppress(UnsupportedFeature):
            if kind.count_tokens is not Binding.count_tokens:
                return TokenCount(self._as_count(await self._of_model(self.count_tokens, model_name, given)), True)
            if kind.tokenize is not Binding.tokenize:
                tokens = await self._of_model(self.tokenize, model_name, given)
                return TokenCount(self._as_count(len(tokens)), True)
        return TokenCount(await asyncio.to_thread(estimate, text) if len(text) > _LONG else estimate(text), False)

    def get_instance_config(self) -> dict[str, Any]:
        """The settings of this instance, secrets included."""
        return dict(self.config)

    async def health_check(self) -> tuple[bool, str]:
        """Whether the backend can be used, and a sentence."""
        return True, "No check is made."

    def get_resource_requirements(self, model_name: str | None = None) -> dict[str, Any]:
        """`gpu_required`: each request holds the graphics card while it runs; `estimated_vram_mb`."""
        return {"gpu_required": False, "estimated_vram_mb": 0}

    # ---- documented helpers

    async def generate_structured_output(
        self,
        prompt: str,
        output_schema: Mapping[str, Any],
        params: dict[str, Any] | None = None,
        request_info: dict[str, Any] | None = None,
        multimodal_data: list[dict[str, Any]] | None = None,
        max_retries: int = 2,
    ) -> Any:
        """What the model answers as JSON that obeys a JSON Schema.

        Costs at most `1 + max_retries` calls. Raises `StructuredOutputError`, with its trail in `attempts`.
        """
        asking = Asking(self, params or {}, request_info or {}, multimodal_data or [], max_retries)
        return await asking.value(prompt, output_schema)

    async def generate_and_extract_all_codes(
        self,
        prompt: str,
        params: dict[str, Any] | None = None,
        request_info: dict[str, Any] | None = None,
        multimodal_data: list[dict[str, Any]] | None = None,
        max_retries: int = 2,
    ) -> list[dict[str, Any]]:
        """The code blocks of an answer (see `extract_code_blocks`), at least one. Raises `StructuredOutputError`."""
        asking = Asking(self, params or {}, request_info or {}, multimodal_data or [], max_retries)
        return await asking.codes(prompt)

    async def ask_yes_no(
        self,
        question: str,
        params: dict[str, Any] | None = None,
        request_info: dict[str, Any] | None = None,
        multimodal_data: list[dict[str, Any]] | None = None,
        max_retries: int = 2,
    ) -> bool:
        """Whether the model answers yes. Raises `StructuredOutputError` when it says neither yes nor no."""
        asking = Asking(self, params or {}, request_info or {}, multimodal_data or [], max_retries)
        return await asking.yes_no(question)

    @classmethod
    def get_binding_package_path(cls) -> Path:
        """The folder that the class lies in."""
        return Path(inspect.getfile(cls)).resolve().parent

    @classmethod
    def get_binding_card(cls) -> dict[str, Any]:
        """The card beside the class. Raises `ConfigError`."""
        from lollms_runtime.yaml_file import load_yaml
        from lollms_server.core.bindings.instances import CARD_NAME

        return dict(load_yaml(cls.get_binding_package_path() / CARD_NAME).values)

    @classmethod
    def get_config_schema(cls) -> dict[str, Any]:
        """The `instance_schema` of the card."""
        return dict(cls.get_binding_card().get("instance_schema") or {})

    async def _documented_call(
        self,
        prompt: str,
        params: Mapping[str, Any],
        request_info: Mapping[str, Any],
        multimodal_data: Sequence[Mapping[str, Any]] | None,
        *,
        stream: bool = False,
    ) -> GenerationCall:
        """The call that the arguments of `generate` stand for, as far as a call can say it."""
        system, chosen = params.get("system_message"), Params()
        with contextlib.suppress(InvalidRequest):  # a binding may have parameters of its own forms
            chosen = read_parameters(params).params
        before = (Message.system(str(system)),) if system else ()
        model = str(request_info.get("model_name") or self.model_name or self.default_model_name or "")
        return GenerationCall((*before, Message.user(prompt)), model, chosen, stream)

    # ---- what the server calls

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the model; leaving the block ends the work. The default uses the documented methods."""
        return self._adapted.open(call)

    @contextlib.asynccontextmanager
    async def model_ready(self, model: str | None = None) -> AsyncIterator[str]:
        """Inside the block this model, or the default one, is loaded and nobody switches it; for documented methods.

        Waits until those that use another model are done. Raises `UnknownModel` when it cannot be loaded.
        """
        name = model or str(self.default_model_name or "")
        if not name or not self._is_documented:
            yield name
            return
        async with self._adapted.ready(name):
            yield name

    @property
    def _adapted(self) -> Adapter:
        if self._adapter is None:
            self._adapter = Adapter(self)
        return self._adapter

    @property
    def _is_documented(self) -> bool:
        """Whether this binding has the documented methods only, and not an `open` of its own."""
        return type(self).open is Binding.open

    async def _of_model(self, method: Any, model: str | None, given: Mapping[str, Any]) -> Any:
        """The result of a documented method that needs the model."""
        if not self._is_documented:
            return await method(**given)
        async with self.model_ready(model):
            return await self._adapted.run(method, **given)

    def _as_count(self, given: Any) -> int:
        if isinstance(given, bool) or not isinstance(given, int) or given < 0:
            raise EngineError(f"Binding instance {self.binding_instance_name!r} gave no number of tokens.")
        return given

    @property
    def model_state(self) -> ModelState:
        """How far the model of this instance is, for `/health`."""
        return "ready"

    @property
    def capacity(self) -> int | None:
        """How many requests this instance can run at once; None for any number."""
        return None

    def attach(self, surroundings: Surroundings) -> None:
        """Called once, before `start`, with what the server shares."""
        self.default_sizes = (surroundings.default_context_size, surroundings.default_max_output_tokens)

    async def start(self) -> None:  # noqa: B027  optional
        """Called when the server starts; must return at once, loading goes on behind it."""

    async def stop(self) -> None:
        """Called when the server stops, or another version takes this one's place."""
        adapter = self._adapter
        if adapter is not None and adapter.has_model:
            await adapter.run(self.unload_model)
        elif self.is_model_loaded:
            await self.unload_model()
