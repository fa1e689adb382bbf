"""The guard in front of the application: nothing behind it runs for a request that it refuses.

It is one ASGI callable, so that one pass over the headers serves all checks and a request pays a few microseconds.
The order is fixed: request id, Host, Origin, key, content type, body size. Which paths are public is decided on
`scope["path"]` alone, the value that the routes see too, and by exact comparison: a path that is written in any other
way needs a key. Routes cannot opt out, and a route that does not exist asks for a key like any other.

Whatever the application raises becomes a reply here: a typed error its own status, anything else a bare 500, with the
details in the log under the request id.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from lollms_core.errors import (
    HostRefused,
    InternalError,
    InvalidRequest,
    KeyMissing,
    KeyRejected,
    LollmsError,
    OriginRefused,
    TooManyRequests,
    UnsupportedMediaType,
    meaning,
)
from lollms_server.core.keyring import KeyRing
from lollms_server.core.log import REQUEST_ID
from lollms_server.core.responses import Header, Send, error_body, error_headers
from lollms_server.core.settings import MainConfig
from lollms_server.middleware import headers as request_headers
from lollms_server.middleware.exchange import Bodies, GuardedExchange, Message, Receive
from lollms_server.middleware.failures import FailureTable
from lollms_server.middleware.headers import Seen
from lollms_server.middleware.host import HostPolicy
from lollms_server.middleware.origin import OriginPolicy

__all__ = ["PUBLIC_PATHS", "UI_PREFIX", "Guard", "guard"]

Scope: TypeAlias = Message
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC_PATHS: Final = frozenset({"/", "/health", "/api/v1/health"})
UI_PREFIX: Final = "/ui/"
_READING: Final = frozenset({"GET", "HEAD"})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_OWN_ID = re.compile(rb"[0-9a-zA-Z-]{16,64}\Z")
_UI_PATH = re.compile(r"/ui/(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*)?\Z")
_JSON = re.compile(rb'application/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*"?utf-8"?[ \t]*)?\Z', re.IGNORECASE)
_NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
_MAX_DIGITS = 18
_BODIES = 8  # bodies of the largest size that all running requests may have together
_IDS = 64
_POLICY_VIOLATION = 1008

_log = logging.getLogger("lollms_server.guard")


def guard(app: App, *, config: MainConfig, keys: KeyRing, clock: Callable[[], float] = time.monotonic) -> Guard:
    """Put the guard in front of an ASGI application.

    `config.server.host` must be the address that is listened on. The application finds `request_id` and `key_id` in
    `scope["state"]`; `key_id` is "-" where no key was asked for.
    """
    return Guard(app, config, keys, clock)


class _RequestIds:
    """Ids for requests: 128 random bits each, made many at once because each question to the system takes its time."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def choose(self, own: bytes | None) -> tuple[str, bytes]:
        """The caller's id where it is well formed, else a new one; as text and as a header value."""
        if own is not None and _OWN_ID.match(own):
            return own.decode("ascii"), own
        if not self._ready:
            digits = os.urandom(_IDS * 16).hex()
            self._ready = [digits[at : at + 32] for at in range(0, len(digits), 32)]
        new = self._ready.pop()
        return new, new.encode("ascii")


class Guard:
    """The ASGI callable that `guard` makes."""

    def __init__(self, app: App, config: MainConfig, keys: KeyRing, clock: Callable[[], float]) -> None:
        self._app = app
        self._keys = keys
        self._ids = _RequestIds()
        self._hosts = HostPolicy(config.server.host, config.server.allowed_hosts)
        self._origins = OriginPolicy(config.server.allowed_origins)
        self._failures = FailureTable(config.limits.failed_keys_per_minute, clock)
        self._limit = config.limits.max_body_bytes
        self._bodies = Bodies(_BODIES * self._limit)
        self._ui = config.webui.enable_ui

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await self._app(scope, receive, send)
        else:
            raise RuntimeError(f"The guard does not know connections of the type {kind!r}.")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = request_headers.read(scope["headers"])
        request_id, id_header = self._ids.choose(seen.request_id)
        state = _state(scope)
        state["request_id"] = request_id
        token = REQUEST_ID.set(request_id)
        ours = [(b"x-request-id", id_header), _NOSNIFF]
        exchange = GuardedExchange(receive, send, request_id, ours, self._limit, self._bodies)
        if (extensions := scope.get("extensions")) is not None:
            exchange.extend(extensions)
        length = seen.content_length
        exchange.has_body = seen.transfer_encoding is not None or (length is not None and length != b"0")
        try:
            error = self._admit(scope, seen, state)
            if seen.origin is not None and not isinstance(error, HostRefused | OriginRefused):
                exchange.headers += self._origins.reply_headers(seen.origin)
                if _is_preflight(scope):
                    await self._preflight(exchange)
                    return
            if error is None and exchange.has_body:
                error = self._admit_body(scope, seen, exchange)
            if error is not None:
                await exchange.refuse(self._report(scope, error))
                return
            await self._app(scope, exchange.receive if exchange.has_body else receive, exchange.send)
            if not exchange.started:
                await exchange.refuse(InternalError("The application gave no reply."))
        except Exception as error:
            await _rescue(exchange, error)
        finally:
            exchange.over()
            REQUEST_ID.reset(token)

    def _admit(self, scope: Scope, seen: Seen, state: dict[str, Any]) -> LollmsError | None:
        """Why a connection is refused for where it comes from or for its key; None when it is not."""
        if not self._hosts.allows(seen.host):
            return HostRefused(
                "This server does not answer to the name in the Host header. Use localhost or its IP address, or add "
                "the name to server.allowed_hosts in its configuration."
            )
        public = self._is_public(scope)
        if seen.origin is not None or seen.fetch_site is not None:
            opening = public and seen.fetch_mode == b"navigate"
            if not self._origins.allows(seen.origin, seen.host, seen.fetch_site, opening_page=opening):
                return OriginRefused(
                    "Web pages of this origin may not use this server. If they should, add the origin to "
                    "server.allowed_origins in its configuration."
                )
        state["key_id"] = "-"
        if public or not self._keys.required:
            return None
        if not seen.key:
            return KeyMissing("API Key required but not provided.")
        key_id = self._keys.check(seen.key)
        if key_id is None:
            return KeyRejected("Invalid API Key provided.")
        state["key_id"] = key_id
        return None

    def _is_public(self, scope: Scope) -> bool:
        path = scope["path"]
        if path not in PUBLIC_PATHS and not (self._ui and path.startswith(UI_PREFIX) and _UI_PATH.match(path)):
            return False
        return scope["type"] == "http" and scope["method"] in _READING

    def _admit_body(self, scope: Scope, seen: Seen, exchange: GuardedExchange) -> LollmsError | None:
        """Why a body is refused before it is read; None when it is not."""
        length = seen.content_length
        if length is not None:
            if not length.isdigit():
                return InvalidRequest("The Content-Length header is not a number.")
            if len(length) > _MAX_DIGITS or int(length) > self._limit:
                return exchange.too_large()
        if seen.content_type == b"application/json" or scope["method"] not in _WITH_BODY:
            return None
        if seen.content_type is None or not _JSON.match(seen.content_type):
            return UnsupportedMediaType(
                "Send the body as JSON in UTF-8, with the header Content-Type: application/json."
            )
        return None

    def _report(self, scope: Scope, error: LollmsError) -> LollmsError:
        """Log a refusal; an address that fails too often is told to wait instead, and its refusals log no more.

        A valid key is let through all the same: others may share the address.
        """
        client = scope.get("client")
        address = client[0] if client else "unknown"
        count, wait = self._failures.record(address)
        if not wait:
            _log.info("%s %s refused: %s, from %s", scope.get("method", "-"), scope["path"][:200], error.code, address)
            return error
        if count == self._failures.limit + 1:
            _log.warning("too many refused requests from %s; the next ones are not logged", address)
        if not isinstance(error, KeyMissing | KeyRejected):
            return error
        return TooManyRequests(
            f"Too many requests without a valid key came from this address. Wait {math.ceil(wait)} seconds.",
            retry_after=wait,
        )

    async def _preflight(self, exchange: GuardedExchange) -> None:
        """Answer the question a browser asks before a request of an allowed page."""
        exchange.headers += self._origins.preflight_headers()
        await exchange.send({"type": "http.response.start", "status": 204, "headers": []})
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = request_headers.read(scope["headers"])
        request_id, id_header = self._ids.choose(seen.request_id)
        state = _state(scope)
        state["request_id"] = request_id
        error = self._admit(scope, seen, state)
        if error is None:
            await self._app(scope, receive, send)
            return
        error = self._report(scope, error)
        await receive()  # the connect message, which must be read before it is answered
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": error.code})
            return
        sent = [*error_headers(error), (b"x-request-id", id_header), _NOSNIFF]
        status = meaning(error).http_status
        await send({"type": "websocket.http.response.start", "status": status, "headers": sent})
        await send({"type": "websocket.http.response.body", "body": error_body(error, request_id)})


def _state(scope: Scope) -> dict[str, Any]:
    state: dict[str, Any] | None = scope.get("state")
    if state is None:
        state = scope["state"] = {}
    return state


def _is_preflight(scope: Scope) -> bool:
    if scope["method"] != "OPTIONS":
        return False
    return request_headers.find(scope["headers"], b"access-control-request-method") is not None


async def _rescue(exchange: GuardedExchange, error: Exception) -> None:
    """Turn what the application raised into a reply, if there is still one to give."""
    if exchange.closed:
        return
    if not isinstance(error, LollmsError):
        _log.error("a request failed in an unforeseen way", exc_info=error)
        error = InternalError("An unforeseen exception.")
    elif meaning(error).http_status >= 500:
        _log.error("a request failed: %s: %s", error.code, error, exc_info=error)
    await exchange.refuse(error)
