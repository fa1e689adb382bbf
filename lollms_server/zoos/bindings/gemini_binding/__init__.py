"""Google's Gemini models, over the Gemini API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from lollms_core.errors import ConfigError
from lollms_core.protocols.gemini import GeminiCodec
from lollms_core.protocols.gemini_catalog import EMBEDDER, GeminiCatalog
from lollms_core.types import Embeddings
from lollms_server.core.bindings.http import HttpBinding, HttpProtocol

__all__ = ["GeminiBinding"]

_HARMS = ("harassment", "hate_speech", "sexually_explicit", "dangerous_content")
_THRESHOLDS = ("BLOCK_NONE", "BLOCK_ONLY_HIGH", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_LOW_AND_ABOVE")


class GeminiBinding(HttpBinding):
    """One account of the Gemini API.

    With `auto_detect_limits` the limits of a model are those that Google states, and `ctx_size` and `max_output_tokens`
    stand in where it states none; without it these two count for all models, and answers are held to the second.
    """

    binding_type_name = "gemini_binding"
    default_url = "https://generativelanguage.googleapis.com/v1beta"
    key_settings = ("google_api_key", "api_key")

    @override
    def protocol(self, url: str) -> HttpProtocol:
        return HttpProtocol(GeminiCodec(), GeminiCatalog())

    @override
    def target_options(self) -> Mapping[str, object]:
        """Which harm is blocked, and how long answers may be. Raises `ConfigError` for a threshold that is none."""
        options: dict[str, object] = {"safety_settings": self._safety()}
        if not self._detects and (most := self._number("max_output_tokens")):
            options["max_output_tokens"] = most
        return options

    def _safety(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for harm in _HARMS:
            threshold = self.config.get(f"safety_setting_{harm}")
            if threshold is not None and threshold not in _THRESHOLDS:
                raise ConfigError(
                    f"safety_setting_{harm} is {str(threshold)[:50]!r}; it must be one of {', '.join(_THRESHOLDS)}."
                )
            if threshold is not None:
                found[f"HARM_CATEGORY_{harm.upper()}"] = str(threshold)
        return found

    @property
    def _detects(self) -> bool:
        return self.config.get("auto_detect_limits", True) is not False

    def _number(self, name: str) -> int | None:
        value = self.config.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    # ---- models

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        return [self._limited(model) for model in await super().list_available_models()]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return self._limited(await super().get_model_info(model_name))

    def _limited(self, model: dict[str, Any]) -> dict[str, Any]:
        """The facts of a model with the limits of the settings, where these count."""
        limits = {"context_size": self._number("ctx_size"), "max_output_tokens": self._number("max_output_tokens")}
        for name, value in limits.items():
            if value is not None and (not self._detects or model.get(name) is None):
                model[name] = value
        return model

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        """One vector for each text; the model that is the default for answers does not embed."""
        return await super().embed(texts, model_name or EMBEDDER)
