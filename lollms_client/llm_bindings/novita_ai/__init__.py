"""Novita AI: open models."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "NovitaAIBinding"


class NovitaAIBinding(ChatBinding):
    """Novita AI; see `ChatBinding`."""

    binding_name = "novita_ai"
    dialect = DIALECTS["novita_ai"]
