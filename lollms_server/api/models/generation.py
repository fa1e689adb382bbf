"""The bodies of POST /generate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lollms_server.api.models.base import MAX_DATA, Answer, Key, Metadata, Name, Request, Text
from lollms_server.core.parameters import MAX_PARAMETERS

__all__ = [
    "FunctionSpec",
    "GenerateRequest",
    "GenerateResponse",
    "GenerationType",
    "InputData",
    "OutputData",
    "StreamChunk",
    "ToolSpec",
]

_NOT_NULL = ("stream", "parameters", "generation_type")
GenerationType = Literal["ttt", "tti", "ttv", "ttm", "tts", "stt", "i2i", "audio2audio"]


class InputData(Request):
    """One piece of input."""

    type: Literal["text", "image", "audio", "video", "document"]
    role: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            description="How the item is used: user_prompt, system_context, input_image ...; earlier turns are text "
            "items of role user_message, assistant_message or tool_result, in order (an extension).",
        ),
    ]
    data: Annotated[str, Field(max_length=MAX_DATA, description="Text, or base64 of binary data.")]
    mime_type: Annotated[str, Field(max_length=127)] | None = None
    metadata: Metadata | None = Field(
        default=None,
        description="Extra information; tool_calls of an assistant_message and tool_call_id of a tool_result.",
    )


class FunctionSpec(Request):
    """A function that the model may ask for."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: Annotated[str, Field(max_length=16_384)] = ""
    parameters: Annotated[dict[Key, Any], Field(max_length=256)] = Field(
        default_factory=dict, description="A JSON Schema of type object."
    )


class ToolSpec(Request):
    """A tool, in the form of the chat-completions API."""

    type: Literal["function"] = "function"
    function: FunctionSpec


class GenerateRequest(Request):
    """The body of POST /generate."""

    input_data: Annotated[list[InputData], Field(min_length=1, max_length=1000)]
    text_prompt: Text | None = Field(
        default=None, deprecated=True, description="The user's prompt in one text; use input_data instead."
    )
    personality: Name | None = None
    binding_name: Name | None = Field(default=None, description="An instance; else the default of generation_type.")
    model_name: Name | None = Field(default=None, description="A model of the instance; else its default.")
    generation_type: GenerationType = "ttt"
    stream: bool = False
    parameters: Annotated[dict[Key, Any], Field(max_length=MAX_PARAMETERS)] = Field(
        default_factory=dict, description="max_tokens, temperature, top_p, top_k, seed, stop ..."
    )
    functions: Annotated[list[Name], Field(max_length=128)] | None = None
    tools: Annotated[list[ToolSpec], Field(max_length=128)] | None = Field(
        default=None, description="Tools that the model may ask for (an extension)."
    )
    response_schema: Annotated[dict[Key, Any], Field(max_length=256)] | None = Field(
        default=None, description="A JSON Schema that the answer must obey (an extension)."
    )

    @model_validator(mode="before")
    @classmethod
    def _nulls(cls, value: Any) -> Any:
        """A field that is null counts as left out, also where its default is not null."""
        if not isinstance(value, dict) or all(value.get(name, "") is not None for name in _NOT_NULL):
            return value
        return {name: given for name, given in value.items() if given is not None or name not in _NOT_NULL}

    @model_validator(mode="before")
    @classmethod
    def _prompt_alone(cls, value: Any) -> Any:
        """The older form: `text_prompt` stands in front of the input, or in its place."""
        if not isinstance(value, dict) or not isinstance(prompt := value.get("text_prompt"), str):
            return value
        items = value.get("input_data")
        if items is not None and not isinstance(items, list):
            return value
        first = {"type": "text", "role": "user_prompt", "data": prompt}
        return {**value, "text_prompt": None, "input_data": [first, *(items or [])]}


class OutputData(Answer):
    """One piece of output."""

    type: Literal["text", "image", "audio", "video", "json", "error", "info"]
    data: Any = None
    mime_type: str | None = None
    thoughts: str | None = None
    metadata: dict[str, Any] | None = Field(
        default_factory=dict,
        description="model_used, finish_reason, usage {prompt_tokens, completion_tokens, total_tokens}, "
        "receipt [{name, action, reason}]",
    )


class GenerateResponse(Answer):
    """The answer of POST /generate when it is not streamed."""

    personality: str | None = None
    request_id: str
    output: list[OutputData]
    execution_time: float = Field(description="Seconds.")


class StreamChunk(Answer):
    """One event of a streamed answer; the last one is `final`, with the whole output as its content."""

    type: Literal["chunk", "final", "error", "info", "function_call"]
    content: Any = None
    thoughts: str | None = None
    metadata: dict[str, Any] | None = None
