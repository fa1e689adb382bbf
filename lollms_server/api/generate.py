"""POST /api/v1/generate."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from lollms_core.errors import NotFound
from lollms_runtime.observe import LogObserver
from lollms_runtime.secrets import Scrubber
from lollms_server.api.calls import build_call
from lollms_server.api.models import GenerateRequest, GenerateResponse
from lollms_server.api.routes import ERRORS, JsonRoute, errors, key_id, request_id, services
from lollms_server.core.delivery import Patience, deliver
from lollms_server.core.requests import LOG, RequestContext
from lollms_server.core.services import Services
from lollms_server.core.work import Work, resources_of

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)

_STREAM_EXAMPLE = (
    'data: {"type":"chunk","content":"Hello","thoughts":null,"metadata":{}}\n\n'
    'data: {"type":"final","content":[{"type":"text","data":"Hello","mime_type":null,"thoughts":null,"metadata":{}}],'
    '"thoughts":null,"metadata":{"request_id":"a1b2c3d4e5f6a7b8"}}\n\n'
)


class _Generation(Response):
    """The answer of a piece of work, made while it is sent."""

    def __init__(self, work: Work, patience: Patience, scrubber: Scrubber) -> None:
        self.status_code = 200
        self.background = None
        self._work = work
        self._patience = patience
        self._scrubber = scrubber

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await deliver(self._work, scope, receive, send, self._patience, self._scrubber)


@router.post(
    "/generate",
    summary="Generate Multimodal Output",
    response_model=GenerateResponse,
    responses={
        **errors(*ERRORS),
        200: {
            "description": "The whole answer; with `stream: true` a stream of `StreamChunk` events.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _STREAM_EXAMPLE}},
        },
    },
)
async def generate(body: GenerateRequest, request: Request) -> Response:
    """Generate with a binding instance, in one piece or as a stream of server-sent events."""
    house = services(request)
    return _Generation(await _work(body, request, house), house.patience, house.loaded.scrubber)


async def _work(body: GenerateRequest, request: Request, house: Services) -> Work:
    if body.personality is not None:
        raise NotFound(f"Personality {body.personality!r} not found or disabled.", param="personality")
    instance, binding = await house.manager.for_request(body.binding_name, body.generation_type)
    call, receipt = build_call(body, instance, binding, house.loaded.config.limits.max_item_bytes)
    name = request_id(request)
    context = RequestContext(
        name,
        key=key_id(request),
        observer=LogObserver(LOG, name),
        instance=instance,
        model=call.model,
        stream=body.stream,
        generation_type=body.generation_type,
    )
    resources = resources_of(instance, binding, call.model)
    return Work(call, binding, context, resources, house.registry, house.scheduler, receipt)
