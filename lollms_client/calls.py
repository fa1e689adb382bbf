"""From the documented arguments to a `GenerationCall`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lollms_client.images import ImageSource
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.messages import AnyMessage, AnyTool, messages_of, tools_of
from lollms_client.parameters import checked_params
from lollms_core.errors import InvalidRequest
from lollms_core.types import GenerationCall, ReceiptItem

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
    images: Sequence[ImageSource] | ImageSource | None = None
    tools: Sequence[AnyTool] | None = None
    schema: Mapping[str, Any] | None = None
    model: str | None = None
    discussion: tuple[Any, str | None] | None = None

    @property
    def is_heavy(self) -> bool:
        """Whether preparing may read files and decode images, which belongs on a thread."""
        return bool(self.images) or not isinstance(self.prompt, str)

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
    images: Sequence[ImageSource] | ImageSource | None = None,
    tools: Sequence[AnyTool] | None = None,
    schema: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> PreparedCall:
    """The call that a binding is asked. Without `model` it names the binding's own. Raises `InvalidRequest`."""
    if schema is not None and not isinstance(schema, Mapping):
        raise InvalidRequest("The schema must be a dictionary that holds a JSON Schema.", param="schema")
    return PreparedCall(
        GenerationCall(
            messages=messages_of(prompt, system, images),
            model=model or binding.model_name or "",
            params=checked_params(params),
            stream=stream,
            tools=tools_of(tools),
            schema=schema,
        )
    )


def split_prompt(
    binding: LollmsLLMBinding, prompt: str, split: bool | None, user_keyword: str | None, ai_keyword: str | None
) -> str | Sequence[AnyMessage]:
    """The prompt as it is, or with `split` the messages of the discussion it holds."""
    if not split:
        return prompt
    return binding.split_discussion(
        prompt, user_keyword=user_keyword or "!@>user:", ai_keyword=ai_keyword or "!@>assistant:"
    )
