"""POST /api/v1/generate."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from lollms_server.api.models import GenerateRequest, GenerateResponse, StreamChunk
from lollms_server.api.routes import ERRORS, JsonRoute, errors, services
from lollms_server.core.delivery import deliver
from lollms_server.core.work import Work, work_of

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)

_STREAM_EXAMPLE = (
    'data: {"type":"chunk","content":"Hello","thoughts":null,"metadata":{}}\n\n'
    'data: {"type":"final","content":[{"type":"text","data":"Hello","mime_type":null,"thoughts":null,"metadata":{}}],'
    '"thoughts":null,"metadata":{"request_id":"a1b2c3d4e5f6a7b8"}}\n\n'
)


class _Generation(Response):
    """The answer of a piece of work, made while it is sent."""

    def __init__(self, work: Work) -> None:
        self.status_code = 200
        self.background = None
        self._work = work

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver(self._work, scope, receive, send)


@router.post(
    "/generate",
    summary="Generate Multimodal Output",
    response_model=GenerateResponse,
    responses={
        **errors(*ERRORS),
        200: {
            "description": "The whole answer; with `stream: true` a stream of `StreamChunk` events.",
            "content": {
                "text/event-stream": {"schema": StreamChunk.model_json_schema(), "example": _STREAM_EXAMPLE},
            },
        },
    },
)
async def generate(body: GenerateRequest, request: Request) -> Response:
    """Generate with a binding instance, in one piece or as a stream of server-sent events."""
    return _Generation(work_of(body, request.scope["state"], services(request)))
