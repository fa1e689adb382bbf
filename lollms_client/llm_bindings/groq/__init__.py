"""Groq: open models on chips of its own."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "GroqBinding"


class GroqBinding(ChatBinding, aliases={"groq_api_key": "service_key"}):
    """Groq; see `ChatBinding`."""

    binding_name = "groq"
    dialect = DIALECTS["groq"]
    default_model = "llama3-8b-8192"
