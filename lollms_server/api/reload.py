"""POST /api/v1/reload: take up changed instances, personalities and functions."""

from __future__ import annotations

from fastapi import APIRouter, Request

from lollms_server.api.models import ReloadResponse
from lollms_server.api.routes import EXTENSION, JsonRoute, errors, problems, services

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)


@router.post(
    "/reload",
    summary="Reload Instances, Personalities and Functions",
    responses=errors(415, 503),
    openapi_extra=EXTENSION,
)
async def reload(request: Request) -> ReloadResponse:
    """Take up what has changed in the files of instances, personalities and functions, and in `bindings_map`,
    `defaults` and `personalities_config` of the main configuration. A version that does not load replaces nothing.
    """
    report = await services(request).reloader.reload()
    return ReloadResponse(loaded=report.loaded, kept=report.kept, failed=problems(services(request), report.failed))
