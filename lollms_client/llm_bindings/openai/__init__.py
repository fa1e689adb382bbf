"""OpenAI, and whoever speaks its chat-completions protocol: `host_address` is the base URL, with its version."""

from typing import Any

from typing_extensions import override

from lollms_client.chat_binding import ChatBinding
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT
from lollms_core.protocols.base import Codec
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.responses_routing import codec_for

__all__ = ["BindingName", "OpenAIBinding"]

BindingName = "OpenAIBinding"


class OpenAIBinding(ChatBinding):
    """OpenAI's models, and those of servers that speak as it does.

    The key is `service_key`, else the environment variable OPENAI_API_KEY, which goes to OpenAI alone, or to the
    address in OPENAI_BASE_URL. `api` is `chat` for /chat/completions, `responses` for /responses, or `auto` for
    /responses where a model is served over nothing else. See `ChatBinding` for the rest.
    """

    binding_name = "openai"
    dialect = OPENAI
    address_variable = "OPENAI_BASE_URL"
    knows_others = True

    def __init__(self, *args: Any, api: str | None = "auto", **others: Any) -> None:
        """See the class and `ChatBinding`. Raises `InvalidRequest` also for an unknown `api`."""
        super().__init__(*args, **others)
        self._chat = codec_for(api or "auto", self.dialect)

    @property
    @override
    def codec(self) -> Codec:
        """The protocol of the completion format, which for a chat is that of `api`."""
        return self._chat if self.completion_format is ELF_COMPLETION_FORMAT.Chat else super().codec
