"""The quick way for the requests that make up nearly all of the traffic: plain text in, text out.

It stands in front of the documented application and behind the guard. It decodes the body into a struct that knows less
than the documented models, and serves a request only if the body is entirely what it knows; every other request, be it
richer, odd or wrong, is played to the documented route from its first byte. So the documented models alone decide what
is refused and how, and both ways give the same bytes. Work, registry, scheduler and delivery are the same functions.

What the struct accepts must be a subset of what the documented model accepts, with the same meaning. Three things that
the two JSON readers could see differently are therefore left to the other route: escapes of half characters, numbers
beyond 2^53, and sizes near the models' bounds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal, TypeAlias

import msgspec

from lollms_core.protocols.lollms_input import HISTORY_ROLES
from lollms_server.core.delivery import deliver
from lollms_server.core.parameters import KNOWN
from lollms_server.core.responses import Send
from lollms_server.core.services import Services
from lollms_server.core.work import work_of

__all__ = ["PATH", "QuickRoute"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH = "/api/v1/generate"
_MAX_BODY = 1 << 20
_MAX_ITEMS = 500
_MAX_NAME = 256
_EXACT = float(2**53)


class _Item(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    role: str
    data: str
    type: Literal["text"]

    @property
    def mime_type(self) -> None:
        return None

    @property
    def metadata(self) -> None:
        return None


class _Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    input_data: list[_Item]
    parameters: dict[str, int | float] = {}
    stream: bool = False
    binding_name: str | None = None
    model_name: str | None = None
    generation_type: Literal["ttt"] = "ttt"

    @property
    def personality(self) -> None:
        return None

    @property
    def functions(self) -> None:
        return None

    @property
    def tools(self) -> None:
        return None

    @property
    def response_schema(self) -> None:
        return None


_decode = msgspec.json.Decoder(_Body).decode


class QuickRoute:
    """The ASGI callable in front of `inner`."""

    def __init__(self, inner: App, services: Services) -> None:
        self._inner = inner
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._inner(scope, receive, send)
            return
        message = await receive()
        body = _understood(message)
        if body is None:
            await self._inner(scope, _replaying(message, receive), send)
            return
        work = work_of(body, scope["state"], self._services)
        await deliver(work, scope, receive, send)


def _understood(message: MutableMapping[str, Any]) -> _Body | None:
    """The body, if it came in one piece and is entirely what this route knows."""
    raw: bytes = message.get("body", b"")
    if message["type"] != "http.request" or message.get("more_body", False) or not 0 < len(raw) <= _MAX_BODY:
        return None
    if b"\\ud" in raw or b"\\uD" in raw:
        return None
    try:
        body = _decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return body if _is_plain(body) else None


def _is_plain(body: _Body) -> bool:
    if not 0 < len(body.input_data) <= _MAX_ITEMS or not all(item.role in HISTORY_ROLES for item in body.input_data):
        return False
    for name, value in body.parameters.items():
        if name not in KNOWN or not -_EXACT <= value <= _EXACT:
            return False
    return all(name is None or 0 < len(name) <= _MAX_NAME for name in (body.binding_name, body.model_name))


def _replaying(first: MutableMapping[str, Any], receive: Receive) -> Receive:
    """A `receive` that gives the message that was read already, then those that follow."""
    pending = [first]

    async def again() -> MutableMapping[str, Any]:
        return pending.pop() if pending else await receive()

    return again
