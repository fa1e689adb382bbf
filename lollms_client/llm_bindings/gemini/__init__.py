"""Google's Gemini models, over the Gemini API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from lollms_client.http_binding import HttpBinding
from lollms_core.protocols.base import Codec, Timeouts
from lollms_core.protocols.dialects import Dialect
from lollms_core.protocols.image_limits import PUBLISHED

if TYPE_CHECKING:
    from lollms_core.protocols.gemini_catalog import GeminiCatalog

BindingName = "GeminiBinding"

_SECOND_VARIABLE = "GEMINI_API_KEY"  # as newer tools of Google call it


class GeminiBinding(HttpBinding):
    """Models of the Gemini API: Gemini, Gemma and those that embed.

    The key is `service_key`, also called `google_api_key`, else the environment variable GOOGLE_API_KEY or
    GEMINI_API_KEY, which goes to Google alone. `host_address` is the base URL with its version.
    """

    binding_name = "gemini"
    dialect = Dialect(name="gemini", images=PUBLISHED["gemini"])
    default_address = "https://generativelanguage.googleapis.com/v1beta"
    key_variable = "GOOGLE_API_KEY"

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = "gemini-1.5-pro-latest",
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        timeouts: Mapping[str, float | None] | Timeouts | float | None = None,
        google_api_key: str | None = None,
    ) -> None:
        """See `HttpBinding`; `google_api_key` is another name of `service_key`."""
        model = model_name or "gemini-1.5-pro-latest"
        super().__init__(host_address, model, service_key or google_api_key, verify_ssl_certificate, timeouts)

    @property
    @override
    def codec(self) -> Codec:
        """Google's protocol."""
        from lollms_core.protocols.gemini import GeminiCodec

        return GeminiCodec()

    @property
    @override
    def catalog(self) -> GeminiCatalog:
        """Google's own questions."""
        from lollms_core.protocols.gemini_catalog import GeminiCatalog

        return GeminiCatalog()

    @override
    def embedding_model(self) -> str:
        """The current model if it embeds, by its name; a script that names a model to chat with means another one."""
        from lollms_core.protocols.gemini_catalog import EMBEDDER

        name = self.model_name or ""
        return name if "embedding" in name else EMBEDDER

    @override
    def _known_key(self) -> str:
        named = (os.environ.get(name, "").strip() for name in (self.key_variable, _SECOND_VARIABLE))
        return next(filter(None, named), "") or super()._known_key()

    @override
    def _held_back(self) -> str:
        found = super()._held_back()
        second = found not in ("", self.key_variable) and os.environ.get(_SECOND_VARIABLE, "").strip()
        return _SECOND_VARIABLE if second else found
