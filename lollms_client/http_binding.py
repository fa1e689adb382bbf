"""`HttpBinding`: a binding to a server, made of a codec (the protocol) and a few facts about the provider.

A provider that speaks the chat-completions protocol is a subclass of a few lines: a dialect row, an address, and the
environment variable its key is kept in.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from typing_extensions import override

from lollms_client.asking import ask, described
from lollms_client.native_binding import NativeBinding
from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    InvalidRequest,
    LollmsError,
    NotFound,
    Refused,
    UnsupportedFeature,
)
from lollms_core.protocols.base import Codec, HttpRequest, HttpResponse, Target, Timeouts
from lollms_core.protocols.dialects import GENERIC, Dialect
from lollms_core.protocols.image_limits import NO_LIMITS, ImageLimits
from lollms_core.types import Batch, GenerationCall
from lollms_runtime.cancel import Cancel, current_cancel

if TYPE_CHECKING:
    from lollms_core.protocols.catalog import Catalog
    from lollms_runtime.lesson_book import LessonBook
    from lollms_runtime.transport.http_async import AsyncHttpTransport
    from lollms_runtime.transport.http_sync import HttpTransport
    from lollms_runtime.upstream import AsyncUpstream, Upstream

__all__ = ["HttpBinding"]


class HttpBinding(NativeBinding):
    """A binding over HTTP. Connections are made at the first call, kept alive, and closed by `close()`.

    Class attributes: `dialect`, the provider's row; `default_address`, the provider's base URL; `key_variable`, the
    environment variable that holds the key where none is given; `address_variable`, the one that may name another
    address to use for the provider; `parallel_calls`, how many calls an operation makes at once.

    Attributes: `host_address`, the base URL in use; `model_name`, used when a call names no model.
    """

    dialect: Dialect = GENERIC
    parallel_calls = 4
    default_address: ClassVar[str] = ""
    key_variable: ClassVar[str] = ""
    address_variable: ClassVar[str] = ""

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = "",
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        timeouts: Mapping[str, float | None] | Timeouts | float | None = None,
    ) -> None:
        """Nothing is contacted here.

        `timeouts` in seconds: `connect`, `first_byte`, `idle` (between two pieces), `total` (None: no limit); a number
        alone is how long to wait for the first byte and between two pieces. Raises `InvalidRequest` without an address,
        for one that has a query, for values that are no text, or for time-outs of another name.
        """
        super().__init__(type(self).binding_name)
        for name, given in (("host_address", host_address), ("model_name", model_name), ("service_key", service_key)):
            if not isinstance(given or "", str):
                raise InvalidRequest(f"{name} must be text.", param=name)
        self.host_address = _with_scheme(host_address or self._named_address() or self.default_address)
        if not self.host_address.partition("://")[2]:
            more = f", or {self.address_variable} in the environment" if self.address_variable else ""
            raise InvalidRequest(
                f"This binding needs the address of a server: host_address{more}.", param="host_address"
            )
        if set("?#") & set(self.host_address):  # which may hold a key, so it is not shown
            raise InvalidRequest(
                "host_address is the base URL: leave out what begins with ? or #, and what is added for single "
                "requests, such as /chat/completions.",
                param="host_address",
            )
        self.model_name = model_name or ""
        self._service_key = service_key or ""
        self._verify_tls = bool(verify_ssl_certificate)
        self._timeouts = _timeouts(timeouts)
        self._lock = threading.Lock()
        self._transport: HttpTransport | None = None
        self._async_transport: AsyncHttpTransport | None = None
        self._lessons: LessonBook | None = None

    @property
    def codec(self) -> Codec:
        """The protocol that is spoken."""
        from lollms_core.protocols.prompt_tools import chat_codec

        return chat_codec(self.dialect)

    @property
    def catalog(self) -> Catalog:
        """How everything but a generation is asked for."""
        from lollms_core.protocols.catalog import OpenAICatalog

        return OpenAICatalog(self.dialect)

    def find_key(self) -> str:
        """The key to send: the one that was given, else the one of the environment or of `lollms keys`; "" for none.

        What nobody gave goes to the provider's own address alone, and to the one that `address_variable` names: whoever
        is at another address must not get it. Raises `ConfigError` when others can read the stored keys.
        """
        return self._service_key or (self._known_key() if self._is_the_providers() else "")

    def _known_key(self) -> str:
        from lollms_runtime.provider_keys import provider_key

        return self._variable() or provider_key(str(self.binding_name))

    def _variable(self) -> str:
        return os.environ.get(self.key_variable, "").strip() if self.key_variable else ""

    def _held_back(self) -> str:
        """Where a key is that `find_key` kept from this address, in words; "" when there is none."""
        if self._service_key or self._is_the_providers():
            return ""
        if self._variable():
            return self.key_variable
        try:
            return "`lollms keys`" if self._known_key() else ""
        except LollmsError:  # a file of keys that cannot be read says nothing about this address
            return ""

    def _is_the_providers(self) -> bool:
        """Whether the address is the one in `address_variable`, or whatever path of the provider's own host."""
        if (named := self._named_address()) and self.host_address == _with_scheme(named):
            return True
        return (own := _origin(self.default_address)) is not None and _origin(self.host_address) == own

    def _named_address(self) -> str:
        return os.environ.get(self.address_variable, "").strip() if self.address_variable else ""

    def options(self) -> Mapping[str, object]:
        """What the codec should know besides the call."""
        return {}

    @override
    def open(self, call: GenerationCall, cancel: Cancel) -> contextlib.AbstractContextManager[Iterator[Batch]]:
        """Send the call and give the events of its answer; see `NativeBinding.open`."""
        return self._explained(self._upstream().open(call, cancel))

    @override
    def aopen(self, call: GenerationCall) -> contextlib.AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """As `open`, for coroutines."""
        return self._aexplained(call)

    def fetch(self, request: HttpRequest) -> HttpResponse:
        """Send a small request and return its whole answer. Raises the codec's error for a status that is not 2xx."""
        try:
            return self._upstream().fetch(request, current_cancel())
        except LollmsError as error:
            self._raise_in_words(error, f"{request.method} {request.url.partition('?')[0]}")

    def refused(self, error: Refused) -> Refused:
        """The error to raise when nobody listens at the address."""
        return error

    def not_found(self, error: NotFound, asked: str) -> NotFound:
        """The error to raise when the server has not what was asked for: `asked`, method and URL, "" to generate."""
        return error

    @override
    def list_models(self) -> list[Any]:
        """The models as dictionaries: `model_name`, `context_size` in tokens, abilities, and what else is stated.

        Raises `LollmsError`.
        """
        sure = self.catalog.about_models
        return [described(model, sure=sure) for model in ask(self.catalog.models(self.target), self.fetch)]

    @override
    def get_model_info(self) -> dict[str, Any]:
        """The current model, where it is asked, and what the provider says of it, if it can be asked."""
        known = {**super().get_model_info(), "host_address": self.host_address}
        return {**self.facts(self.model_name), **known} if self.model_name else known

    @override
    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context size of a model in tokens; None where nobody says."""
        name = model_name or self.model_name
        return self.facts(name).get("context_size") if name else None

    def facts(self, model_name: str) -> dict[str, Any]:
        """What the provider says of a model, in the form of `list_models`; nothing where it cannot be asked."""
        catalog = self.catalog
        try:
            return described(ask(catalog.model(model_name, self.target), self.fetch), sure=catalog.about_models)
        except Cancelled:
            raise
        except LollmsError:
            return {}  # the facts are an addition; whoever needs the provider will be told what is wrong with it

    @override
    def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these. `model` names the model.

        Raises `UnsupportedFeature` where the provider has no embeddings.
        """
        texts = [text] if isinstance(text, str) else list(text)
        model = str(kwargs.get("model") or kwargs.get("model_name") or "") or self.embedding_model()
        found = ask(self.catalog.embed(texts, model, self.target), self.fetch)
        vectors = [list(vector) for vector in found.vectors]
        return vectors[0] if isinstance(text, str) else vectors

    def embedding_model(self) -> str:
        """The model that embeds where none is named."""
        return self.model_name or ""

    @override
    def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text. Raises `UnsupportedFeature` where the provider cannot be asked for them."""
        return list(ask(self.catalog.tokens(text, self.model_name or "", self.target), self.fetch))

    @override
    def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens; raises as `tokenize` does."""
        return ask(self.catalog.text(tokens, self.model_name or "", self.target), self.fetch)

    @override
    def count_tokens(self, text: str) -> int:
        """How many tokens a text has: as the provider counts, else an estimate (see `lollms_core.text.tokens`)."""
        from lollms_core.text.tokens import estimate

        try:
            return ask(self.catalog.count(text, self.model_name or "", self.target), self.fetch)[0]
        except UnsupportedFeature:
            return estimate(text)

    @property
    def target(self) -> Target:
        """Where requests go, with the key as it is found now."""
        return Target(
            self.host_address,
            key=self.find_key(),
            provider=self.dialect.name,
            options=self.options(),
            timeouts=self._timeouts,
            verify_tls=self._verify_tls,
        )

    @property
    @override
    def image_limits(self) -> ImageLimits:
        """What the provider takes."""
        return self.dialect.images or NO_LIMITS

    @override
    def close(self) -> None:
        """End what is running on threads and close the connections of these. The binding may be used again."""
        with self._lock:
            transport = self._transport
        if transport is not None:
            transport.close()

    @override
    async def aclose(self) -> None:
        """End what is running in this event loop and close its connections, and do what `close` does."""
        with self._lock:
            transport = self._async_transport
        if transport is not None:
            await transport.close()
        self.close()

    def _upstream(self) -> Upstream:
        """What a call goes through; only the connections outlive it."""
        from lollms_runtime.transport.http_sync import HttpTransport
        from lollms_runtime.upstream import Upstream

        with self._lock:
            if self._transport is None:
                self._transport = HttpTransport()
                weakref.finalize(self, self._transport.close)
            transport = self._transport
        return Upstream(self.codec, self.target, transport, lessons=self._lesson_book())

    def _async_upstream(self) -> AsyncUpstream:
        from lollms_runtime.transport.http_async import AsyncHttpTransport
        from lollms_runtime.upstream import AsyncUpstream

        with self._lock:
            if self._async_transport is None:
                self._async_transport = AsyncHttpTransport()
                weakref.finalize(self, self._async_transport.discard)
            transport = self._async_transport
        return AsyncUpstream(self.codec, self.target, transport, lessons=self._lesson_book())

    def _lesson_book(self) -> LessonBook:
        """What the models have refused, for as long as this binding lives."""
        from lollms_runtime.lesson_book import LessonBook

        with self._lock:
            if self._lessons is None:
                self._lessons = LessonBook()
            return self._lessons

    @contextlib.contextmanager
    def _explained(self, opened: contextlib.AbstractContextManager[Iterator[Batch]]) -> Iterator[Iterator[Batch]]:
        try:
            with opened as batches:
                yield batches
        except LollmsError as error:
            self._raise_in_words(error, "")

    @contextlib.asynccontextmanager
    async def _aexplained(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        try:
            async with self._async_upstream().open(call) as batches:
                yield batches
        except LollmsError as error:
            self._raise_in_words(error, "")

    def _raise_in_words(self, error: LollmsError, asked: str) -> NoReturn:
        found = self._in_words(error, asked)
        raise found from (error.__cause__ if found is error else error)  # an error that is its own cause has no end

    def _in_words(self, error: LollmsError, asked: str) -> LollmsError:
        """The error with what this binding knows about it; `asked` is as for `not_found`."""
        if isinstance(error, Refused):
            return self.refused(error)
        if isinstance(error, NotFound):
            return self.not_found(error, asked)
        if isinstance(error, AuthFailed) and (held_back := self._held_back()):
            own = self.default_address or self.address_variable
            return AuthFailed(
                f"{error} The key of {held_back} was not sent: it is for {own} only. Give "
                f"service_key for {self.host_address}"
                + (f", or name that address in {self.address_variable}." if self.address_variable else "."),
                status=error.status,
                provider=error.provider,
            )
        return error


def _with_scheme(address: str) -> str:
    """An address as it is kept: with a scheme, and without a slash at the end."""
    scheme, found, rest = address.strip().partition("://")
    return f"{scheme}://{rest.rstrip('/')}" if found else f"http://{scheme.rstrip('/')}"


def _origin(address: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of whoever is at an address; None where it cannot be told, or names a user."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and "@" not in parts.netloc else None


def _timeouts(given: Mapping[str, float | None] | Timeouts | float | None) -> Timeouts:
    if isinstance(given, Timeouts):
        return given
    if isinstance(given, int | float):
        if not 0 < given < math.inf:
            raise InvalidRequest(f"A time-out is {given!r}; it must be a number of seconds above 0.", param="timeouts")
        return Timeouts(first_byte=float(given), idle=float(given))
    if not isinstance(given, Mapping | None):
        raise InvalidRequest("timeouts must be a number of seconds, or several of them by name.", param="timeouts")
    if unknown := set(given or {}) - set(Timeouts.__struct_fields__):
        raise InvalidRequest(
            f"There is no time-out {', '.join(sorted(unknown))}; there are {', '.join(Timeouts.__struct_fields__)}.",
            param="timeouts",
        )
    for name, seconds in (given or {}).items():
        if not (isinstance(seconds, int | float) and 0 < seconds < math.inf) and (name, seconds) != ("total", None):
            raise InvalidRequest(f"The time-out {name} must be a number of seconds above 0.", param="timeouts")
    return Timeouts(**given) if given else Timeouts()  # type: ignore[arg-type]
