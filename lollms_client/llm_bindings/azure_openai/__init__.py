"""Azure OpenAI: OpenAI's models in a resource of one's own, where a model is named by its deployment."""

from lollms_client.chat_binding import ChatBinding
from lollms_core.protocols.dialects import DIALECTS

BindingName = "AzureOpenAIBinding"


class AzureOpenAIBinding(
    ChatBinding,
    aliases={"azure_endpoint": "host_address", "azure_api_key": "service_key", "azure_api_version": "api-version"},
):
    """Azure OpenAI; see `ChatBinding`."""

    binding_name = "azure_openai"
    dialect = DIALECTS["azure_openai"]
    address_variable = "AZURE_OPENAI_ENDPOINT"
