"""A gate in front of any stand-in on a socket: a word in the prompt says what goes wrong, whatever the protocol.

    gate(server, form=...)                      # all routes of a stand-in go through it from now on
    client.complete("Once upon a time #stall-7#")

The word stands between `#`, with an id behind `-` where a fault is for its first request alone:

    never        nothing is answered
    stall        the answer stops behind its beginning, for ever
    drip         the answer comes in small pieces with little pauses
    broken       the connection ends behind the beginning of the answer
    redirect     a redirect to `ELSEWHERE`, where nobody listens
    limited-ID   the first request is answered with 429 and Retry-After: `WAIT`
    busy-ID      the first with 503; overloaded-ID with 529
    spent        every request is answered with 429 and Retry-After: 700
    refuses      requests with a `temperature` are refused with 400, as a parameter that the model does not know
    garbled      names in the arguments of tool calls that are sent as text stand in single quotes

The beginning of an answer is what holds `BEGINNING`, so prompts for `stall` and `broken` begin with it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import MODES, Mode, reply

__all__ = ["BEGINNING", "ELSEWHERE", "WAIT", "Form", "gate", "openai_form"]

BEGINNING = b"Onc"
WAIT = 0.15
"""Seconds of `Retry-After`."""
ELSEWHERE = "http://127.0.0.1:9/elsewhere"

Form = Callable[[int, str, str], dict[str, Any]]
"""The body of an error from its status, its message and the parameter that it names."""

_WORD = re.compile(rb"#(\w+)(?:-(\w+))?#")
_ONCE = {"limited": 429, "busy": 503, "overloaded": 529}
_PIECES, _PAUSE = 48, 0.07


def openai_form(status: int, message: str, param: str) -> dict[str, Any]:
    """As OpenAI says it, and most others."""
    code = "unsupported_parameter" if param else None
    return {"error": {"message": message, "type": "invalid_request_error", "param": param or None, "code": code}}


def gate(server: ChaosServer, form: Form = openai_form) -> list[Seen]:
    """Put the gate in front of every route that a test has added to a stand-in; `form` is how it says errors.

    Returns where the requests are noted that the stand-in itself refuses with status 400.
    """
    counted: Counter[bytes] = Counter()
    refused: list[Seen] = []
    for name, mode in list(server._modes.items()):
        if MODES.get(name) is not mode:
            server.add(name, _gated(mode, form, counted, refused))
    return refused


def _gated(mode: Mode, form: Form, counted: Counter[bytes], refused: list[Seen]) -> Mode:
    async def answer(connection: Connection, seen: Seen) -> None:
        found = _WORD.search(seen.body)
        word = found[1].decode() if found else ""
        if found:
            counted[found[0]] += 1
        if word == "never":
            return await connection.forever()
        if word == "redirect":
            return await reply(connection, b"{}", 307, "Temporary Redirect", location=ELSEWHERE)
        if word in _ONCE and found and counted[found[0]] == 1:
            return await _fail(connection, form(_ONCE[word], "Not now.", ""), _ONCE[word], str(WAIT))
        if word == "spent":
            return await _fail(connection, form(429, "Not today.", ""), 429, "700")
        if word == "refuses" and b'"temperature"' in seen.body:
            said = "Unsupported parameter: 'temperature' is not supported with this model."
            return await _fail(connection, form(400, said, "temperature"), 400)
        altered: Any = _Altered(connection, word)
        await mode(altered, seen)
        if altered.status == 400:
            refused.append(seen)

    return answer


async def _fail(connection: Connection, body: dict[str, Any], status: int, after: str = "") -> None:
    headers = {"retry_after": after} if after else {}
    await reply(connection, json.dumps(body).encode(), status, "No", **headers)


class _Altered:
    """A connection that sends something else than what a stand-in gives it."""

    def __init__(self, connection: Connection, how: str) -> None:
        self._connection = connection
        self._how = how
        self._whole = False
        self._late = False
        self.status = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def send(self, data: bytes) -> None:
        if not self.status:
            head, end, data = data.partition(b"\r\n\r\n")
            self.status = int(head.split(b" ", 2)[1])
            self._whole = b"content-length" in head.lower()
            await self._connection.packet(head + end)
        if data:
            await self._body(data)

    async def packet(self, data: bytes) -> None:
        await self.send(data)
        await asyncio.sleep(0)

    async def _body(self, data: bytes) -> None:
        if self._how == "garbled":
            return await self._connection.send(_in_single_quotes(data))
        if self._how in ("stall", "drip", "broken") and self.status == 200 and (self._late or BEGINNING in data):
            return await self._late_body(data)
        await self._connection.send(data)

    async def _late_body(self, data: bytes) -> None:
        """The answer from its beginning on; of one that comes whole even that only in part."""
        if self._how == "drip":
            if not (self._late or self._whole):
                self._late = True
                return await self._connection.send(data)
            self._late = True
            size = max(1, len(data) // _PIECES)
            for at in range(0, len(data), size):
                await self._connection.packet(data[at : at + size])
                await asyncio.sleep(_PAUSE)
            return
        await self._connection.packet(data[: len(data) // 2] if self._whole else data)
        if self._how == "stall":
            await self._connection.forever()
        await asyncio.sleep(0.02)  # the peer reads first
        self._connection.fin()
        await self._connection.forever()


def _in_single_quotes(data: bytes) -> bytes:
    """The first name of each object that is sent as text: as many bytes as before, and cut anywhere behind the `{`."""
    for good, bad in ((b'{\\"cit', b"{ 'cit"), (b'y\\": ', b"y' : "), (b'{\\"n\\":', b"{ 'n' :")):
        data = data.replace(good, bad)
    return data
