"""What an instance knows of its models, in the documented form whatever the binding says.

A binding may be anybody's code. What it says of a model is taken field by field: a documented field of a usable type
is passed on, everything else goes into `details`, in a form that JSON can hold and without the server's secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, get_args

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from lollms_core.errors import (
    EngineError,
    InstanceUnavailable,
    InvalidRequest,
    LollmsError,
    NotFound,
    UnknownModel,
    meaning,
)
from lollms_runtime.secrets import Scrubber
from lollms_server.api.models import (
    ErrorResponse,
    GetModelInfoResponse,
    ListAvailableModelsResponse,
    ModelDetails,
    ModelInfoError,
)
from lollms_server.api.routes import JsonRoute, errors, request_id, services
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.adapter import translated
from lollms_server.core.errands import errand
from lollms_server.core.responses import public_message
from lollms_server.core.services import Services

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)

_INSTANCE = Path(max_length=512, description="The configured name of a binding instance.", examples=["my_ollama"])
_MODEL = Query(
    default=None, max_length=512, description="A model of the instance; else its default.", examples=["llama3:8b"]
)
_STATUSES = (408, 409, 422, 499, 501, 502, 503, 504)
_NOT_FOUND = {
    "model": ModelInfoError | ErrorResponse,
    "description": "There is no instance of that name, or it knows no such model: then the usual fields come, too.",
}

_TYPE_OF_OUTPUT = {"image": "tti", "video": "ttv", "audio": "tts"}
_TYPES = get_args(get_args(GetModelInfoResponse.model_fields["model_type"].annotation)[0])
_MOST = 2**53


@router.get(
    "/list_available_models/{binding_instance_name}",
    summary="List Models Available to a Specific Binding Instance",
    responses=errors(404, *_STATUSES),
    response_model=ListAvailableModelsResponse,
)
async def list_available_models(request: Request, binding_instance_name: str = _INSTANCE) -> Response:
    """The models that an instance can use; fields are null where its backend does not say."""
    house = services(request)
    async with AsyncExitStack() as stack:
        try:
            binding = await stack.enter_async_context(_errand(request, binding_instance_name))
        except InstanceUnavailable as error:
            if not error.param:  # it is still loading, or the server stops
                raise
            raise NotFound(f"Binding instance {binding_instance_name!r} failed to load.") from error
        with translated(binding):
            listed = await binding.list_available_models()
    models = list(_models(listed, binding_instance_name, house.loaded.scrubber))
    return _json(ListAvailableModelsResponse(binding_instance_name=binding_instance_name, models=models))


@router.get(
    "/get_model_info/{binding_instance_name}",
    summary="Get Information about a Specific Model via a Binding",
    responses={**errors(*_STATUSES), 404: _NOT_FOUND},
    response_model=GetModelInfoResponse,
)
async def get_model_info(
    request: Request, binding_instance_name: str = _INSTANCE, model_name: str | None = _MODEL
) -> Response:
    """What an instance knows of a model: the one named, else its default or the one it has loaded."""
    house = services(request)
    async with _errand(request, binding_instance_name, model_name) as binding:
        try:
            with translated(binding):
                given = await binding.get_model_info(model_name or None)
            return _json(_info(house, binding, model_name, _known(given, binding_instance_name, model_name)))
        except (InvalidRequest, NotFound) as error:
            return _not_known(house, binding, model_name, error, request_id(request))


def _errand(request: Request, instance: str, model: str | None = None) -> AbstractAsyncContextManager[Binding]:
    """A backend may take long to answer: the question can be listed and stopped, and ends when its caller leaves."""
    house, state = services(request), request.scope["state"]
    return errand(house, state, request.receive, binding_name=instance, model_name=model, runs_model=False)


def _known(given: Any, instance: str, model: str | None) -> Mapping[str, Any]:
    """What a binding said of a model. Raises `UnknownModel` when that is that there is none."""
    if given is not None and not isinstance(given, Mapping):
        raise EngineError(f"Binding instance {instance!r} described a model in an unusable way.")
    details = (given or {}).get("details")
    missing = isinstance(details, Mapping) and details.get("status") == "not_found"
    if not given or given.get("error") or missing:
        words = str((given or {}).get("error") or "")
        raise UnknownModel(words or f"Binding instance {instance!r} knows no model {model or ''!r}.")
    return given


def _info(house: Services, binding: Binding, asked: str | None, given: Mapping[str, Any]) -> GetModelInfoResponse:
    name = asked or given.get("model_name") or given.get("name") or binding.default_model_name
    sees, hears = given.get("supports_vision") is True, given.get("supports_audio") is True
    streams = given.get("supports_streaming")
    context = given.get("context_size", given.get("ctx_size"))
    own = {*GetModelInfoResponse.model_fields, "name", "ctx_size", "error"}
    return GetModelInfoResponse(
        binding_instance_name=binding.binding_instance_name,
        model_name=str(name) if name else None,
        model_type=_model_type(binding, given, sees=sees),
        context_size=_count(context) or house.manager.defaults.default_context_size,
        max_output_tokens=_count(given.get("max_output_tokens")),
        supports_vision=sees,
        supports_audio=hears,
        supports_streaming=streams if isinstance(streams, bool) else binding.supports_streaming,
        details=_details(given, own, binding.binding_instance_name, house.loaded.scrubber),
    )


def _not_known(house: Services, binding: Binding, asked: str | None, error: LollmsError, id: str) -> Response:
    """The documented reply for a model that an instance does not know, with the fields that every error has."""
    words = house.loaded.scrubber.clean(public_message(error))
    name = str(asked or binding.default_model_name or "") or None
    said = ModelInfoError(
        binding_instance_name=binding.binding_instance_name,
        model_name=name,
        supports_streaming=binding.supports_streaming,
        details={"status": "not_found"},
        error=words,
        detail=words,
        code=meaning(UnknownModel).code,
        request_id=id,
    )
    return _json(said, 404)


def _model_type(binding: Binding, given: Mapping[str, Any], *, sees: bool) -> Any:
    """What the binding says, else what follows from what can come out of it and go into it."""
    if (said := given.get("model_type")) in _TYPES:
        return said
    outputs, inputs = binding.get_supported_output_modalities(), binding.get_supported_input_modalities()
    if "text" in outputs:
        if "text" not in inputs and "audio" in inputs:
            return "stt"
        return "vlm" if sees else "ttt"
    return next((kind for output, kind in _TYPE_OF_OUTPUT.items() if output in outputs), "generic")


def _models(given: Any, instance: str, scrubber: Scrubber) -> Iterator[ModelDetails]:
    """Models as a binding describes them: by a dictionary each, or by name alone."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise EngineError(f"Binding instance {instance!r} listed its models in an unusable way.")
    fields = ModelDetails.model_fields
    for each in given:
        model = {"name": each} if isinstance(each, str) else each
        if not isinstance(model, Mapping):
            raise EngineError(f"Binding instance {instance!r} described a model in an unusable way.")
        known = {name: value for name, value in model.items() if name in fields and name != "details"}
        details = _details(model, {*fields, "model_name"}, instance, scrubber)
        try:
            yield ModelDetails.model_validate({"name": model.get("model_name", ""), **known, "details": details})
        except ValidationError as error:
            raise EngineError(f"Binding instance {instance!r} described a model in an unusable way.") from error


def _details(given: Mapping[str, Any], own: set[str], instance: str, scrubber: Scrubber) -> dict[str, Any]:
    """What is not a field of its own, and the binding's own details, as JSON."""
    details = given.get("details")
    whole = {**{name: value for name, value in given.items() if name not in own}}
    whole.update(details if isinstance(details, Mapping) else {})
    try:
        plain = to_jsonable_python(whole, inf_nan_mode="null", fallback=lambda value: type(value).__name__)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise EngineError(f"Binding instance {instance!r} described a model in an unusable way.") from error
    return dict(_clean(plain, scrubber))


def _clean(value: Any, scrubber: Scrubber) -> Any:
    """The value with every secret in its texts hidden."""
    if isinstance(value, str):
        return scrubber.clean(value)
    if isinstance(value, list):
        return [_clean(each, scrubber) for each in value]
    if isinstance(value, dict):
        return {scrubber.clean(str(name)): _clean(each, scrubber) for name, each in value.items()}
    return value


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST else None


def _json(said: BaseModel, status: int = 200) -> Response:
    return Response(said.model_dump_json(), status, media_type="application/json")
