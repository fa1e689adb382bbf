"""HTTP/1.1 over one connection, without the connection: what to send, and what the bytes that came mean.

`h11` knows the protocol. All that has come of a body by one read leaves as one piece, however many HTTP chunks it
holds: a model sends one for each token, and each step up from here costs as much for a small piece as for a large one.

This module imports the HTTP library; it is itself imported when the first request is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import h11

from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport.wire import headers_to_send, split

__all__ = ["Head", "Http11", "NotHttp", "request_parts"]

_HEAD_BYTES = 100 * 1024
_SWITCHING = 101

NotHttp = h11.RemoteProtocolError
"""What the bytes of the other side raise when they are not HTTP, or end too early."""


class Head(NamedTuple):
    """Status and headers of an answer, as they came."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]


class RequestParts(NamedTuple):
    """A request as the protocol names its parts."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def request_parts(request: HttpRequest) -> RequestParts:
    """Raises `InvalidRequest` for an address or header that cannot be sent."""
    parts = split(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return RequestParts(request.method, target, {"host": parts.netloc, **headers_to_send(request)}, request.body)


class Http11:
    """The state of one connection. `complete` says that the body of the answer has come to its end."""

    def __init__(self) -> None:
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        self.complete = False

    def request(self, parts: RequestParts) -> bytes:
        """The bytes of a request."""
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in parts.headers.items()]
        head = h11.Request(method=parts.method.encode("ascii"), target=parts.target.encode("ascii"), headers=headers)
        data = self._state.send(head) or b""
        if parts.body:
            data += self._state.send(h11.Data(data=parts.body)) or b""
        return data + (self._state.send(h11.EndOfMessage()) or b"")

    def feed(self, data: bytes) -> None:
        """What has come; b"" for the end of the connection."""
        self._state.receive_data(data)

    def head(self) -> Head | None:
        """The head of the answer; None until it is there. Interim ones are skipped. Raises `NotHttp`."""
        while True:
            event = self._state.next_event()
            if isinstance(event, h11.Response):
                return Head(event.status_code, list(event.headers))
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == _SWITCHING:
                    return Head(_SWITCHING, list(event.headers))
            elif event is h11.NEED_DATA:
                return None
            else:
                raise NotHttp("The connection ended before an answer.")

    def body(self) -> bytes:
        """All of the body that has come and was not given yet. Raises `NotHttp`, after what came before the fault."""
        pieces: list[bytes] = []
        while not self.complete:
            try:
                event = self._state.next_event()
            except NotHttp:
                if not pieces:
                    raise
                break  # the same call raises it again, with nothing before it
            if isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.complete = True
            else:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def again(self) -> bool:
        """Make ready for the next request; False when the connection cannot have one."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        self.complete = False
        return True
