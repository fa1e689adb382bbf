"""The public routes: health, and a line for whoever opens the address in a browser."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from lollms_server.api.models import HealthResponse
from lollms_server.api.routes import services

__all__ = ["router"]

router = APIRouter()


@router.head("/health", include_in_schema=False)
@router.head("/api/v1/health", include_in_schema=False)
@router.get("/health", summary="Check Server Health", response_model=HealthResponse)
@router.get("/api/v1/health", summary="Check Server Health", response_model=HealthResponse)
async def health(request: Request) -> Response:
    """Status, version, whether a key is required, and how far the models are. No key is needed."""
    house = services(request)
    said = HealthResponse(
        version=house.version, api_key_required=house.loaded.keys.required, models=house.manager.models
    )
    return Response(said.model_dump_json(), media_type="application/json")


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def root(request: Request) -> PlainTextResponse:
    """Says that the server is here."""
    return PlainTextResponse("LOLLMS Server is running. See /health; with a key, /openapi.json describes the API.\n")
