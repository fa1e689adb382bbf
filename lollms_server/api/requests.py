"""Running requests: listing and stopping them."""

from __future__ import annotations

from fastapi import APIRouter, Path, Request, Response

from lollms_server.api.routes import JsonRoute, errors, services

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)


@router.delete("/requests/{request_id}", status_code=204, summary="Stop a Request", responses=errors(404))
async def stop_request(
    request: Request, request_id: str = Path(max_length=64, description="The X-Request-ID of the request.")
) -> Response:
    """Stop a request that waits or runs. Its caller gets what has come so far and the error `cancelled`."""
    services(request).registry.cancel(request_id)
    return Response(status_code=204)
