"""Hugging Face: models of Inference Providers, and of Inference Endpoints of one's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lollms_client.completion_format import completion_format
from lollms_client.http_binding import HttpBinding
from lollms_core.protocols.base import Codec, Timeouts
from lollms_core.protocols.huggingface import HUGGING_FACE

if TYPE_CHECKING:
    from lollms_core.protocols.huggingface_catalog import HuggingFaceCatalog

BindingName = "HuggingFaceInferenceAPIBinding"

_MODEL = "mistralai/Mistral-7B-Instruct-v0.2"
_OTHER_VARIABLE = "HF_TOKEN"
_PATIENCE = 600.0  # seconds: an answer that is not streamed comes when all of it is written


class HuggingFaceInferenceAPIBinding(HttpBinding):
    """Models of Hugging Face's Inference Providers, or of the Inference Endpoint at `host_address`.

    The key is `hf_api_key`, else the environment variable HUGGING_FACE_HUB_TOKEN or HF_TOKEN, which goes to Hugging
    Face's router alone. `model_name` may end in the name of who is to answer: `org/model:provider`.
    `default_completion_format` is Chat, or Instruct for models that only continue a text: these are asked with the
    text-generation task, and are told of tools in the prompt.
    """

    binding_name = "hugging_face_inference_api"
    dialect = HUGGING_FACE
    default_address = HUGGING_FACE.address
    key_variable = HUGGING_FACE.key_variable

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = _MODEL,
        hf_api_key: str | None = None,
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        default_completion_format: object = None,
        timeouts: Mapping[str, float | None] | Timeouts | float | None = None,
        **others: Any,
    ) -> None:
        """See `HttpBinding`; `service_key` is another name of `hf_api_key`, `others` are ignored with a warning.

        Only `first_byte` is longer where `timeouts` do not name it. Raises `InvalidRequest` also for an unknown
        completion format.
        """
        if unknown := sorted(set(others) - {"models_path"}):  # every binding is offered that one
            logging.getLogger("lollms_client").warning(
                "The LLM binding %r does not take %s; it is made without.", self.binding_name, ", ".join(unknown)
            )
        if timeouts is None or isinstance(timeouts, Mapping):
            timeouts = {"first_byte": _PATIENCE, **(timeouts or {})}
        super().__init__(
            host_address, model_name or _MODEL, hf_api_key or service_key, verify_ssl_certificate, timeouts
        )
        self.completion_format = completion_format(default_completion_format)

    @property
    @override
    def codec(self) -> Codec:
        """Chat, or text generation with tools in the prompt."""
        return self._form[0]

    @property
    @override
    def catalog(self) -> HuggingFaceCatalog:
        """Hugging Face's own questions."""
        return self._form[1]

    @property
    def _form(self) -> tuple[Codec, HuggingFaceCatalog]:
        from lollms_core.protocols.huggingface_forms import huggingface_form

        return huggingface_form(self.completion_format.name)

    @override
    def embedding_model(self) -> str:
        """The model that embeds where none is named: an endpoint has one, the models of the router only chat."""
        from lollms_core.protocols.huggingface_forms import embedder_at

        return embedder_at(self.host_address) or self.model_name or ""

    @override
    def _known_key(self) -> str:
        named = (os.environ.get(name, "").strip() for name in (self.key_variable, _OTHER_VARIABLE))
        return next((key for key in named if key), "") or super()._known_key()

    @override
    def _held_back(self) -> str:
        held = super()._held_back()
        return _OTHER_VARIABLE if held and held != self.key_variable and os.environ.get(_OTHER_VARIABLE) else held
