"""How the chaos server behaves: a function for each mode, named by the first part of the path (see `chaos`).

The answers have the form of the OpenAI chat protocol, the one that most providers speak.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from tests.support.chaos import Connection, Seen

TEXT = "Grüße, 世界 🦙! It is\u2028chaos."
"""What the well-behaved modes answer."""

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}

Mode: TypeAlias = Callable[["Connection", "Seen"], Awaitable[None]]

MODES: dict[str, Mode] = {}


def _mode(function: Mode) -> Mode:
    MODES[function.__name__] = function
    return function


# ---- pieces of answers ---------------------------------------------------------------------------------------------


def head(code: int = 200, reason: str = "OK", /, **headers: str) -> bytes:
    """A status line and headers; `_` in names becomes `-`."""
    lines = [f"HTTP/1.1 {code} {reason}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def stream_head(**headers: str) -> bytes:
    """The headers of a chunked event stream."""
    return head(content_type="text/event-stream", transfer_encoding="chunked", **headers)


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


END = b"0\r\n\r\n"


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One server-sent event of the OpenAI chat protocol."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    value = {"id": "chatcmpl-chaos", "object": "chat.completion.chunk", "model": "chaos", "choices": choices, **more}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def answer_events(text: str = TEXT) -> list[bytes]:
    """A whole streamed answer: a role, the text in pieces of four characters, the end, the usage."""
    pieces = [text[i : i + 4] for i in range(0, len(text), 4)]
    return [
        event({"role": "assistant", "content": ""}),
        *(event({"content": piece}) for piece in pieces),
        event(finish="stop"),
        event(usage=USAGE),
        b"data: [DONE]\n\n",
    ]


def answer_json(text: str = TEXT) -> bytes:
    """The same answer as one JSON object."""
    message = {"role": "assistant", "content": text}
    value = {
        "id": "chatcmpl-chaos",
        "object": "chat.completion",
        "model": "chaos",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    return json.dumps(value, ensure_ascii=False).encode()


async def reply(connection: Connection, body: bytes, code: int = 200, reason: str = "OK", **headers: str) -> None:
    """A complete reply with a length."""
    headers = {"content_type": "application/json", "content_length": str(len(body)), **headers}
    await connection.send(head(code, reason, **headers) + body)


# ---- the modes: good days ------------------------------------------------------------------------------------------


@_mode
async def ok_json(connection: Connection, seen: Seen) -> None:
    """The answer as one JSON object."""
    await reply(connection, answer_json())


@_mode
async def ok_sse(connection: Connection, seen: Seen) -> None:
    """The answer as a stream, an event per packet."""
    await connection.packet(stream_head())
    for each in answer_events():
        await connection.packet(chunk(each))
    await connection.send(END)


@_mode
async def ok(connection: Connection, seen: Seen) -> None:
    """A stream if the request asks for one with `"stream": true`, else JSON."""
    wants_stream = b'"stream":true' in seen.body.replace(b" ", b"")
    await (ok_sse if wants_stream else ok_json)(connection, seen)


@_mode
async def one_packet(connection: Connection, seen: Seen) -> None:
    """The whole stream at once."""
    await connection.send(stream_head() + b"".join(chunk(each) for each in answer_events()) + END)


@_mode
async def slicer(connection: Connection, seen: Seen) -> None:
    """The stream, a byte per packet."""
    await connection.packet(stream_head())
    for byte in b"".join(answer_events()):
        await connection.packet(chunk(bytes([byte])))
    await connection.send(END)


@_mode
async def split_utf8(connection: Connection, seen: Seen) -> None:
    """The stream, cut inside of every character that has several bytes."""
    data = b"".join(answer_events())
    await connection.packet(stream_head())
    start = 0
    for position, byte in enumerate(data):
        if 0x80 <= byte < 0xC0:
            await connection.packet(chunk(data[start:position]))
            start = position
    await connection.send(chunk(data[start:]) + END)


@_mode
async def until_close(connection: Connection, seen: Seen) -> None:
    """A stream without a length, which ends when the connection does."""
    await connection.send(head(content_type="text/event-stream", connection="close") + b"".join(answer_events()))
    connection.fin()


@_mode
async def ok_gzip(connection: Connection, seen: Seen) -> None:
    """The stream, packed."""
    packer = zlib.compressobj(wbits=31)
    await connection.packet(stream_head(content_encoding="gzip"))
    for each in answer_events():
        await connection.packet(chunk(packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH)))
    await connection.send(chunk(packer.flush()) + END)


@_mode
async def echo(connection: Connection, seen: Seen) -> None:
    """What was asked, as JSON: method, path, headers as pairs, length and text of the body."""
    value = {
        "method": seen.method,
        "path": seen.path,
        "headers": seen.raw_headers,
        "length": len(seen.body),
        "body": seen.body[:10_000].decode("latin-1"),
    }
    await reply(connection, json.dumps(value).encode())


@_mode
async def cookies(connection: Connection, seen: Seen) -> None:
    """The answer, with a cookie that must never come back."""
    await reply(connection, answer_json(), set_cookie="spy=1; Path=/")


@_mode
async def long(connection: Connection, seen: Seen) -> None:
    """A stream of a thousand events."""
    await connection.packet(stream_head())
    for number in range(1000):
        await connection.packet(chunk(event({"content": f"{number} "})))
    await connection.send(chunk(event(finish="stop")) + END)


# ---- bad days: nothing comes ---------------------------------------------------------------------------------------


@_mode
async def never(connection: Connection, seen: Seen) -> None:
    """Reads the request and says nothing."""
    await connection.forever()


@_mode
async def deaf(connection: Connection, seen: Seen) -> None:
    """Stops reading in the middle of the request's body, and says nothing."""
    if connection._transport is not None:
        connection._transport.pause_reading()
    await connection.forever()


@_mode
async def slow_headers(connection: Connection, seen: Seen) -> None:
    """One byte of an endless header every 20 ms."""
    await connection.packet(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while True:
        await connection.packet(b"a")
        await asyncio.sleep(0.02)


@_mode
async def stall(connection: Connection, seen: Seen) -> None:
    """The first half of the stream, then nothing."""
    events = answer_events()
    await connection.packet(stream_head())
    for each in events[: len(events) // 2]:
        await connection.packet(chunk(each))
    await connection.forever()


@_mode
async def stall_json(connection: Connection, seen: Seen) -> None:
    """Half of the JSON answer, then nothing."""
    body = answer_json()
    await connection.send(head(content_type="application/json", content_length=str(len(body))) + body[: len(body) // 2])
    await connection.forever()


@_mode
async def drip(connection: Connection, seen: Seen) -> None:
    """An event every 20 ms, for ever."""
    await connection.packet(stream_head())
    while True:
        await connection.packet(chunk(event({"content": "drip "})))
        await asyncio.sleep(0.02)


# ---- bad days: it ends early ---------------------------------------------------------------------------------------


@_mode
async def fin_before_headers(connection: Connection, seen: Seen) -> None:
    """Closes without an answer."""
    connection.fin()


@_mode
async def rst_before_headers(connection: Connection, seen: Seen) -> None:
    """Breaks the connection without an answer."""
    connection.rst()


@_mode
async def fin_in_headers(connection: Connection, seen: Seen) -> None:
    """Closes in the middle of the headers."""
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    connection.fin()


@_mode
async def fin_chunked(connection: Connection, seen: Seen) -> None:
    """Closes in the middle of a stream, without the last chunk."""
    await _half(connection)
    connection.fin()


@_mode
async def fin_length(connection: Connection, seen: Seen) -> None:
    """Closes before the promised length."""
    body = answer_json()
    await connection.send(
        head(content_type="application/json", content_length=str(len(body) + 100)) + body,
    )
    connection.fin()


@_mode
async def rst(connection: Connection, seen: Seen) -> None:
    """Breaks the connection in the middle of a stream."""
    await _half(connection)
    await asyncio.sleep(0.05)  # the peer reads first: a reset throws away what it has not read
    connection.rst()


@_mode
async def no_terminator(connection: Connection, seen: Seen) -> None:
    """HTTP is complete, but the stream of events stops in the middle."""
    await _half(connection)
    await connection.send(END)


async def _half(connection: Connection) -> None:
    events = answer_events()
    await connection.packet(stream_head())
    for each in events[: len(events) // 2]:
        await connection.packet(chunk(each))


# ---- bad days: it is something else --------------------------------------------------------------------------------


@_mode
async def html(connection: Connection, seen: Seen) -> None:
    """The page of a captive portal, with status 200."""
    page = b"<!DOCTYPE html><html><body><h1>Welcome to Hotel Wi-Fi</h1><p>key=sk-canary</p></body></html>"
    await reply(connection, page, content_type="text/html; charset=utf-8")


@_mode
async def broken_sse(connection: Connection, seen: Seen) -> None:
    """An event whose data is not JSON."""
    await connection.send(stream_head() + chunk(answer_events()[1]) + chunk(b'data: {"choices": [{"del\n\n') + END)


@_mode
async def bad_utf8(connection: Connection, seen: Seen) -> None:
    """An event with bytes that are not UTF-8."""
    bad = event({"content": "caf#"}).replace(b"#", b"\xe9")
    await connection.send(stream_head() + chunk(answer_events()[1]) + chunk(bad) + END)


@_mode
async def error_in_stream(connection: Connection, seen: Seen) -> None:
    """Some events, then an error object, with status 200."""
    await _half(connection)
    error = {"error": {"message": "The model fell over.", "type": "server_error", "code": 500}}
    await connection.send(chunk(b"data: " + json.dumps(error).encode() + b"\n\n") + END)


@_mode
async def error_first(connection: Connection, seen: Seen) -> None:
    """An error object at once, with status 200."""
    error = {"error": {"message": "The model fell over.", "type": "server_error", "code": 500}}
    await connection.send(stream_head() + chunk(b"data: " + json.dumps(error).encode() + b"\n\n") + END)


@_mode
async def not_http(connection: Connection, seen: Seen) -> None:
    """Something that is not HTTP at all."""
    await connection.send(b"220 mail.example ESMTP ready\r\n\r\n")
    connection.fin()


@_mode
async def bad_chunk(connection: Connection, seen: Seen) -> None:
    """A chunk whose size is not a number."""
    await connection.send(stream_head() + chunk(answer_events()[1]))
    await asyncio.sleep(0.05)  # a parser that sees both at once may give neither
    await connection.send(b"zz\r\nboo\r\n")
    await connection.forever()


@_mode
async def brotli(connection: Connection, seen: Seen) -> None:
    """A packing that nobody asked for."""
    await reply(connection, b"\x0b\x02\x80hello\x03", content_encoding="br")


@_mode
async def bad_gzip(connection: Connection, seen: Seen) -> None:
    """Says gzip and is not."""
    await reply(connection, b"this is not gzip", content_encoding="gzip")


@_mode
async def short_gzip(connection: Connection, seen: Seen) -> None:
    """A gzip body without its end, in a complete HTTP reply."""
    await reply(connection, gzip.compress(answer_json())[:-12], content_encoding="gzip")


# ---- bad days: too much --------------------------------------------------------------------------------------------


@_mode
async def gzip_bomb(connection: Connection, seen: Seen) -> None:
    """About 250 KB that unpack to 256 MB of spaces."""
    packer = zlib.compressobj(9, wbits=31)
    await connection.packet(head(content_type="application/json", content_encoding="gzip", transfer_encoding="chunked"))
    block = b" " * 1_000_000
    for _ in range(256):
        if packed := packer.compress(block):
            await connection.packet(chunk(packed))
    await connection.send(chunk(packer.flush()) + END)


@_mode
async def gzip_nothing(connection: Connection, seen: Seen) -> None:
    """Gzip members without content, for ever."""
    await connection.packet(stream_head(content_encoding="gzip"))
    packet = chunk(gzip.compress(b"") * 1000)
    while True:
        await connection.packet(packet)


@_mode
async def endless_line(connection: Connection, seen: Seen) -> None:
    """One event that never ends."""
    await connection.packet(stream_head())
    await connection.packet(chunk(b"data: "))
    packet = chunk(b"a" * 65536)
    while True:
        await connection.packet(packet)


@_mode
async def endless_stream(connection: Connection, seen: Seen) -> None:
    """Good events as fast as the peer reads, for ever."""
    await connection.packet(stream_head())
    packet = chunk(event({"content": "more " * 1000}))
    while True:
        await connection.packet(packet)


@_mode
async def endless_header(connection: Connection, seen: Seen) -> None:
    """A header that never ends, as fast as the peer reads."""
    await connection.packet(b"HTTP/1.1 200 OK\r\nx-long: ")
    while True:
        await connection.packet(b"a" * 65536)


@_mode
async def deep_json(connection: Connection, seen: Seen) -> None:
    """JSON nested 200,000 levels deep."""
    await reply(connection, b"[" * 200_000 + b"]" * 200_000)


# ---- statuses ------------------------------------------------------------------------------------------------------

_REASONS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}


def status(code: int, after: str = "") -> Mode:
    """`status-503`, `status-429-after-2`: an error reply, with a Retry-After of so many seconds (or a date)."""

    async def answer(connection: Connection, seen: Seen) -> None:
        error = {"error": {"message": f"Chaos says {code}.", "type": "chaos", "code": f"chaos_{code}"}}
        headers = {"retry_after": after} if after else {}
        await reply(connection, json.dumps(error).encode(), code, _REASONS.get(code, "Chaos"), **headers)

    return answer


@_mode
async def long_error(connection: Connection, seen: Seen) -> None:
    """Status 500 with a body that never ends."""
    await connection.packet(head(500, "Chaos", content_type="text/plain", transfer_encoding="chunked"))
    packet = chunk(b"no " * 5000)
    while True:
        await connection.packet(packet)


def redirect_to(base: str) -> Mode:
    """A redirect to another server, with a secret in its address."""

    async def answer(connection: Connection, seen: Seen) -> None:
        await reply(connection, b"{}", 307, "Temporary Redirect", location=base + "/secret?key=sk-canary")

    return answer
