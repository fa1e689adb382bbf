"""An Ollama server, over its own protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lollms_client.asking import ask, described
from lollms_client.http_binding import HttpBinding
from lollms_core.errors import InvalidRequest, Refused, UnknownModel, UnsupportedFeature
from lollms_core.protocols.base import Codec, Timeouts
from lollms_core.protocols.dialects import Dialect

if TYPE_CHECKING:
    from lollms_core.protocols.ollama_catalog import OllamaCatalog

BindingName = "OllamaBinding"

_PATIENCE = 600.0  # seconds: it says nothing while it loads a model and reads the prompt
_EMBEDDER = "bge-m3"


class OllamaBinding(HttpBinding):
    """The models of an Ollama server. The key, for a server behind a proxy that asks for one, is `service_key`.

    Nothing is ever pulled: a model that the server does not have is an error that says how to get it.
    """

    binding_name = "ollama"
    dialect = Dialect(name="ollama")
    default_address = "http://localhost:11434"

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = "",
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        timeouts: Mapping[str, float | None] | Timeouts | None = None,
    ) -> None:
        """See `HttpBinding`; only `first_byte` is longer where `timeouts` do not name it."""
        patient = timeouts if isinstance(timeouts, Timeouts) else {"first_byte": _PATIENCE, **(timeouts or {})}
        super().__init__(host_address, model_name, service_key, verify_ssl_certificate, patient)

    @property
    @override
    def codec(self) -> Codec:
        """Ollama's protocol."""
        from lollms_core.protocols.ollama import OllamaCodec

        return OllamaCodec()

    @override
    def refused(self, error: Refused) -> Refused:
        """Says how to start Ollama."""
        return Refused(
            f"No Ollama server answers at {self.host_address}. Start it with `ollama serve` (or open the Ollama "
            "application), or give the address of a running one as host_address, for example http://localhost:11434."
        )

    @override
    def list_models(self) -> list[Any]:
        """The models that are pulled, as dictionaries: `model_name`, `context_size`, what they can do, size and so on.

        Raises `LollmsError`.
        """
        return [described(model) for model in ask(self._catalog.models(self.target), self.fetch)]

    @override
    def get_model_info(self) -> dict[str, Any]:
        """What Ollama says of the current model; without a current model nothing is asked.

        Raises `UnknownModel` where it is not pulled.
        """
        known = super().get_model_info()
        return {**self._described(self.model_name), **known} if self.model_name else known

    @override
    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context size in tokens that a model was made for; None where Ollama does not say.

        Ollama uses less than that unless `ctx_size` asks for it. Raises `UnknownModel` where it is not pulled.
        """
        name = model_name or self.model_name
        return self._described(name).get("context_size") if name else None

    @override
    def load_model(self, model_name: str) -> bool:
        """Use another model from now on. Returns False where it is not pulled, and logs how to pull it."""
        try:
            self._described(model_name)
        except UnknownModel as error:
            logging.getLogger("lollms_client").warning("%s", error)
            return False
        self.model_name = model_name
        return True

    def ps(self) -> list[dict[str, Any]]:
        """The models that are in memory: `model_name`, `size` and `size_vram` in bytes, `expires_at` and so on."""
        return ask(self._catalog.running(self.target), self.fetch)

    @override
    def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these.

        `model` names the model; without it the current one is used where it can embed, else bge-m3.
        """
        texts = [text] if isinstance(text, str) else list(text)
        model = str(kwargs.get("model") or kwargs.get("model_name") or "") or self._embedder()
        found = ask(self._catalog.embed(texts, model, self.target), self.fetch)
        vectors = [list(vector) for vector in found.vectors]
        return vectors[0] if isinstance(text, str) else vectors

    @override
    def count_tokens(self, text: str) -> int:
        """About how many tokens a text has: Ollama cannot be asked, so it is an estimate (see `lollms_core.text`)."""
        from lollms_core.text.tokens import estimate

        return estimate(text)

    @override
    def tokenize(self, text: str) -> list[Any]:
        """Raises `UnsupportedFeature`: Ollama has no route for it."""
        raise _no_tokens()

    @override
    def detokenize(self, tokens: list[Any]) -> str:
        """Raises `UnsupportedFeature`: Ollama has no route for it."""
        raise _no_tokens()

    @property
    def _catalog(self) -> OllamaCatalog:
        from lollms_core.protocols.ollama_catalog import OllamaCatalog

        return OllamaCatalog()

    def _described(self, name: str | None) -> dict[str, Any]:
        if not name:
            raise InvalidRequest("Name a model; list_models() gives the names.", param="model_name")
        return {
            **described(ask(self._catalog.model(name, self.target), self.fetch)),
            "supports_structured_output": True,
        }

    def _embedder(self) -> str:
        """The current model if it embeds. A script that names a model to chat with means another one for this."""
        if self.model_name:
            try:
                if "embedding" in self._described(self.model_name).get("capabilities", ()):
                    return self.model_name
            except UnknownModel:
                return _EMBEDDER
        return _EMBEDDER


def _no_tokens() -> UnsupportedFeature:
    return UnsupportedFeature(
        "Ollama has no way to be asked for the tokens of a text. count_tokens estimates how many there are."
    )
