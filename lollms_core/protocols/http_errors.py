"""What an error answer of a backend means: HTTP status, error code and error type to a class of `lollms_core.errors`.

The order decides. A code that says exactly what is wrong comes first (`context_length_exceeded`), then the HTTP status,
then the vague families of types (`invalid_request_error` comes with a wrong key as well). Messages are shown to people
and never read by this code; control characters, our own key and everything past 500 characters are taken out before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from lollms_core.errors import (
    AuthFailed,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    PayloadTooLarge,
    ProtocolError,
    RateLimited,
    RedirectRefused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.json_limits import decode_lenient
from lollms_core.protocols.retry import parse_retry_after

__all__ = ["Problem", "error_of", "http_error", "not_the_protocol", "problem_of", "scrub", "secrets_of"]

MESSAGE_LENGTH = 500
SNIPPET_LENGTH = 200

_BY_CODE: dict[str, type[LollmsError]] = {
    "context_length_exceeded": ContextTooLong,
    "context_window_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "model_not_found": UnknownModel,
    "model_not_available": UnknownModel,
    "model_decommissioned": UnknownModel,
    "DeploymentNotFound": UnknownModel,
    "invalid_api_key": AuthFailed,
    "authentication_error": AuthFailed,
    "permission_error": AuthFailed,
    "permission_denied": AuthFailed,
    "insufficient_quota": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "overloaded_error": Overloaded,
    "server_overloaded": Overloaded,
    "service_unavailable": Overloaded,
    "unavailable_error": Overloaded,
    "not_supported_error": UnsupportedFeature,
    "unsupported_parameter": InvalidRequest,
    "unsupported_value": InvalidRequest,
    "content_policy_violation": InvalidRequest,
    "request_too_large": PayloadTooLarge,
    "timeout_error": UpstreamTimeout,
}

_BY_TYPE: dict[str, type[LollmsError]] = {
    "invalid_request_error": InvalidRequest,
    "not_found_error": InvalidRequest,
    "server_error": UpstreamFailed,
    "api_error": UpstreamFailed,
    "internal_error": UpstreamFailed,
    "internal_server_error": UpstreamFailed,
}

_BY_STATUS: dict[int, type[LollmsError]] = {
    401: AuthFailed,
    402: UpstreamError,
    403: AuthFailed,
    408: UpstreamTimeout,
    413: PayloadTooLarge,
    429: RateLimited,
    501: UnsupportedFeature,
    503: Overloaded,
    504: UpstreamTimeout,
    522: UpstreamTimeout,
    524: UpstreamTimeout,
    529: Overloaded,
}


class Problem(msgspec.Struct, frozen=True):
    """What the body of an error answer says, in any of the usual forms; "" where it does not."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str = ""
    status: int | None = None


def problem_of(body: object) -> Problem | None:
    """Read `{"error": {...} or "..."}`, `{"object": "error", ...}` or `{"detail": ...}`; None for anything else.

    A number in `code` is an HTTP status (llama.cpp, vLLM and gateways write it so).
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, str) and error:
        return Problem(message=error, code=_text(body.get("code")))
    if not isinstance(error, dict):
        if body.get("object") == "error" or ("message" in body and "choices" not in body):
            error = body
        elif "detail" in body:
            detail = body["detail"]
            return Problem(message=detail if isinstance(detail, str) else str(detail), code=_text(body.get("code")))
        else:
            return None
    code = error.get("code")
    status = code if isinstance(code, int) and 100 <= code < 600 else None
    return Problem(
        message=_text(error.get("message")) or str(error.get("message") or ""),
        code=_text(code),
        type=_text(error.get("type")),
        param=_text(error.get("param")),
        status=status,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def secrets_of(target: Target) -> tuple[str, ...]:
    """Every value of a target that must not appear in a message."""
    if not target.headers:
        return (target.key,) if len(target.key) >= 6 else ()
    values = (target.key, *target.headers.values())
    return tuple(value for value in values if len(value) >= 6)


def scrub(text: str, secrets: Iterable[str] = (), length: int = MESSAGE_LENGTH) -> str:
    """`text` fit to be shown: one line, no control or direction characters, no secrets, at most `length` characters.

    Taken out are the given secrets, and whatever looks like a key of somebody else.
    """
    text = _UNSEEN.sub("", re.sub(r"\s+", " ", text[: 20 * length])).strip()
    for secret in secrets:
        text = text.replace(secret, "•••")
    text = _NAMED.sub(r"\1•••", _KEYS.sub("•••", text))
    return text if len(text) <= length else text[: length - 1] + "…"


# C0, DEL and C1, soft hyphen, zero-width and bidirectional controls, byte order mark, halves of surrogate pairs, tags.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

_NAMED = re.compile(r"\b([\w-]*(?:key|token|secret|password)=)[^\s&\"'<>]{6,}", re.IGNORECASE)  # as in an address

_KEYS = re.compile(r"\b(?:sk|pk|gsk|xai|hf|lollms)[-_][\w*-]{20,}|\bAIza[\w-]{30,}|(?<=\bBearer )\S{6,}", re.IGNORECASE)


def error_of(
    problem: Problem, *, status: int | None = None, name: str = "", secrets: Iterable[str] = ()
) -> LollmsError:
    """The typed error for what a backend said; `status` is that of the answer, None inside of an answer with 200."""
    status = status if status is not None else problem.status
    kind = _BY_CODE.get(problem.code) or _BY_CODE.get(problem.type)
    if kind is None and status is not None:
        kind = _BY_STATUS.get(status) or (
            UpstreamFailed if status >= 500 else InvalidRequest if status >= 400 else None
        )
    if kind is None:
        kind = _BY_TYPE.get(problem.type, UpstreamError)
    said = "" if kind is AuthFailed else scrub(problem.message, secrets)
    return kind(
        _sentence(kind, status, name or "The backend", said),
        status=status,
        upstream_code=scrub(problem.code or problem.type, secrets, 100),
        provider=name,
        param=scrub(problem.param, secrets, 100),
    )


_WORDS: dict[type[LollmsError], str] = {
    AuthFailed: "{name} rejected the key. Check that the key is right, belongs to this address and may use this model",
    UnknownModel: "{name} has no such model. Ask it for its list of models and choose one of them",
    ContextTooLong: "{name} cannot take so long a conversation: the model's context is smaller. Shorten it",
    PayloadTooLarge: "{name} refused the request because it is too large. Send less text or smaller images",
    RateLimited: "{name} accepts no more requests right now. Wait and try again",
    Overloaded: "{name} is overloaded or still starting. Wait and try again",
    UpstreamTimeout: "{name} gave up waiting for its model. Try again, or ask for less at once",
    UnsupportedFeature: "{name} cannot do what was asked",
    UpstreamFailed: "{name} failed while it worked on the request. Try again later",
    InvalidRequest: "{name} did not accept the request",
    UpstreamError: "{name} reported an error",
}


def _sentence(kind: type[LollmsError], status: int | None, name: str, said: str) -> str:
    words = _WORDS[kind].format(name=name)
    if status == 402:
        words = f"{name} wants to be paid first: check the credit of the account"
    elif status == 404 and kind is InvalidRequest:
        words = f"{name} does not know the model or the address. Check both"
    number = f" (HTTP {status})" if status is not None else ""
    return f"{words}{number}: {said}" if said else f"{words}{number}."


def http_error(response: HttpResponse, target: Target) -> LollmsError:
    """The typed error for a complete response whose status is not 2xx."""
    name = target.provider
    if 300 <= response.status < 400:
        return RedirectRefused(
            f"{name or 'The backend'} answered with a redirect (HTTP {response.status}), which is not followed because "
            "it could carry the key elsewhere. Use the address that it redirects to.",
            status=response.status,
            provider=name,
        )
    problem = problem_of(decode_lenient(response.body))
    if problem is None:
        problem = Problem(message=_snippet(response.body) if _is_text(response.headers) else "")
    error = error_of(problem, status=response.status, name=name, secrets=secrets_of(target))
    if isinstance(error, AuthFailed) and not target.key:
        error.message = f"{name or 'The backend'} wants a key, and none was sent (HTTP {response.status}). Give it one."
    error.retry_after = parse_retry_after(response.headers, time.time())
    error.request_id = scrub(response.headers.get("x-request-id", ""), secrets_of(target), 100)
    return error


def _is_text(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "text/plain").startswith(("text/", "application/json", "application/problem"))


def _snippet(body: bytes) -> str:
    return scrub(body[: 4 * SNIPPET_LENGTH].decode("utf-8", "replace"), length=SNIPPET_LENGTH)


def not_the_protocol(
    content_type: str, body: bytes, name: str = "", secrets: Iterable[str] = (), **fields: Any
) -> ProtocolError:
    """The error for a 2xx answer that is something else, such as the page of a login portal."""
    begin = scrub(_snippet(body), secrets)
    return ProtocolError(
        f"{name or 'The backend'} answered with {scrub(content_type, length=100) or 'an unnamed content type'} instead "
        f"of an answer of its protocol. Check the address. It begins: {begin or '(nothing)'}",
        **fields,
    )
