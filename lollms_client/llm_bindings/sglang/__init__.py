"""An SGLang server."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "SGLangBinding"


class SGLangBinding(ChatBinding):
    """SGLang server; see `ChatBinding`."""

    binding_name = "sglang"
    dialect = DIALECTS["sglang"]
