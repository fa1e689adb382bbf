"""What all routes share: how a body is read, how the services are found, and which errors stand in the OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from typing_extensions import override

from lollms_core.errors import InvalidRequest
from lollms_server.api.models import ErrorResponse, ProblemInfo
from lollms_server.core.problems import Problem
from lollms_server.core.responses import public_message
from lollms_server.core.services import Services

__all__ = ["ERRORS", "EXTENSION", "JsonRoute", "answered", "errors", "problems", "request_id", "services"]

EXTENSION: dict[str, Any] = {"x-extension": True}
"""Marks a route in the OpenAPI that the documentation of lollms does not have."""

_WORDS = {
    400: "The request matches, but cannot be served: an unknown model, a parameter out of bounds, no default binding.",
    401: "The key is not one of the server's.",
    403: "No key was given, or a web page of another origin asks.",
    404: "Nothing of that name.",
    408: "The request waited too long for its turn.",
    409: "A request with this id is running.",
    413: "The body, or one item of it, is too large.",
    415: "The body is not JSON.",
    421: "The Host header names another server.",
    422: "The body does not match.",
    429: "Too many requests; see Retry-After.",
    499: "The request was stopped before its end.",
    500: "A defect of the server.",
    501: "The binding cannot do this.",
    502: "The backend failed, broke its protocol or refused the server's key.",
    503: "The instance failed to load, or its backend is not there or too busy.",
    504: "The backend took too long.",
}

ALWAYS = (400, 401, 403, 413, 421, 429, 500)
"""Statuses that any route behind the guard may have."""

ERRORS = tuple(_WORDS)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these statuses and those that every route has."""
    return {status: {"model": ErrorResponse, "description": _WORDS[status]} for status in sorted({*statuses, *ALWAYS})}


def answered(example: Any) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: an example of its success, which must not hold null (FastAPI leaves that out)."""
    return {200: {"content": {"application/json": {"example": example}}}}


def problems(house: Services, found: Iterable[Problem]) -> list[ProblemInfo]:
    """Problems as callers may see them: without folders and secrets."""
    return [
        ProblemInfo(
            name=each.name,
            file=each.file,
            line=each.line,
            reason=house.loaded.scrubber.clean(public_message(InvalidRequest(each.reason))),
        )
        for each in found
    ]


def services(request: Request) -> Services:
    """The services of the application that serves a request."""
    return cast(Services, request.app.state.services)


def request_id(request: Request) -> str:
    """The id that the guard gave the request."""
    return str(request.scope["state"]["request_id"])


class _JsonRequest(Request):
    """A request whose JSON is read with bounded depth, and without NaN, huge numbers or halves of characters."""

    @override
    async def json(self) -> Any:
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False, cache_strings="none")
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


class JsonRoute(APIRoute):
    """A route that reads its body so."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle
