"""TensorRT-LLM's own server."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "TensorRTBinding"


class TensorRTBinding(ChatBinding):
    """TensorRT-LLM server; see `ChatBinding`."""

    binding_name = "tensor_rt"
    dialect = DIALECTS["tensor_rt"]
