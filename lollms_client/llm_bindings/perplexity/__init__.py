"""Perplexity: models that search the web before they answer."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "PerplexityBinding"


class PerplexityBinding(ChatBinding):
    """Perplexity; see `ChatBinding`."""

    binding_name = "perplexity"
    dialect = DIALECTS["perplexity"]
    default_model = "sonar"
