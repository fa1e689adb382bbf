"""An Ollama server, over its own protocol."""

from typing_extensions import override

from lollms_core.protocols.base import Timeouts
from lollms_core.protocols.ollama import OllamaCodec
from lollms_core.protocols.ollama_catalog import OllamaCatalog
from lollms_server.core.bindings.http import HttpBinding, HttpProtocol

__all__ = ["OllamaBinding"]


class OllamaBinding(HttpBinding):
    """One Ollama server."""

    binding_type_name = "ollama_binding"
    default_url = "http://localhost:11434"
    url_settings = ("host",)
    timeouts = Timeouts(first_byte=600.0)  # it says nothing while it loads a model and reads the prompt

    @override
    def protocol(self, url: str) -> HttpProtocol:
        return HttpProtocol(OllamaCodec(), OllamaCatalog())
