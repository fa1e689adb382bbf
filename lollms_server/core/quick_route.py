"""The quick way for the requests that make up nearly all of the traffic: plain text in, text out.

It stands in front of the documented application and behind the guard. It decodes the body into a struct that knows less
than the documented models, and serves a request only if the body is entirely what it knows; every other request, be it
richer, odd or wrong, is played to the documented route from its first byte. Fields that are there and hold nothing, as
many clients send them, are known. So the documented models alone decide what is refused and how, and both ways give the
same bytes. Work, registry, scheduler and delivery are the same functions.

What the struct accepts must be a subset of what the documented model accepts, with the same meaning. Two things that
the JSON readers of both could see differently are therefore left to the other route: numbers beyond 2^53, and sizes
near the models' bounds.
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
    mime_type: None = None
    metadata: dict[str, Any] | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    input_data: list[_Item]
    parameters: dict[str, int | float] = {}
    stream: bool = False
    binding_name: str | None = None
    model_name: str | None = None
    generation_type: Literal["ttt"] = "ttt"
    personality: None = None
    functions: None = None
    tools: None = None
    response_schema: None = None
    text_prompt: None = None


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
        messages = await _read(receive)
        body = _understood(messages)
        if body is None:
            await self._inner(scope, _replaying(messages, receive), send)
            return
        messages.clear()  # the answer may take long, and what was decoded is enough for it
        work = work_of(body, scope["state"], self._services)
        await deliver(work, scope, receive, send)


async def _read(receive: Receive) -> list[MutableMapping[str, Any]]:
    """The messages of a body, up to its end or to where it is too large for this route; the last one may be another."""
    messages = [await receive()]
    size = len(messages[0].get("body", b""))
    while messages[-1].get("more_body", False) and size <= _MAX_BODY:
        messages.append(await receive())
        size += len(messages[-1].get("body", b""))
    return messages


def _understood(messages: list[MutableMapping[str, Any]]) -> _Body | None:
    """The body, if all of it is there and is entirely what this route knows."""
    last = messages[-1]
    if last["type"] != "http.request" or last.get("more_body", False):
        return None
    raw = b"".join([message.get("body", b"") for message in messages])
    if not 0 < len(raw) <= _MAX_BODY:
        return None
    try:
        body = _decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return body if _is_plain(body) else None


def _is_plain(body: _Body) -> bool:
    if not 0 < len(body.input_data) <= _MAX_ITEMS:
        return False
    for item in body.input_data:
        if item.role not in HISTORY_ROLES or item.metadata:
            return False
    for name, value in body.parameters.items():
        if name not in KNOWN or not -_EXACT <= value <= _EXACT:
            return False
    for chosen in (body.binding_name, body.model_name):
        if chosen is not None and not 0 < len(chosen) <= _MAX_NAME:
            return False
    return True


def _replaying(read: list[MutableMapping[str, Any]], receive: Receive) -> Receive:
    """A `receive` that gives the messages that were read already, then those that follow."""
    read.reverse()

    async def again() -> MutableMapping[str, Any]:
        return read.pop() if read else await receive()

    return again
