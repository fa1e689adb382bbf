"""What there is: binding types, instances, their models, the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Path, Request
from pydantic import ValidationError

from lollms_core.errors import InstanceUnavailable, NotFound, UpstreamFailed
from lollms_server.api.models import (
    BindingTypeInfo,
    DefaultBindings,
    GetDefaultBindingsResponse,
    ListActiveBindingsResponse,
    ListAvailableModelsResponse,
    ListBindingsResponse,
    ModelDetails,
)
from lollms_server.api.routes import JsonRoute, errors, services
from lollms_server.core.adapter import translated
from lollms_server.core.instances import Card

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)


@router.get("/list_bindings", summary="List Binding Types and Instances", responses=errors())
async def list_bindings(request: Request) -> ListBindingsResponse:
    """The binding types found and the instances configured, without secrets."""
    manager = services(request).manager
    return ListBindingsResponse.model_validate(
        {
            "binding_types": {name: _type_info(card) for name, card in manager.types.items()},
            "binding_instances": manager.listed(),
        }
    )


@router.get("/list_active_bindings", summary="List Loaded Instances", responses=errors())
async def list_active_bindings(request: Request) -> ListActiveBindingsResponse:
    """The instances that are loaded, without secrets."""
    return ListActiveBindingsResponse.model_validate({"bindings": services(request).manager.active()})


@router.get("/get_default_bindings", summary="Get Default Instances and Parameters", responses=errors())
async def get_default_bindings(request: Request) -> GetDefaultBindingsResponse:
    """The default instance for each kind of generation."""
    defaults = services(request).loaded.config.defaults
    return GetDefaultBindingsResponse(defaults=DefaultBindings(**defaults.model_dump()))


@router.get(
    "/list_available_models/{binding_instance_name}",
    summary="List Models of an Instance",
    responses=errors(404, 501, 502, 503, 504),
)
async def list_available_models(
    request: Request, binding_instance_name: str = Path(max_length=512)
) -> ListAvailableModelsResponse:
    """The models that an instance can use."""
    manager = services(request).manager
    try:
        binding = await manager.get(binding_instance_name)
    except InstanceUnavailable as error:
        raise NotFound(f"Binding instance {binding_instance_name!r} failed to load.") from error
    with translated(binding):
        models = await binding.list_available_models()
    return ListAvailableModelsResponse(
        binding_instance_name=binding_instance_name, models=[_model(model, binding_instance_name) for model in models]
    )


def _type_info(card: Card) -> BindingTypeInfo:
    return BindingTypeInfo(
        type_name=card.type_name,
        display_name=card.display_name,
        version=card.version,
        author=card.author,
        description=card.description,
        requirements=list(card.requirements),
        supports_streaming=card.supports_streaming,
        documentation_url=card.documentation_url,
        supported_output_modalities=list(card.supported_output_modalities),
        supported_input_modalities=list(card.supported_input_modalities),
    )


def _model(given: Mapping[str, Any], instance: str) -> ModelDetails:
    """A model as a binding describes it; what is not a documented field goes into `details`."""
    fields = ModelDetails.model_fields
    known = {name: value for name, value in given.items() if name in fields and name != "details"}
    more = {name: value for name, value in given.items() if name not in fields}
    details = {**more, **(given.get("details") or {})}
    try:
        return ModelDetails(**{"name": given.get("model_name", ""), **known}, details=details)
    except ValidationError as error:
        raise UpstreamFailed(f"Binding instance {instance!r} described a model in an unusable way.") from error
