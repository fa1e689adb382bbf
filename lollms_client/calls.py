"""From the documented arguments to a `GenerationCall`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lollms_client.images import ImageSource
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.messages import AnyMessage, AnyTool, messages_of, tools_of
from lollms_client.parameters import checked_params
from lollms_core.errors import InvalidRequest
from lollms_core.types import GenerationCall

__all__ = ["call_for", "split_prompt"]


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
) -> GenerationCall:
    """The call that a binding is asked. Without `model` it names the binding's own. Raises `InvalidRequest`."""
    if schema is not None and not isinstance(schema, Mapping):
        raise InvalidRequest("The schema must be a dictionary that holds a JSON Schema.", param="schema")
    return GenerationCall(
        messages=messages_of(prompt, system, images),
        model=model or binding.model_name or "",
        params=checked_params(params),
        stream=stream,
        tools=tools_of(tools),
        schema=schema,
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
