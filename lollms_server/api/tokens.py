"""Tokens: POST /api/v1/tokenize, /detokenize and /count_tokens."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import cast

import msgspec
from fastapi import APIRouter, Request, Response

from lollms_core.errors import PayloadTooLarge
from lollms_server.api.models import (
    CountTokensRequest,
    CountTokensResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from lollms_server.api.routes import JsonRoute, answered, errors, services
from lollms_server.core.bindings import Binding
from lollms_server.core.errands import errand
from lollms_server.core.tokens import Tokens

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", route_class=JsonRoute)

_STATUSES = (400, 404, 408, 409, 413, 415, 422, 499, 501, 502, 503, 504)


@router.post(
    "/tokenize",
    summary="Tokenize Text using a Binding Instance",
    response_model=TokenizeResponse,
    responses={**answered({"tokens": [1, 1724, 421, 29901], "count": 4}), **errors(*_STATUSES)},
)
async def tokenize(body: TokenizeRequest, request: Request) -> Response:
    """The tokens of a text, by the tokenizer of an instance's model."""
    _check_size(request, body.text)
    async with _errand(request, body) as binding:
        tokens = await _tokens(request).tokenize(
            binding, body.text, body.model_name, add_bos=body.add_bos, add_eos=body.add_eos
        )
    return _json({"tokens": tokens, "count": len(tokens)})


@router.post(
    "/detokenize",
    summary="Detokenize Tokens using a Binding Instance",
    response_model=DetokenizeResponse,
    responses={**answered({"text": "This is the detokenized text."}), **errors(*_STATUSES)},
)
async def detokenize(body: DetokenizeRequest, request: Request) -> Response:
    """The text of tokens, by the tokenizer of an instance's model."""
    async with _errand(request, body) as binding:
        text = await _tokens(request).detokenize(binding, body.tokens, body.model_name)
    return _json({"text": text})


@router.post(
    "/count_tokens",
    summary="Count Tokens in Text using a Binding Instance",
    response_model=CountTokensResponse,
    responses={**answered({"count": 25, "exact": True}), **errors(*_STATUSES)},
)
async def count_tokens(body: CountTokensRequest, request: Request) -> Response:
    """How many tokens a text has for an instance's model; an estimate, marked as such, where nobody can say."""
    _check_size(request, body.text)
    async with _errand(request, body) as binding:
        found = await _tokens(request).count(
            binding, body.text, body.model_name, add_bos=body.add_bos, add_eos=body.add_eos
        )
    return _json({"count": found.count, "exact": found.exact})


def _errand(
    request: Request, body: TokenizeRequest | DetokenizeRequest | CountTokensRequest
) -> AbstractAsyncContextManager[Binding]:
    return errand(
        services(request),
        request.scope["state"],
        request.receive,
        binding_name=body.binding_name,
        model_name=body.model_name,
        runs_model=False,
    )


def _tokens(request: Request) -> Tokens:
    """The application's own, made when it is first wanted."""
    state = request.app.state
    if not hasattr(state, "tokens"):
        state.tokens = Tokens()
    return cast(Tokens, state.tokens)


def _check_size(request: Request, text: str) -> None:
    most = services(request).loaded.config.limits.max_item_bytes
    if len(text) > most or len(text.encode("utf-8", "surrogatepass")) > most:
        raise PayloadTooLarge(f"text is larger than the limit of {most} bytes.", param="text")


def _json(body: object) -> Response:
    """Not through the models: a list of a million tokens would be checked once more."""
    return Response(msgspec.json.encode(body), media_type="application/json")
