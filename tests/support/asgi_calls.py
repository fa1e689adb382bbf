"""Calling an ASGI application directly: one request in, one complete reply out, no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Answer:
    """What an application sent. `messages` is everything, in order."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> int:
        return next(m["status"] for m in self.messages if m["type"] == "http.response.start")

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages if m["type"] == "http.response.body")

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        start = next(m for m in self.messages if m["type"] == "http.response.start")
        found = [value.decode() for key, value in start["headers"] if key == name.encode()]
        assert len(found) < 2, f"{name} stands {len(found)} times in the reply"
        return found[0] if found else None


def request_scope(
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    client: str = "127.0.0.1",
    kind: str = "http",
) -> dict[str, Any]:
    """A scope as an ASGI server makes it; Host is localhost unless given, and given "" is left out."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("host", "localhost:9601"))
    raw = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in pairs
        if (name, value) != ("host", "")
    ]
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": (client, 50000),
        "server": ("127.0.0.1", 9601),
        "state": {},
    }


async def acall(app: App, scope: dict[str, Any], parts: Iterable[bytes] = ()) -> Answer:
    """Send a scope and the parts of a body; afterwards the client waits and sends nothing more."""
    answer = Answer()
    waiting = list(parts)
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(waiting) - 1}
        for number, part in enumerate(waiting)
    ] or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        answer.messages.append(dict(message))

    await app(scope, receive, send)
    return answer


def call(
    app: App,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    client: str = "127.0.0.1",
) -> Answer:
    """One request in an event loop of its own. A body gets Content-Length unless a length or encoding is given."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in pairs}
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("content-length", str(len(body))))
    scope = request_scope(path, method, pairs, client)
    return asyncio.run(acall(app, scope, [] if body is None else [body]))
