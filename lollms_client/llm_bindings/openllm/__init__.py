"""An OpenLLM server."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "OpenLLMBinding"


class OpenLLMBinding(ChatBinding, aliases={"timeout": "timeouts"}):
    """OpenLLM server; see `ChatBinding`."""

    binding_name = "openllm"
    dialect = DIALECTS["openllm"]
