"""OpenAI, and whoever speaks its chat-completions protocol: `host_address` is the base URL, with its version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lollms_client.asking import described
from lollms_client.completion_format import completion_format
from lollms_client.http_binding import HttpBinding
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT
from lollms_core.errors import Cancelled, LollmsError, MissingDependency, UnsupportedFeature
from lollms_core.protocols.base import Codec, Timeouts
from lollms_core.protocols.dialects import GENERIC, OPENAI
from lollms_core.types import ModelInfo

if TYPE_CHECKING:
    from lollms_runtime.tokenizers import OfflineTokenizers, Tokenizer

BindingName = "OpenAIBinding"


class OpenAIBinding(HttpBinding):
    """OpenAI's models, and those of servers that speak as it does.

    The key is `service_key`, else the environment variable OPENAI_API_KEY, which goes to OpenAI alone, or to the
    address in OPENAI_BASE_URL. `default_completion_format` is Chat, or Instruct for models that continue a text and
    know no chat: they are asked over /completions, and a conversation becomes one text with `!@>` headers.
    """

    binding_name = "openai"
    dialect = OPENAI
    dialect_elsewhere = GENERIC
    default_address = "https://api.openai.com/v1"
    key_variable = "OPENAI_API_KEY"
    address_variable = "OPENAI_BASE_URL"

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = "",
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        default_completion_format: object = None,
        timeouts: Mapping[str, float | None] | Timeouts | None = None,
    ) -> None:
        """See `HttpBinding`. Raises `InvalidRequest` also for an unknown completion format."""
        super().__init__(host_address, model_name, service_key, verify_ssl_certificate, timeouts)
        self.completion_format = completion_format(default_completion_format)
        self._tokenizers: OfflineTokenizers | None = None

    @property
    @override
    def codec(self) -> Codec:
        """The protocol of the completion format."""
        if self.completion_format is ELF_COMPLETION_FORMAT.Instruct:
            from lollms_core.protocols.openai_completions import CompletionCodec

            return CompletionCodec(self.dialect)
        return super().codec

    @override
    def list_models(self) -> list[Any]:
        """The server's models as dictionaries: `model_name`, `context_size` and abilities where it states them.

        Raises `LollmsError`.
        """
        return [described(model, sure=False) for model in self._models()]

    @override
    def get_model_info(self) -> dict[str, Any]:
        """The current model, where it is asked, and what the server's list of models says of it, if there is one."""
        known = super().get_model_info()
        return {**self._described(self.model_name), **known} if self.model_name else known

    @override
    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context size of a model in tokens; None where no list of models can be had that states it."""
        return self._described(model_name or self.model_name).get("context_size")

    @override
    def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text, exact and without a network, for OpenAI's models where the tokenizers are installed.

        Raises `MissingDependency` where they are not, `UnsupportedFeature` for other models.
        """
        return list(self._exact().encode(text))

    @override
    def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens; raises as `tokenize` does."""
        return self._exact().decode(tokens)

    @override
    def count_tokens(self, text: str) -> int:
        """How many tokens a text has: exact where `tokenize` is, else an estimate (see `lollms_core.text.tokens`)."""
        from lollms_core.text.tokens import estimate

        tokenizer = self._tokenizer()
        return estimate(text) if tokenizer is None else tokenizer.count(text)

    def _tokenizer(self) -> Tokenizer | None:
        from lollms_runtime.tokenizers import OfflineTokenizers

        if self._tokenizers is None:
            self._tokenizers = OfflineTokenizers()
        return self._tokenizers.for_model(self.model_name or "")

    def _exact(self) -> Tokenizer:
        from lollms_runtime.tokenizers import vocabulary_of

        if (tokenizer := self._tokenizer()) is not None:
            return tokenizer
        if vocabulary_of(self.model_name or ""):
            raise MissingDependency("The tokenizers of OpenAI's models are an extra: lollms install tokenizers")
        raise UnsupportedFeature(
            f"This protocol has no way to be asked for tokens, and the tokenizer of the model {self.model_name!r} is "
            "not known. count_tokens estimates how many there are."
        )

    def _described(self, name: str | None) -> dict[str, Any]:
        try:
            found = next((model for model in self._models() if model.name == name), None)
        except Cancelled:
            raise
        except LollmsError:
            return {}  # the facts are an addition; whoever needs the server will be told what is wrong with it
        return described(found, sure=False) if found is not None else {}

    def _models(self) -> list[ModelInfo]:
        from lollms_core.protocols.openai import models_request, parse_models

        return parse_models(self.fetch(models_request(self.target, self.dialect)))
