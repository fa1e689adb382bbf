"""xAI: the Grok models."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "GrokBinding"


class GrokBinding(ChatBinding):
    """Grok (xAI); see `ChatBinding`."""

    binding_name = "grok"
    dialect = DIALECTS["grok"]
    default_model = "grok-1.5-vision-preview"
