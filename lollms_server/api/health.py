"""GET /health, which needs no key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from lollms_server.api.models import HealthResponse
from lollms_server.api.routes import errors, services

__all__ = ["router"]

router = APIRouter()

_SUMMARY = "Check Server Health and Configuration Status"
_OPEN: dict[str, Any] = {"security": []}  # no key is asked for
_RESPONSES = errors()
_RESPONSES.pop(401)


@router.head("/health", include_in_schema=False)
@router.head("/api/v1/health", include_in_schema=False)
@router.get("/health", response_model=HealthResponse, responses=_RESPONSES, summary=_SUMMARY, openapi_extra=_OPEN)
@router.get(
    "/api/v1/health", response_model=HealthResponse, responses=_RESPONSES, summary=_SUMMARY, openapi_extra=_OPEN
)
async def health(request: Request) -> Response:
    """Status, version, whether a key is required, and how far the models are. No key is needed."""
    house = services(request)
    said = HealthResponse(
        version=house.version, api_key_required=house.loaded.keys.required, models=house.manager.models
    )
    return Response(said.model_dump_json(), media_type="application/json")
