"""Embeddings: POST /api/v1/embed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from lollms_core.errors import EngineError, PayloadTooLarge
from lollms_core.types import Embeddings
from lollms_server.api.models import EmbedRequest, EmbedResponse
from lollms_server.api.routes import EXTENSION, JsonRoute, answered, errors, services
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.foreign import translated
from lollms_server.core.errands import errand
from lollms_server.core.tokens import aside

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)

_STATUSES = (400, 404, 408, 409, 413, 415, 422, 499, 501, 502, 503, 504)
_EXAMPLE = {
    "embeddings": [[0.0123, -0.0456, 0.0789]],
    "model_name": "text-embedding-3-small",
    "usage": {"prompt_tokens": 4, "completion_tokens": None, "total_tokens": 4},
}


@router.post(
    "/embed",
    summary="Embed Texts using a Binding Instance",
    response_model=EmbedResponse,
    responses={**answered(_EXAMPLE), **errors(*_STATUSES)},
    openapi_extra=EXTENSION,
)
async def embed(body: EmbedRequest, request: Request) -> Response:
    """A vector for each text, in the order of the texts."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    house = services(request)
    _check_sizes(texts, house.loaded.config.limits.max_item_bytes)
    async with errand(
        house,
        request.scope["state"],
        request.receive,
        binding_name=body.binding_name,
        model_name=body.model_name,
        runs_model=True,
    ) as binding:
        with translated(binding):
            async with binding.model_ready(body.model_name):
                given = await binding.embed(texts, body.model_name)
        vectors = await aside(len(texts) * 1000, _checked, given, len(texts), binding)
    model = _whole(given.model or body.model_name or binding.default_model_name)
    return _json({"embeddings": vectors, "model_name": model, "usage": given.usage})


def _whole(name: Any) -> str | None:
    """A name as a text that can be sent: a binding's may hold half of a character."""
    return str(name).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if name else None


def _check_sizes(texts: Sequence[str], most: int) -> None:
    for index, text in enumerate(texts):
        if len(text) > most or len(text.encode("utf-8", "surrogatepass")) > most:
            raise PayloadTooLarge(f"input[{index}] is larger than the limit of {most} bytes.", param="input")


def _checked(given: Any, wanted: int, binding: Binding) -> Sequence[Sequence[float]]:
    """The vectors of a binding, which may be anybody's code: as many as texts, all of one length, all of numbers."""
    name = f"Binding instance {binding.binding_instance_name!r}"
    if not isinstance(given, Embeddings):
        raise EngineError(f"{name} answered {type(given).__name__} where embeddings belong.")
    vectors = given.vectors
    if len(vectors) != wanted:
        raise EngineError(f"{name} gave {len(vectors)} vectors for {wanted} texts.")
    if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise EngineError(f"{name} gave vectors of different lengths, or none with numbers.")
    try:
        sound = all(map(_is_sound, vectors))
    except TypeError as error:
        raise EngineError(f"{name} gave vectors that do not hold numbers.") from error
    if not sound:
        raise EngineError(f"{name} gave vectors with numbers that are not finite.")
    return vectors


def _is_sound(vector: Sequence[float]) -> bool:
    return math.isfinite(sum(vector)) or all(map(math.isfinite, vector))


def _json(body: object) -> Response:
    """Not through the models: each of the numbers would be checked once more."""
    return Response(msgspec.json.encode(body), media_type="application/json")
