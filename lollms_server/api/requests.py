"""Requests under way: listing and stopping them."""

from __future__ import annotations

from fastapi import APIRouter, Path, Request, Response

from lollms_server.api.models import QueueResponse, RunningRequest, WaitingRequest
from lollms_server.api.routes import EXTENSION, JsonRoute, errors, services

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)


@router.get("/queue", summary="List Requests under Way", responses=errors(), openapi_extra=EXTENSION)
async def queue(request: Request) -> QueueResponse:
    """The requests that run, oldest first, and those that wait for a free place, in the order of the queue."""
    under_way = services(request).registry.snapshot()
    waiting = [
        WaitingRequest(request_id=each.request_id, position=each.position)
        for each in under_way
        if each.position is not None
    ]
    running = [
        RunningRequest(
            request_id=each.request_id,
            binding_name=each.instance,
            model_name=each.model,
            seconds=each.seconds,
            stream=each.stream,
        )
        for each in under_way
        if each.position is None
    ]
    return QueueResponse(running=running, waiting=sorted(waiting, key=lambda each: each.position))


@router.delete(
    "/requests/{request_id}",
    status_code=204,
    summary="Stop a Request",
    responses=errors(404, 422),
    openapi_extra=EXTENSION,
)
async def stop_request(
    request: Request,
    request_id: str = Path(
        max_length=64, description="The X-Request-ID of the request.", examples=["a1b2c3d4e5f6a7b8"]
    ),
) -> Response:
    """Stop a request that waits or runs. Its caller gets what has come so far and the error `cancelled`."""
    services(request).registry.cancel(request_id)
    return Response(status_code=204)
