"""OpenAI, and any endpoint that speaks its chat-completions protocol."""

from lollms_core.protocols.dialects import GENERIC, OPENAI
from lollms_server.core.http_binding import HttpBinding

__all__ = ["OpenAIBinding"]


class OpenAIBinding(HttpBinding):
    """One OpenAI-compatible endpoint."""

    binding_type_name = "openai_binding"
    dialect = OPENAI
    elsewhere = GENERIC
    default_url = "https://api.openai.com/v1"
