"""A LocalAI server."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "LocalAIBinding"


class LocalAIBinding(ChatBinding):
    """LocalAI; see `ChatBinding`."""

    binding_name = "localai"
    dialect = DIALECTS["localai"]
