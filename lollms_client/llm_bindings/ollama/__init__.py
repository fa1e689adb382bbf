"""An Ollama server, over its own protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lollms_client.asking import ask, described
from lollms_client.http_binding import HttpBinding
from lollms_core.errors import Refused, UnknownModel
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
    def facts(self, model_name: str) -> dict[str, Any]:
        """What Ollama says of a model. Raises `UnknownModel` where it is not pulled."""
        model = ask(self.catalog.model(model_name, self.target), self.fetch)
        return {**described(model), "supports_structured_output": True}

    @override
    def load_model(self, model_name: str) -> bool:
        """Use another model from now on. Returns False where it is not pulled, and logs how to pull it."""
        try:
            self.facts(model_name)
        except UnknownModel as error:
            logging.getLogger("lollms_client").warning("%s", error)
            return False
        self.model_name = model_name
        return True

    def ps(self) -> list[dict[str, Any]]:
        """The models that are in memory: `model_name`, `size` and `size_vram` in bytes, `expires_at` and so on."""
        return ask(self.catalog.running(self.target), self.fetch)

    @override
    def embedding_model(self) -> str:
        """The current model if it embeds. A script that names a model to chat with means another one for this."""
        if self.model_name:
            try:
                if "embedding" in self.facts(self.model_name).get("capabilities", ()):
                    return self.model_name
            except UnknownModel:
                return _EMBEDDER
        return _EMBEDDER

    @property
    @override
    def catalog(self) -> OllamaCatalog:
        """Ollama's own questions."""
        from lollms_core.protocols.ollama_catalog import OllamaCatalog

        return OllamaCatalog()
