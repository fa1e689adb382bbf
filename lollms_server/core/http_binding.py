"""Bindings to backends that speak HTTP: a codec, a row of the dialect table, and the server's one transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from lollms_core.errors import ConfigError, UnknownModel
from lollms_core.protocols.base import Codec, Target
from lollms_core.protocols.dialects import Dialect
from lollms_core.protocols.openai import ChatCodec, models_request, parse_models
from lollms_core.types import Batch, GenerationCall, ModelInfo
from lollms_runtime.upstream import AsyncUpstream
from lollms_server.core.bindings import Surroundings
from lollms_server.core.native_binding import NativeBinding, described

if TYPE_CHECKING:
    from lollms_server.core.resource_manager import ResourceManager

__all__ = ["HttpBinding"]


class HttpBinding(NativeBinding):
    """A backend at the instance's `base_url`, asked with its `api_key`.

    A subclass names the `dialect` of its provider and the provider's own address, `default_url`; `elsewhere` is the
    dialect for any other address, where that differs. `codec` makes the codec of a dialect.
    """

    dialect: ClassVar[Dialect]
    elsewhere: ClassVar[Dialect | None] = None
    default_url: ClassVar[str] = ""
    codec: ClassVar[Callable[[Dialect], Codec]] = ChatCodec

    def __init__(self, config: dict[str, Any], resource_manager: ResourceManager) -> None:
        super().__init__(config, resource_manager)
        url = str(config.get("base_url") or self.default_url).rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url is {url!r}; it must be the address of the backend, with http:// or https://.")
        at_home = url == self.default_url or self.elsewhere is None
        self._spoken: Dialect = self.dialect if at_home or self.elsewhere is None else self.elsewhere
        self._target = Target(
            url,
            key=str(config.get("api_key") or ""),
            provider=self.binding_instance_name or self._spoken.name,
            model=str(self.default_model_name or ""),
        )
        self._upstream: AsyncUpstream | None = None

    @override
    def attach(self, surroundings: Surroundings) -> None:
        self._upstream = AsyncUpstream(type(self).codec(self._spoken), self._target, surroundings.transport())

    @property
    def upstream(self) -> AsyncUpstream:
        """The way to the backend."""
        if self._upstream is None:
            raise RuntimeError("the binding was used before it was attached")
        return self._upstream

    @override
    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        return self.upstream.open(call)

    @override
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"] if self._spoken.images else ["text"]

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        return [described(model) for model in await self._models()]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        wanted = model_name or self.default_model_name or ""
        for model in await self._models():
            if model.name == wanted:
                return described(model, self.config.get("context_size"))
        raise UnknownModel(f"Binding instance {self.binding_instance_name!r} has no model {wanted!r}.")

    async def _models(self) -> list[ModelInfo]:
        return list(parse_models(await self.upstream.fetch(models_request(self._target, self._spoken))))
