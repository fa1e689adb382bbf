"""OpenAI, and whoever speaks its chat-completions protocol: `host_address` is the base URL, with its version."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import OPENAI

__all__ = ["BindingName", "OpenAIBinding"]

BindingName = "OpenAIBinding"


class OpenAIBinding(ChatBinding):
    """OpenAI's models, and those of servers that speak as it does.

    The key is `service_key`, else the environment variable OPENAI_API_KEY, which goes to OpenAI alone, or to the
    address in OPENAI_BASE_URL. See `ChatBinding` for the rest.
    """

    binding_name = "openai"
    dialect = OPENAI
    address_variable = "OPENAI_BASE_URL"
    knows_others = True
