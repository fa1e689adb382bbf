"""An Open WebUI server."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "OpenWebUIBinding"


class OpenWebUIBinding(ChatBinding):
    """Open WebUI; see `ChatBinding`."""

    binding_name = "openwebui"
    dialect = DIALECTS["openwebui"]
