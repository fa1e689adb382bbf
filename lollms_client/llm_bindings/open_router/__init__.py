"""OpenRouter: the models of many providers with one key."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "OpenRouterBinding"


class OpenRouterBinding(ChatBinding, aliases={"open_router_api_key": "service_key"}):
    """OpenRouter; see `ChatBinding`."""

    binding_name = "open_router"
    dialect = DIALECTS["open_router"]
    default_model = "google/gemini-flash-1.5"
