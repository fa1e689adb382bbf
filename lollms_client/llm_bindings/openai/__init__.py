"""OpenAI, and whoever speaks its chat-completions protocol: `host_address` is the base URL, with its version."""

from lollms_client.http_binding import HttpBinding
from lollms_core.protocols.dialects import GENERIC, OPENAI

BindingName = "OpenAIBinding"


class OpenAIBinding(HttpBinding):
    """OpenAI's models; the key is `service_key`, else the environment variable OPENAI_API_KEY."""

    binding_name = "openai"
    dialect = OPENAI
    dialect_elsewhere = GENERIC
    default_address = "https://api.openai.com/v1"
    key_variable = "OPENAI_API_KEY"
