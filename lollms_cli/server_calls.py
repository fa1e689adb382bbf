"""The small requests that the command line itself makes to a lollms server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from lollms_core.errors import (
    KeyRejected,
    LollmsError,
    NotFound,
    ProtocolError,
    Refused,
    UpstreamError,
    error_for_code,
)
from lollms_core.protocols.base import HttpRequest, HttpResponse, Timeouts

__all__ = ["Health", "ask_server", "health", "named_or_local", "request"]

_QUICK = Timeouts(connect=0.5, first_byte=1.5, idle=1.0, total=3.0)
_PATIENT = Timeouts(connect=5.0, first_byte=30.0, idle=10.0, total=60.0)


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
    from lollms_runtime.transport.http_sync import HttpTransport

    headers: Mapping[str, str] = {
        **({"x-api-key": key} if key else {}),
        **({"content-type": "application/json"} if body else {}),
    }
    transport = HttpTransport()
    try:
        with transport.open(HttpRequest(method, url, headers, body, timeouts=timeouts), Cancel()) as response:
            return HttpResponse(response.status, response.headers, b"".join(response.chunks()))
    finally:
        transport.close()


def named_or_local(host: str | None) -> str:
    """The base URL of the server that a command means: the one of `--host` or `LOLLMS_HOST`, else this machine's.

    Raises `InvalidRequest` for an address that is none.
    """
    from lollms_cli.address import default_port
    from lollms_cli.backend import server_address

    return server_address(host) or f"http://127.0.0.1:{default_port()}"


def ask_server(method: str, address: str, path: str, has: str = "", *, timeouts: Timeouts = _PATIENT) -> dict[str, Any]:
    """The object that a server answers on `/api/v1/PATH`, which has the field `has`; nothing (204) is {}.

    Raises `KeyMissing` and `KeyRejected`, `Refused` in words for whoever typed a command, the error that the server
    names, and `ProtocolError` where it is no lollms server.
    """
    from lollms_cli.backend import server_key

    try:
        response = request(method, f"{address}/api/v1/{path}", key=server_key(address), timeouts=timeouts)
    except Refused as error:
        raise Refused(
            f"No lollms server answers at {address}. Start one there with `lollms serve`, or name a running one with "
            "--host or LOLLMS_HOST."
        ) from error
    said = _object(response)
    if response.status in (401, 403):
        raise KeyRejected(f"The server at {address} refuses this key. Set the right one in LOLLMS_API_KEY.")
    if response.status == 204 and not has:
        return {}
    if response.status == 200 and said is not None and has in said:
        return said
    if response.status == 200:
        raise ProtocolError(f"What answers at {address} is not a lollms server: its {path} has no {has or 'object'}.")
    raise _error(response, said or {}, address, path)


def _error(response: HttpResponse, said: Mapping[str, Any], address: str, path: str) -> LollmsError:
    """The error of a reply that is none of the usual ones."""
    words, code = said.get("detail"), said.get("code")
    if response.status in (404, 405) and (not isinstance(code, str) or words == "There is nothing at this path."):
        return NotFound(f"The server at {address} has no /api/v1/{path}: it is of another version, or not lollms.")
    kind = error_for_code(code) if isinstance(code, str) else None
    if kind is None or not isinstance(words, str):
        return UpstreamError(f"The server at {address} answered with status {response.status}.", status=response.status)
    return kind(f"The server at {address} says: {words}", status=response.status)


def _object(response: HttpResponse) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(response.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
