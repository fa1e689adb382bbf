"""`ChatBinding`: providers that speak OpenAI's chat-completions protocol. A provider is a row of the table of dialects.

class GroqBinding(ChatBinding, aliases={"groq_api_key": "service_key"}):
    binding_name = "groq"
    dialect = DIALECTS["groq"]
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from lollms_client.completion_format import completion_format
from lollms_client.http_binding import HttpBinding
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT
from lollms_core.errors import MissingDependency, Refused, UnsupportedFeature
from lollms_core.protocols.base import Codec, Timeouts
from lollms_core.protocols.dialects import dialect_at, in_its_form

if TYPE_CHECKING:
    from lollms_runtime.tokenizers import OfflineTokenizers, Tokenizer

__all__ = ["ChatBinding"]


class ChatBinding(HttpBinding):
    """A provider that speaks the chat-completions protocol, at its own address or at the one that is given.

    The key is `service_key`, else the environment variable of the provider's row, which goes to the provider alone.
    `default_completion_format` is Chat, or Instruct for models that continue a text and know no chat: they are asked
    over /completions, and a conversation becomes one text with `!@>` headers.

    With the class: `aliases`, other names of the constructor's arguments and of what the row has in its query. Class
    attributes: `default_model`, the model where none is named; `default_key`, what is sent where there is no key;
    `knows_others`, whether another provider's row is used at that one's address.
    """

    aliases: ClassVar[Mapping[str, str]] = {}
    default_model: ClassVar[str] = ""
    default_key: ClassVar[str] = ""
    knows_others: ClassVar[bool] = False

    def __init_subclass__(cls, aliases: Mapping[str, str] | None = None) -> None:
        """The row says where the provider is, and where its key is kept."""
        super().__init_subclass__()
        cls.aliases = cls.aliases if aliases is None else aliases
        cls.default_address = cls.dialect.address
        cls.key_variable = cls.dialect.key_variable

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = "",
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        default_completion_format: object = None,
        timeouts: Mapping[str, float | None] | Timeouts | float | None = None,
        **others: Any,
    ) -> None:
        """See `HttpBinding`; `others` are `aliases`, and what else there is is ignored with a warning.

        Raises `InvalidRequest` also for an unknown completion format.
        """
        given = {self.aliases[name]: value for name, value in others.items() if name in self.aliases and value}
        if unknown := sorted(set(others) - {*self.aliases, "models_path"}):  # every binding is offered that one
            logging.getLogger("lollms_client").warning(
                "The LLM binding %r does not take %s; it is made without.", self.binding_name, ", ".join(unknown)
            )
        super().__init__(
            given.get("host_address") or host_address,
            given.get("model_name") or model_name or self.default_model,
            given.get("service_key") or service_key or self.default_key,
            verify_ssl_certificate,
            given.get("timeouts") or timeouts,
        )
        self.dialect = dialect_at(self.host_address) if self.knows_others else self.dialect
        self.dialect = in_its_form(self.dialect, self.host_address)
        self._options = {
            name: given.get(name) or os.environ.get(variable, "").strip() or default
            for name, (variable, default) in self.dialect.query.items()
        }
        self.completion_format = completion_format(default_completion_format)
        self._tokenizers: OfflineTokenizers | None = None

    @property
    @override
    def codec(self) -> Codec:
        """The protocol of the completion format, which for a chat may depend on the model."""
        if self.completion_format is ELF_COMPLETION_FORMAT.Instruct:
            from lollms_core.protocols.openai_completions import CompletionCodec
            from lollms_core.protocols.prompt_tools import with_prompt_tools

            return with_prompt_tools(CompletionCodec(self.dialect))
        if self.dialect.responses_path:
            from lollms_core.protocols.responses_routing import codec_for

            return codec_for("auto", self.dialect)
        return super().codec

    @override
    def options(self) -> Mapping[str, object]:
        """What belongs into the query."""
        return self._options

    @override
    def refused(self, error: Refused) -> Refused:
        """Says how to start the server, where it is one that people run themselves."""
        row = self.dialect
        if not row.start:
            return error
        return Refused(
            f"No {row.name} server answers at {self.host_address}. Start it with {row.start}, or give the address of a "
            f"running one as host_address, for example {row.address}."
        )

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
