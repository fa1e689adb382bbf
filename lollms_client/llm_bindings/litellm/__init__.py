"""A LiteLLM proxy."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "LiteLLMBinding"


class LiteLLMBinding(ChatBinding):
    """LiteLLM proxy; see `ChatBinding`."""

    binding_name = "litellm"
    dialect = DIALECTS["litellm"]
    default_key = "anything"
