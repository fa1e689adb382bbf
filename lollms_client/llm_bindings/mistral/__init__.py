"""Mistral AI's own platform."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "MistralBinding"


class MistralBinding(ChatBinding, aliases={"mistral_api_key": "service_key"}):
    """Mistral AI; see `ChatBinding`."""

    binding_name = "mistral"
    dialect = DIALECTS["mistral"]
    default_model = "mistral-large-latest"
