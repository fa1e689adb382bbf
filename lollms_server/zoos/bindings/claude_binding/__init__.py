"""Anthropic's Claude models, over the Messages API."""

from typing_extensions import override

from lollms_core.protocols.anthropic import MessagesCodec
from lollms_core.protocols.anthropic_catalog import AnthropicCatalog
from lollms_core.protocols.base import Timeouts
from lollms_server.core.bindings.http import HttpBinding, HttpProtocol

__all__ = ["ClaudeBinding"]


class ClaudeBinding(HttpBinding):
    """Anthropic, or one server that speaks its protocol."""

    binding_type_name = "claude_binding"
    default_url = "https://api.anthropic.com"
    timeouts = Timeouts(first_byte=600.0)  # an answer that is not streamed comes when all of it is written

    @override
    def protocol(self, url: str) -> HttpProtocol:
        return HttpProtocol(MessagesCodec(), AnthropicCatalog())
