"""From the documented arguments to a `GenerationCall`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lollms_client.images import ImageSource, image_parts
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.messages import AnyMessage, AnyTool, messages_of, tools_of
from lollms_client.parameters import checked_params
from lollms_core.errors import InvalidRequest
from lollms_core.protocols.image_limits import NO_LIMITS, ImageLimits
from lollms_core.types import GenerationCall, Message, ReceiptItem

if TYPE_CHECKING:
    from lollms_client.fitting import Fitted

__all__ = ["Asked", "PreparedCall", "call_for", "split_prompt"]


class PreparedCall(NamedTuple):
    """A call, and what was changed about it on the way here (an image that was made smaller)."""

    call: GenerationCall
    receipt: tuple[ReceiptItem, ...] = ()


class Asked(NamedTuple):
    """What a caller asks of a binding, as it was given; `prepared` checks it.

    `discussion` is a caller's own discussion and the message to go on from, for bindings that can only `chat`.
    """

    binding: LollmsLLMBinding
    prompt: str | Sequence[AnyMessage]
    params: Mapping[str, Any]
    stream: bool
    system: str | None = None
    images: Iterable[ImageSource] | ImageSource | None = None
    tools: Sequence[AnyTool] | None = None
    schema: Mapping[str, Any] | None = None
    model: str | None = None
    discussion: tuple[Any, str | None] | None = None

    @property
    def is_heavy(self) -> bool:
        """Whether preparing may read files and decode images, which belongs on a thread."""
        return self.images is not None or not isinstance(self.prompt, str)

    def prepared(self) -> PreparedCall:
        """The call that the binding is asked. Raises `InvalidRequest`."""
        return call_for(
            self.binding,
            self.prompt,
            params=self.params,
            stream=self.stream,
            system=self.system,
            images=self.images,
            tools=self.tools,
            schema=self.schema,
            model=self.model,
        )


def call_for(
    binding: LollmsLLMBinding,
    prompt: str | Sequence[AnyMessage],
    *,
    params: Mapping[str, Any],
    stream: bool,
    system: str | None = None,
    images: Iterable[ImageSource] | ImageSource | None = None,
    tools: Sequence[AnyTool] | None = None,
    schema: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> PreparedCall:
    """The call that a binding is asked. Without `model` it names the binding's own. Raises `InvalidRequest`."""
    if schema is not None and not isinstance(schema, Mapping):
        raise InvalidRequest("The schema must be a dictionary that holds a JSON Schema.", param="schema")
    parts = image_parts(images)
    messages = messages_of(prompt, system, parts)
    receipt: tuple[ReceiptItem, ...] = ()
    if any(message.images for message in messages):
        messages, receipt = _fitted(binding, messages, len(parts), 1 if system else 0)
    call = GenerationCall(
        messages=messages,
        model=model or binding.model_name or "",
        params=checked_params(params),
        stream=stream,
        tools=tools_of(tools),
        schema=schema,
    )
    return PreparedCall(call, receipt)


def _fitted(binding: LollmsLLMBinding, messages: Sequence[Message], given: int, first: int) -> Fitted:
    """The messages with images as the binding's backend takes them. What is needed for that is only imported here."""
    from lollms_client.fitting import fit_messages

    limits = getattr(binding, "image_limits", NO_LIMITS)  # a binding of somebody else's may have none
    return fit_messages(messages, limits if isinstance(limits, ImageLimits) else NO_LIMITS, given, first)


def split_prompt(
    binding: LollmsLLMBinding, prompt: str, split: bool | None, user_keyword: str | None, ai_keyword: str | None
) -> str | Sequence[AnyMessage]:
    """The prompt as it is, or with `split` the messages of the discussion it holds."""
    if not split:
        return prompt
    return binding.split_discussion(
        prompt, user_keyword=user_keyword or "!@>user:", ai_keyword=ai_keyword or "!@>assistant:"
    )
