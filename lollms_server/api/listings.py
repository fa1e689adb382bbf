"""What there is: binding types, instances, personalities, functions, model files, the defaults."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Path, Request, Response

from lollms_core.errors import NotFound
from lollms_server.api.models import (
    BindingTypeInfo,
    DefaultBindings,
    GetDefaultBindingsResponse,
    ListActiveBindingsResponse,
    ListBindingsResponse,
    ListFunctionsResponse,
    ListModelsResponse,
    ListPersonalitiesResponse,
    ModelsByKind,
)
from lollms_server.api.routes import EXTENSION, JsonRoute, errors, problems, services
from lollms_server.core.bindings.instances import Card
from lollms_server.core.model_folders import scan

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)

_RASTER = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Pictures that a browser shows without running anything in them."""

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/list_bindings",
    summary="List Discovered Binding Types and Configured Instances",
    responses=errors(503),
)
async def list_bindings(request: Request) -> ListBindingsResponse:
    """The binding types found and the instances configured, without secrets, and what could not be loaded."""
    house = services(request)
    return ListBindingsResponse.model_validate(
        {
            "binding_types": {name: _type_info(card) for name, card in house.manager.types.items()},
            "binding_instances": house.manager.listed(),
            "problems": problems(house, house.manager.problems),
        }
    )


@router.get(
    "/list_active_bindings",
    summary="List Successfully Loaded Binding Instances",
    responses=errors(503),
)
async def list_active_bindings(request: Request) -> ListActiveBindingsResponse:
    """The instances that are loaded, without secrets."""
    return ListActiveBindingsResponse.model_validate({"bindings": services(request).manager.active()})


@router.get(
    "/get_default_bindings",
    summary="Get Current Default Binding Instances & Parameters",
    responses=errors(),
)
async def get_default_bindings(request: Request) -> GetDefaultBindingsResponse:
    """The default instance for each kind of generation, and the limits used where a model states none."""
    return GetDefaultBindingsResponse(defaults=DefaultBindings(**services(request).manager.defaults.model_dump()))


@router.get(
    "/list_personalities",
    summary="List Available Personalities",
    responses=errors(503),
)
async def list_personalities(request: Request) -> ListPersonalitiesResponse:
    """The personalities that are loaded and enabled, by name, and those that could not be loaded."""
    house = services(request)
    manager = house.personalities
    return ListPersonalitiesResponse.model_validate(
        {
            "personalities": {name: each.public() for name, each in manager.personalities.items()},
            "problems": problems(house, manager.problems),
        }
    )


@router.get(
    "/personality_icon/{personality_name}",
    summary="Get the Icon of a Personality",
    response_class=Response,
    responses={
        200: {
            "description": "The picture.",
            "content": dict.fromkeys((*_RASTER, "application/octet-stream"), _BYTES),
        },
        **errors(404, 422),
    },
    openapi_extra=EXTENSION,
)
async def personality_icon(
    request: Request,
    personality_name: str = Path(max_length=512, description="The name of a personality.", examples=["lollms"]),
) -> Response:
    """The bytes of a personality's icon, under the type that they have; anything but PNG, JPEG, GIF and WebP only as a
    file to be saved."""
    personality = services(request).personalities.get(personality_name)
    icon = await asyncio.to_thread(personality.icon)
    if icon is None:
        raise NotFound(f"Personality {personality_name!r} has no icon.", param="personality_name")
    data, kind = icon
    headers = {"cache-control": "private, max-age=300"}
    if kind not in _RASTER:
        kind, headers["content-disposition"] = "application/octet-stream", "attachment"
    return Response(data, media_type=kind, headers=headers)


@router.get(
    "/list_functions",
    summary="List Available Custom Functions",
    responses=errors(503),
)
async def list_functions(request: Request) -> ListFunctionsResponse:
    """The functions that are loaded, each named file.function, and the files that could not be loaded."""
    house = services(request)
    return ListFunctionsResponse(
        functions=sorted(house.functions.names()), problems=problems(house, house.functions.problems)
    )


@router.get(
    "/list_models",
    summary="List Discovered Models in Folder (File Scan)",
    responses=errors(),
)
async def list_models(request: Request) -> ListModelsResponse:
    """The names that lie in the subfolders of the models folder; whether an instance can use them is not looked at."""
    found = await asyncio.to_thread(scan, services(request).loaded.folders.models)
    return ListModelsResponse(models=ModelsByKind(**found))


def _type_info(card: Card) -> dict[str, Any]:
    fields: Any = BindingTypeInfo.model_fields
    return {name: getattr(card, name) for name in fields}
