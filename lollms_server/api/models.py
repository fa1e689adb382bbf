"""The bodies of the API: documented models, every field of them bounded.

A request may hold fields that are not known here; they are ignored, so that a newer client can talk to an older
server. A known field of the wrong type is refused with 422. Nothing is converted: `"true"` is not a boolean.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lollms_server.core.parameters import MAX_PARAMETERS

__all__ = [
    "BindingInstanceInfo",
    "BindingTypeInfo",
    "CountTokensRequest",
    "CountTokensResponse",
    "DetokenizeRequest",
    "DetokenizeResponse",
    "EmbedRequest",
    "EmbedResponse",
    "ErrorResponse",
    "FieldProblem",
    "FunctionSpec",
    "GenerateRequest",
    "GenerateResponse",
    "GetDefaultBindingsResponse",
    "GetModelInfoResponse",
    "HealthResponse",
    "InputData",
    "ListActiveBindingsResponse",
    "ListAvailableModelsResponse",
    "ListBindingsResponse",
    "ListFunctionsResponse",
    "ListModelsResponse",
    "ListPersonalitiesResponse",
    "ModelDetails",
    "ModelInfoError",
    "ModelsByKind",
    "OutputData",
    "PersonalityInfo",
    "ProblemInfo",
    "QueueResponse",
    "ReloadResponse",
    "RunningRequest",
    "StreamChunk",
    "TokenizeRequest",
    "TokenizeResponse",
    "ToolSpec",
    "UsageInfo",
    "WaitingRequest",
]

MAX_DATA = 32 * 2**20
"""Characters of one item, whatever `limits.max_item_bytes` says."""

Name = Annotated[str, Field(min_length=1, max_length=512)]
Text = Annotated[str, Field(max_length=MAX_DATA)]
Key = Annotated[str, Field(max_length=256)]
Metadata = Annotated[dict[Key, Any], Field(max_length=64)]

_NOT_NULL = ("stream", "parameters", "generation_type")

GenerationType = Literal["ttt", "tti", "ttv", "ttm", "tts", "stt", "i2i", "audio2audio"]


class Request(BaseModel):
    """Base of what callers send."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class Answer(BaseModel):
    """Base of what the server sends."""

    model_config = ConfigDict(frozen=True)


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


class FieldProblem(Answer):
    """What is wrong with one field of a request."""

    loc: list[str | int]
    msg: str


class ErrorResponse(Answer):
    """The body of every error: a sentence, a stable code for programs, and the id of the request."""

    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = Field(default=None, description="With status 422: the fields at fault.")


class HealthResponse(Answer):
    """How the server is."""

    status: Literal["ok"] = "ok"
    version: str
    api_key_required: bool
    models: Literal["loading", "ready", "failed"]


class BindingTypeInfo(Answer):
    """A binding type as its card describes it."""

    type_name: str
    display_name: str
    version: str
    author: str
    description: str
    requirements: list[str]
    supports_streaming: bool
    documentation_url: str | None
    supported_output_modalities: list[str]
    supported_input_modalities: list[str]


class BindingInstanceInfo(Answer):
    """The settings of an instance that its card declares and does not mark as secret."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    binding_instance_name: str


class ProblemInfo(Answer):
    """Something that could not be loaded, and why."""

    name: str
    file: str = Field(default="", description="The name of the file at fault, without folders.")
    line: int | None = Field(default=None, description="Counted from 1.")
    reason: str


class ListBindingsResponse(Answer):
    """All types and all configured instances."""

    binding_types: dict[str, BindingTypeInfo]
    binding_instances: dict[str, BindingInstanceInfo]
    problems: list[ProblemInfo] = Field(
        default_factory=list, description="Types and instances that could not be loaded (an extension)."
    )


class ListActiveBindingsResponse(Answer):
    """The instances that are loaded."""

    bindings: dict[str, BindingInstanceInfo]


class ModelDetails(Answer):
    """A model of an instance; null where its backend does not say."""

    name: str
    size: int | None = None
    modified_at: str | None = None
    quantization_level: str | None = None
    format: str | None = None
    family: str | None = None
    families: list[str] | None = None
    parameter_size: str | None = None
    context_size: int | None = None
    max_output_tokens: int | None = None
    template: str | None = None
    license: str | None = None
    homepage: str | None = None
    supports_vision: bool = False
    supports_audio: bool = False
    details: dict[str, Any] = Field(default_factory=dict)


class ListAvailableModelsResponse(Answer):
    """The models of an instance."""

    binding_instance_name: str
    models: list[ModelDetails]


class DefaultBindings(Answer):
    """The instance for each kind of generation, and the limits used where a model states none."""

    ttt_binding: str | None
    tti_binding: str | None
    tts_binding: str | None
    stt_binding: str | None
    ttv_binding: str | None
    ttm_binding: str | None
    default_context_size: int
    default_max_output_tokens: int


class GetDefaultBindingsResponse(Answer):
    """The defaults section of the configuration."""

    defaults: DefaultBindings


class PersonalityInfo(Answer):
    """A personality as it describes itself."""

    name: str
    author: str
    version: str
    description: str
    category: str | None
    language: str | None
    tags: list[str]
    icon: str | None
    is_scripted: bool
    path: str = Field(description="Relative to the folder that holds the personalities.")


class ListPersonalitiesResponse(Answer):
    """The personalities that can be used."""

    personalities: dict[str, PersonalityInfo]
    problems: list[ProblemInfo] = Field(
        default_factory=list, description="Personalities that could not be loaded (an extension)."
    )


class ListFunctionsResponse(Answer):
    """The functions, each named file.function."""

    functions: list[str]
    problems: list[ProblemInfo] = Field(
        default_factory=list, description="Files of functions that could not be loaded (an extension)."
    )


class ModelsByKind(Answer):
    """What lies in the subfolders of the models folder."""

    ttt: list[str]
    tti: list[str]
    ttv: list[str]
    ttm: list[str]
    tts: list[str]
    stt: list[str]
    audio2audio: list[str]
    i2i: list[str]
    gguf: list[str]
    diffusers_models: list[str]


class ListModelsResponse(Answer):
    """The model files and folders of this machine."""

    models: ModelsByKind


class GetModelInfoResponse(Answer):
    """What an instance knows of a model; sizes in tokens, null where its backend does not say."""

    binding_instance_name: str
    model_name: str | None
    model_type: Literal["ttt", "tti", "tts", "stt", "ttv", "ttm", "vlm", "generic"] | None = None
    context_size: int | None = None
    max_output_tokens: int | None = None
    supports_vision: bool = False
    supports_audio: bool = False
    supports_streaming: bool = False
    details: dict[str, Any] = Field(default_factory=dict)


class ModelInfoError(GetModelInfoResponse):
    """The answer for a model that the instance does not know: the usual fields, and those of every error."""

    error: str
    detail: str
    code: str
    request_id: str


TokenId = Annotated[int, Field(ge=0, le=2**32 - 1)]


class TextRequest(Request):
    """Base of the requests that ask for an instance's tokenizer."""

    text: Text
    binding_name: Name | None = Field(default=None, description="An instance; else the default for text.")
    model_name: Name | None = Field(default=None, description="A model of the instance; else its default.")
    add_bos: bool = Field(default=False, description="Whether the token that begins a text is added.")
    add_eos: bool = Field(default=False, description="Whether the token that ends a text is added.")


class TokenizeRequest(TextRequest):
    """The body of POST /tokenize."""


class CountTokensRequest(TextRequest):
    """The body of POST /count_tokens."""


class TokenizeResponse(Answer):
    """The tokens of a text."""

    tokens: list[int]
    count: int


class CountTokensResponse(Answer):
    """How many tokens a text has."""

    count: int
    exact: bool = Field(description="False when the number is an estimate (an extension).")


class DetokenizeRequest(Request):
    """The body of POST /detokenize."""

    tokens: Annotated[list[TokenId], Field(max_length=4_000_000)]
    binding_name: Name | None = Field(default=None, description="An instance; else the default for text.")
    model_name: Name | None = Field(default=None, description="A model of the instance; else its default.")


class DetokenizeResponse(Answer):
    """The text of tokens."""

    text: str


class EmbedRequest(Request):
    """The body of POST /embed."""

    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    binding_name: Name | None = Field(default=None, description="An instance; else the default for text.")
    model_name: Name | None = Field(default=None, description="A model of the instance; else its default.")


class UsageInfo(Answer):
    """Tokens as the backend counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class EmbedResponse(Answer):
    """One vector for each text, in the order of the texts."""

    embeddings: list[list[float]]
    model_name: str | None
    usage: UsageInfo | None = None


class RunningRequest(Answer):
    """A request that runs."""

    request_id: str
    binding_name: str
    model_name: str
    seconds: float
    stream: bool


class WaitingRequest(Answer):
    """A request that waits; `position` counts those that wait before it."""

    request_id: str
    position: int


class QueueResponse(Answer):
    """What runs and what waits."""

    running: list[RunningRequest]
    waiting: list[WaitingRequest]


class ReloadResponse(Answer):
    """What a reload did. What failed and was running before goes on as it was, and stands in `kept`, too."""

    loaded: list[str]
    kept: list[str]
    failed: list[ProblemInfo]
