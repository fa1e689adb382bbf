"""OpenAI, and any endpoint that speaks its chat-completions protocol."""

from typing_extensions import override

from lollms_core.protocols.catalog import OpenAICatalog
from lollms_core.protocols.dialects import GENERIC, OPENAI
from lollms_core.protocols.openai import ChatCodec
from lollms_server.core.bindings.http import HttpBinding, HttpProtocol

__all__ = ["OpenAIBinding"]


class OpenAIBinding(HttpBinding):
    """One OpenAI-compatible endpoint."""

    binding_type_name = "openai_binding"
    default_url = "https://api.openai.com/v1"

    @override
    def protocol(self, url: str) -> HttpProtocol:
        dialect = OPENAI if url == self.default_url else GENERIC
        return HttpProtocol(ChatCodec(dialect), OpenAICatalog(dialect))
