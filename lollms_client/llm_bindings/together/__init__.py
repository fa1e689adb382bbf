"""Together AI: open models."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "TogetherBinding"


class TogetherBinding(ChatBinding):
    """Together AI; see `ChatBinding`."""

    binding_name = "together"
    dialect = DIALECTS["together"]
