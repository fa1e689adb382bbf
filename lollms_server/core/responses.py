"""Error replies: one body for all of them, made here and nowhere else.

`{"detail": sentence, "code": stable name, "request_id": id}`, and with status 422 also `"errors": [{"loc": [...],
"msg": ...}]`. A sentence that goes out says nothing of our files: what went wrong inside is for the log, and a path
that a message holds is cut down to its last part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, TypeAlias

import msgspec

from lollms_core.errors import ConfigError, InternalError, LollmsError, StorageError, meaning

__all__ = [
    "ABORT",
    "PIECE",
    "WHOLE",
    "FieldError",
    "Header",
    "Send",
    "error_body",
    "error_headers",
    "let_go",
    "public_message",
    "send_error",
]

Header: TypeAlias = tuple[bytes, bytes]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ABORT = "lollms.abort"
"""The extension of our HTTP server that breaks a connection at once, for a caller that does not read."""

WHOLE = "lollms.whole"
"""The extension of our HTTP server that sends a whole answer in one step: `(status, headers, body) -> whether it did`.

Not every answer can be sent so; then the two messages of ASGI must follow. The headers must be fit to be sent.
"""

PIECE = "lollms.piece"
"""The extension of our HTTP server that sends a piece of a body that has begun, without waiting: `bytes -> bool`.

False when it did not: the caller has to wait, or there is nobody to send it to; then the message of ASGI must follow.
"""

INTERNAL = "Something went wrong in the server. Its log has the details under this request id."
_INTERNAL_KINDS = (InternalError, ConfigError, StorageError)
_PATHS = re.compile(
    r"(?<![\w:/.~-])(?!/(?:api|v1|health|docs)\b)(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"`,;:()<>]+[/\\])+(?=[^\s/\\]|\s|$)"
)
_MAX_MESSAGE = 2000


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field of a request body: where it is, and what is wrong."""

    loc: Sequence[str | int]
    msg: str


def public_message(error: LollmsError) -> str:
    """The sentence of an error as a caller may see it: no paths, nothing of our own failures."""
    if isinstance(error, _INTERNAL_KINDS) or type(error) is LollmsError:
        return INTERNAL
    return _PATHS.sub("…/", error.message)[:_MAX_MESSAGE] or meaning(error).code.replace("_", " ")


def error_body(error: LollmsError, request_id: str, errors: Iterable[FieldError] = ()) -> bytes:
    """The JSON body of an error reply; `errors` are the wrong fields of a body that does not match (422)."""
    body: dict[str, object] = {
        "detail": public_message(error),
        "code": meaning(error).code,
        "request_id": request_id,
    }
    if listed := list(errors):
        body["errors"] = listed
    return msgspec.json.encode(body)


def let_go(error: BaseException | None) -> None:
    """Take the tracebacks out of an error that has been dealt with, and out of those behind it.

    The frames of a traceback hold the whole request and nearly always the error itself. Such a circle stays until the
    collector comes by, which on a server that spares it may take hundreds of requests.
    """
    while error is not None:
        error.__traceback__ = None
        if error.__cause__ is not error.__context__:
            let_go(error.__cause__)
        error = error.__context__


def error_headers(error: LollmsError) -> list[Header]:
    """The headers that belong to an error reply, without its length."""
    headers = [(b"content-type", b"application/json")]
    if meaning(error).http_status == 401:
        headers.append((b"www-authenticate", b'ApiKey header="X-API-Key"'))
    if error.retry_after is not None and math.isfinite(error.retry_after):
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()))
    return headers


async def send_error(
    send: Send,
    error: LollmsError,
    request_id: str,
    *,
    errors: Iterable[FieldError] = (),
    headers: Iterable[Header] = (),
    more_body: bool = False,
) -> None:
    """Send a complete error reply. With `more_body` the exchange stays open after it, for the caller to finish."""
    body = error_body(error, request_id, errors)
    length = (b"content-length", str(len(body)).encode())
    status = meaning(error).http_status
    await send({"type": "http.response.start", "status": status, "headers": [*error_headers(error), length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": more_body})
