"""A tiny application behind the guard, with a configuration made for the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lollms_server.core.keyring import KeyRing, hashed
from lollms_server.core.settings import MainConfig
from lollms_server.middleware.guard import Guard, guard

KEY = "k" * 40 + "-test-key"


def settings(**sections: dict[str, Any]) -> MainConfig:
    """A main configuration with one allowed key, and these sections."""
    return MainConfig.model_validate({"security": {"allowed_api_keys": [hashed(KEY)]}, **sections})


class Recorder:
    """An application that reads the body, answers 200 with its length, and remembers what it was asked."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.received = 0
        self.disconnects = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            size += len(message.get("body", b""))
            self.received += len(message.get("body", b""))
            more = message.get("more_body", False)
        body = str(size).encode()
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


def guarded(
    app: Any = None, clock: Callable[[], float] | None = None, config: MainConfig | None = None
) -> tuple[Guard, Recorder]:
    """A guard around `app` (default: a Recorder, which is returned with it)."""
    recorder = Recorder()
    used = config or settings()
    extra: dict[str, Any] = {"clock": clock} if clock else {}
    return guard(app or recorder, config=used, keys=KeyRing(used.api_keys()), **extra), recorder
