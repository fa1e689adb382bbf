"""DeepSeek's own platform."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "DeepSeekBinding"


class DeepSeekBinding(ChatBinding):
    """DeepSeek; see `ChatBinding`."""

    binding_name = "deepseek"
    dialect = DIALECTS["deepseek"]
