"""Bindings to backends that speak HTTP: a codec, its catalog, and the server's one transport.

What differs from protocol to protocol is in those two, which are pure; nothing here knows one. A binding remembers what
a model can do for half a minute, so that a conversation with images does not ask for it with each turn.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import urlsplit

from typing_extensions import override

from lollms_core.errors import AuthFailed, ConfigError, InvalidRequest, LollmsError, UnsupportedFeature, UpstreamError
from lollms_core.protocols.base import Codec, HttpRequest, Target, Timeouts
from lollms_core.protocols.catalog import Answer, Catalog
from lollms_core.protocols.retry import NO_RETRY
from lollms_core.types import Batch, Embeddings, GenerationCall, ModelInfo
from lollms_runtime.upstream import AsyncUpstream
from lollms_server.core.bindings import Surroundings, TokenCount
from lollms_server.core.bindings.native import NativeBinding, described

if TYPE_CHECKING:
    from lollms_server.core.resource_manager import ResourceManager

__all__ = ["HttpBinding", "HttpProtocol"]

T = TypeVar("T")

_REMEMBERED = 30.0  # seconds
_MOST_REMEMBERED = 1000
_PING = Timeouts(connect=3.0, first_byte=5.0, idle=5.0, total=8.0)


class HttpProtocol(NamedTuple):
    """How a backend is spoken to: generation, and everything else."""

    codec: Codec
    catalog: Catalog


class HttpBinding(NativeBinding):
    """A backend at the address in the instance's settings, asked with the key in them.

    A subclass says in `protocol` how to speak to an address. `default_url` is the provider's own address;
    `url_settings` and `key_settings` name the settings that hold address and key, the first that is set counts;
    `timeouts` is how long such a backend may think.
    """

    default_url: ClassVar[str] = ""
    url_settings: ClassVar[tuple[str, ...]] = ("base_url",)
    key_settings: ClassVar[tuple[str, ...]] = ("api_key",)
    timeouts: ClassVar[Timeouts] = Timeouts()

    def __init__(self, config: dict[str, Any], resource_manager: ResourceManager) -> None:
        super().__init__(config, resource_manager)
        url = (self._setting(self.url_settings) or self.default_url).rstrip("/")
        if not _is_address(url):
            raise ConfigError(
                f"{self.url_settings[0]} is {url!r}; it must be the address of the backend, with http:// or https://."
            )
        if set("?#") & set(url):  # which may hold a key, so it is not shown
            raise ConfigError(
                f"{self.url_settings[0]} has a ? or a # in it; it must be the base URL, without what requests add."
            )
        self._codec, self._catalog = self.protocol(url)
        self._target = Target(
            url,
            key=self._setting(self.key_settings),
            provider=self.binding_instance_name or self.binding_type_name,
            model=str(self.default_model_name or ""),
            options=self.target_options(),
            timeouts=self.timeouts,
        )
        self._upstream: AsyncUpstream | None = None
        self._known: dict[str, tuple[float, ModelInfo]] = {}

    @abstractmethod
    def protocol(self, url: str) -> HttpProtocol:
        """How the backend at `url` is spoken to. Called once, when the binding is made."""

    def target_options(self) -> Mapping[str, object]:
        """What the codec must know beside address, key and model."""
        return {}

    def _setting(self, names: Sequence[str]) -> str:
        return next((str(value) for name in names if (value := self.config.get(name))), "")

    @override
    def attach(self, surroundings: Surroundings) -> None:
        super().attach(surroundings)
        self._upstream = AsyncUpstream(self._codec, self._target, surroundings.transport())

    @property
    def upstream(self) -> AsyncUpstream:
        """The way to the backend."""
        if self._upstream is None:
            raise RuntimeError("the binding was used before it was attached")
        return self._upstream

    @override
    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        return self.upstream.open(call)

    # ---- models

    @override
    def get_supported_input_modalities(self) -> list[str]:
        return list(self._catalog.modalities)

    @override
    async def get_model_input_modalities(self, model_name: str) -> Sequence[str]:
        """What may be put into one model. Raises `UnknownModel`, and what asking the backend raises."""
        if not self._catalog.about_models:
            return self._catalog.modalities
        seeing = (await self._model(model_name)).supports_vision
        return [kind for kind in self._catalog.modalities if kind != "image" or seeing]

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        models = await self._ask(self._catalog.models(self._target))
        for model in models:
            self._remember(model.name, model)
        return [described(model, self._stated_context) for model in models]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        """The documented facts of a model. Raises `UnknownModel`."""
        model = await self._ask(self._catalog.model(model_name or self._target.model, self._target))
        self._remember(model.name, model)
        return {
            **described(model, self._stated_context),
            "model_name": model.name,
            "model_type": "vlm" if model.supports_vision else "ttt",
            "supports_streaming": True,
            "details": dict(model.details),
        }

    @property
    def _stated_context(self) -> int | None:
        size = self.config.get("context_size")
        return size if isinstance(size, int) else None

    async def _model(self, name: str) -> ModelInfo:
        name = name or self._target.model
        found = self._known.get(name)
        if found is not None and time.monotonic() - found[0] < _REMEMBERED:
            return found[1]
        model = await self._ask(self._catalog.model(name, self._target))
        self._remember(name, model)
        return model

    def _remember(self, name: str, model: ModelInfo) -> None:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = (time.monotonic(), model)

    # ---- texts

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        """One vector for each text, in their order. Raises `UnsupportedFeature`, `UnknownModel`, `InvalidRequest`."""
        return await self._ask(self._catalog.embed(texts, model_name or self._target.model, self._target))

    @override
    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        """The tokens of a text, as the backend says. Raises `UnsupportedFeature` where it has no way to ask."""
        return await self._ask(self._catalog.tokens(text, model_name or "", self._target, add_bos, add_eos))

    @override
    async def count_tokens(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> int:
        """How many tokens a text has, as the backend says. Raises `UnsupportedFeature` where it has no way to ask."""
        question = self._catalog.count(text, model_name or "", self._target, add_bos, add_eos)
        return (await self._ask(question))[0]

    @override
    async def token_count(
        self, text: str, model_name: str | None = None, add_bos: bool = False, add_eos: bool = False
    ) -> TokenCount:
        """How many tokens a text has: what the backend says of it, else an estimate."""
        try:
            question = self._catalog.count(text, model_name or "", self._target, add_bos, add_eos)
            return TokenCount(*(await self._ask(question)))
        except UnsupportedFeature:
            return await super().token_count(text, model_name, add_bos, add_eos)

    @override
    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        """The text of tokens, as the backend says. Raises `UnsupportedFeature` where it has no way to ask."""
        return await self._ask(self._catalog.text(tokens, model_name or "", self._target))

    # ---- the backend itself

    @override
    async def health_check(self) -> tuple[bool, str]:
        """Whether anybody answers at the address, within a few seconds and without trying again.

        It is asked over a connection of its own, so that none is kept that the first real request would have to trust.
        """
        from lollms_runtime.transport.http_async import AsyncHttpTransport

        try:
            request = self._catalog.ping(self._target)
        except UnsupportedFeature as error:
            return True, f"It cannot be asked whether it is there: {error.message}"
        quick = HttpRequest(request.method, request.url, request.headers, b"", _PING, request.verify_tls)
        transport = AsyncHttpTransport()
        try:
            await AsyncUpstream(self._codec, self._target, transport, retry=NO_RETRY).fetch(quick)
        except AuthFailed as error:
            return False, error.message
        except (UpstreamError, InvalidRequest) as error:
            return True, f"It answers, but not to this question: {error.message}"
        except LollmsError as error:
            return False, error.message
        finally:
            await transport.close()
        return True, f"{self._target.provider} answers."

    async def _ask(self, question: Answer[T]) -> T:
        """Run an exchange of the catalog; errors of its requests are thrown into it."""
        upstream = self.upstream
        try:
            request = next(question)
            while True:
                try:
                    response = await upstream.fetch(request)
                except LollmsError as error:
                    request = question.throw(error)
                else:
                    request = question.send(response)
        except StopIteration as end:
            answer: T = end.value
            return answer
        finally:
            question.close()


def _is_address(url: str) -> bool:
    """Whether a text is a scheme of the web, a host, and a port that there is, if any."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port out of bounds
        return False
