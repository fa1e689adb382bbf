"""The small requests that the command line itself makes to a lollms server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpRequest, HttpResponse, Timeouts

__all__ = ["Health", "health", "request"]

_QUICK = Timeouts(connect=0.5, first_byte=1.5, idle=1.0, total=3.0)


class Health(NamedTuple):
    """What `/health` says. `models` is loading, ready, failed, or "" where the server does not say."""

    version: str
    api_key_required: bool
    models: str


def health(address: str, timeouts: Timeouts = _QUICK) -> Health | None:
    """Ask a server how it is. None where nobody answers in time or something else than lollms does."""
    try:
        response = request("GET", f"{address}/health", timeouts=timeouts)
        said = msgspec.json.decode(response.body, type=dict[str, Any])
    except (LollmsError, msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    required = said.get("api_key_required")
    if response.status != 200 or not isinstance(required, bool):
        return None
    return Health(str(said.get("version", "")), required, str(said.get("models", "")))


def request(method: str, url: str, *, key: str = "", body: bytes = b"", timeouts: Timeouts = _QUICK) -> HttpResponse:
    """One request, with a `body` of JSON if any, and its whole answer. Raises the transport's errors."""
    from lollms_runtime.cancel import Cancel
    from lollms_runtime.transport.httpx2_sync import Httpx2Transport

    headers: Mapping[str, str] = {
        **({"x-api-key": key} if key else {}),
        **({"content-type": "application/json"} if body else {}),
    }
    transport = Httpx2Transport()
    try:
        with transport.open(HttpRequest(method, url, headers, body, timeouts=timeouts), Cancel()) as response:
            return HttpResponse(response.status, response.headers, b"".join(response.chunks()))
    finally:
        transport.close()
