"""Hugging Face: models of Inference Providers, and of Inference Endpoints of one's own."""

from collections.abc import Sequence

from typing_extensions import override

from lollms_core.protocols.base import Timeouts
from lollms_core.protocols.huggingface import HUGGING_FACE
from lollms_core.protocols.huggingface_forms import embedder_at, huggingface_form
from lollms_core.types import Embeddings
from lollms_server.core.bindings.http import HttpBinding, HttpProtocol

__all__ = ["HuggingFaceBinding"]


class HuggingFaceBinding(HttpBinding):
    """One account of Hugging Face, or one Inference Endpoint."""

    binding_type_name = "huggingface_binding"
    default_url = HUGGING_FACE.address
    key_settings = ("hf_api_key", "api_key")
    timeouts = Timeouts(first_byte=600.0)  # an answer that is not streamed comes when all of it is written

    @override
    def protocol(self, url: str) -> HttpProtocol:
        return HttpProtocol(*huggingface_form(self.config.get("completion_format")))

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        """One vector for each text; where nobody names a model, by one that embeds."""
        return await super().embed(texts, model_name or embedder_at(self._target.base_url))
