"""Anthropic's Claude models, over the Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from lollms_client.http_binding import HttpBinding
from lollms_core.protocols.base import Codec, Timeouts
from lollms_core.protocols.dialects import Dialect
from lollms_core.protocols.image_limits import PUBLISHED

if TYPE_CHECKING:
    from lollms_core.protocols.anthropic_catalog import AnthropicCatalog

BindingName = "ClaudeBinding"

_MODEL = "claude-3-sonnet-20240229"
_PATIENCE = 600.0  # seconds: an answer that is not streamed comes when all of it is written


class ClaudeBinding(HttpBinding):
    """Models of Anthropic, and of others who speak its protocol.

    The key is `service_key`, else the environment variable ANTHROPIC_API_KEY, which goes to Anthropic alone, or to the
    address in ANTHROPIC_BASE_URL. `host_address` may end in /v1 or not.
    """

    binding_name = "claude"
    dialect = Dialect(name="anthropic", images=PUBLISHED["anthropic"])
    default_address = "https://api.anthropic.com"
    key_variable = "ANTHROPIC_API_KEY"
    address_variable = "ANTHROPIC_BASE_URL"

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = _MODEL,
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        timeouts: Mapping[str, float | None] | Timeouts | float | None = None,
    ) -> None:
        """See `HttpBinding`; only `first_byte` is longer where `timeouts` do not name it."""
        if timeouts is None or isinstance(timeouts, Mapping):
            timeouts = {"first_byte": _PATIENCE, **(timeouts or {})}
        address = (host_address or "").strip().rstrip("/").removesuffix("/v1")
        super().__init__(address, model_name or _MODEL, service_key, verify_ssl_certificate, timeouts)

    @property
    @override
    def codec(self) -> Codec:
        """Anthropic's protocol."""
        from lollms_core.protocols.anthropic import MessagesCodec

        return MessagesCodec()

    @property
    @override
    def catalog(self) -> AnthropicCatalog:
        """Anthropic's own questions."""
        from lollms_core.protocols.anthropic_catalog import AnthropicCatalog

        return AnthropicCatalog()
