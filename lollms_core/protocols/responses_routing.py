"""Chat completions where a model has them, Responses where it is served over nothing else.

Which models those are is known of OpenAI's own address for the families that were ever so, and learned elsewhere: a
provider that is asked over the wrong one says so, and from then on that model is asked over the other. To the lessons
(see `lessons`) the choice is a field of the request named `api:chat`, which a model can refuse like any other.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import msgspec

from lollms_core.errors import InvalidRequest, LollmsError
from lollms_core.protocols.base import Codec, HttpRequest, HttpResponse, Limits, Reader, Target
from lollms_core.protocols.dialects import OPENAI, Dialect, dialect_at
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.prompt_tools import chat_codec
from lollms_core.protocols.retry import RetryPolicy
from lollms_core.types import GenerationCall, ReceiptItem

if TYPE_CHECKING:
    from lollms_core.protocols.responses import ResponsesCodec

__all__ = ["APIS", "RoutingCodec", "codec_for", "is_served_over_responses", "wants_responses"]

APIS = ("auto", "chat", "responses")
"""What a binding may be told: to find out, or which of the two it is for all models."""

_CHAT = "api:chat"  # as no provider would name anything

_FAMILIES = re.compile(
    r"o\d+-pro|gpt-\d+(?:\.\d+)?-(?:pro|codex|cyber)|codex-|o\d+(?:-mini)?-deep-research|computer-use"
)

_ELSEWHERE = re.compile(
    r"\bresponses api\b|/responses\b|not a chat model\b.*chat/completions|"
    r"\bchatcompletion operation does not work\b|"
    r"not (?:accessible via|supported (?:in|on|for)) the /?(?:v1/)?chat/completions endpoint|"
    r"/?chat/completions endpoint is not supported",
    re.IGNORECASE,
)
_CODES = frozenset({"unsupported_api_for_model", "response_api_only", "responses_api_only"})
_STATUSES = (400, 404, 422)


def is_served_over_responses(model: str) -> bool:
    """Whether OpenAI serves a model over Responses alone: pro, codex, cyber, deep research, computer use.

    All models of these families have Responses, those that have chat completions too among them.
    """
    return _FAMILIES.match(model.strip().lower()) is not None


def wants_responses(error: LollmsError) -> bool:
    """Whether an answer to a request for chat completions says that the model is to be asked over Responses.

    OpenAI says "This model is only supported in v1/responses and not in v1/chat/completions." or "This is not a chat
    model and thus not supported in the v1/chat/completions endpoint.", both with 404, Azure "The chatCompletion
    operation does not work with the specified model", and gateways have codes of their own.
    """
    if error.status not in _STATUSES:
        return False
    return error.upstream_code in _CODES or _ELSEWHERE.search(error.message) is not None


def codec_for(api: str, dialect: Dialect) -> Codec:
    """The codec for one of `APIS`. Raises `InvalidRequest` for another word."""
    if api not in APIS:
        raise InvalidRequest(f"api is {api!r}; it can be {', '.join(APIS[:-1])} or {APIS[-1]}.", param="api")
    if api == "chat" or dialect.tools == "prompt":
        return chat_codec(dialect)
    return _responses(dialect) if api == "responses" else RoutingCodec(dialect)


def _responses(dialect: Dialect, limits: Limits | None = None) -> ResponsesCodec:
    from lollms_core.protocols.responses import ResponsesCodec  # most need none

    return ResponsesCodec(dialect, limits)


class RoutingCodec:
    """Chat completions, or Responses, as the model of each call needs it."""

    def __init__(self, dialect: Dialect, limits: Limits | None = None) -> None:
        self.dialect = dialect
        self.chat = ChatCodec(dialect, limits)
        self.limits = limits

    @property
    def retry(self) -> RetryPolicy | None:
        """What the protocol says about trying again, if anything."""
        return getattr(self.chat, "retry", None)

    def prepare(self, call: GenerationCall, target: Target) -> Generator[Any, HttpResponse, HttpRequest]:
        """The request over the one of the two that the model has. Raises as they do."""
        codec = self._codec(call, target)
        request = yield from codec.prepare(call, target)
        if codec is not self.chat:
            return request
        return msgspec.structs.replace(request, optional=(*request.optional, _CHAT))

    def reader(
        self,
        call: GenerationCall,
        content_type: str,
        target: Target | None = None,
        receipt: tuple[ReceiptItem, ...] = (),
    ) -> Reader:
        """The reader of whichever was asked: `target` must hold the lessons that the request was made with."""
        codec = self.chat if target is None else self._codec(call, target)
        return codec.reader(call, content_type, target, receipt)

    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error; of a refusal of chat completions, one of the field `api:chat`.

        It has the status of a refused field, because a provider's 404 says no more than that the address has no such
        model. The status that came is in its message.
        """
        error = self.chat.error(response, target)
        if not wants_responses(error) or _is_learned(target):
            return error
        return InvalidRequest(
            error.message,
            status=400,
            upstream_code="unsupported_parameter",
            provider=error.provider,
            request_id=error.request_id,
            param=_CHAT,
        )

    def _codec(self, call: GenerationCall, target: Target) -> ChatCodec | ResponsesCodec:
        own = dialect_at(target.base_url).name == OPENAI.name
        if _is_learned(target) or (own and is_served_over_responses(call.model or target.model)):
            return _responses(self.dialect, self.limits)
        return self.chat


def _is_learned(target: Target) -> bool:
    return any(lesson.field == _CHAT for lesson in target.lessons)
