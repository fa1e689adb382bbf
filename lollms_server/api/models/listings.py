"""The answers that tell what there is, what runs and what was loaded."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from lollms_server.api.models.base import Answer

__all__ = [
    "BindingInstanceInfo",
    "BindingTypeInfo",
    "DefaultBindings",
    "GetDefaultBindingsResponse",
    "GetModelInfoResponse",
    "HealthResponse",
    "ListActiveBindingsResponse",
    "ListAvailableModelsResponse",
    "ListBindingsResponse",
    "ListFunctionsResponse",
    "ListModelsResponse",
    "ListPersonalitiesResponse",
    "ModelDetails",
    "ModelInfoError",
    "ModelsByKind",
    "PersonalityInfo",
    "ProblemInfo",
    "QueueResponse",
    "ReloadResponse",
    "RunningRequest",
    "WaitingRequest",
]


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
