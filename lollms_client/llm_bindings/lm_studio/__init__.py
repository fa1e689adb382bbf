"""LM Studio's server."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "LMStudioBinding"


class LMStudioBinding(ChatBinding):
    """LM Studio; see `ChatBinding`."""

    binding_name = "lm_studio"
    dialect = DIALECTS["lm_studio"]
