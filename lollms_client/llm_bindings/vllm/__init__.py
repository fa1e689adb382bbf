"""A vLLM server."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "VLLMBinding"


class VLLMBinding(ChatBinding):
    """vLLM server; see `ChatBinding`."""

    binding_name = "vllm"
    dialect = DIALECTS["vllm"]
