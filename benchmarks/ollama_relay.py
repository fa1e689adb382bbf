"""The bare relay of `programs/gw.py`, reading Ollama's protocol instead of OpenAI's: an app for uvicorn.

`gw.py` is fixed and knows one upstream address and events of one kind. Here its parts are replaced from outside, so
that everything else (bare ASGI, aiohttp, msgspec, one send per read) is the same program. It takes OpenAI requests, as
the original does.
"""

from __future__ import annotations

import gw  # the copy in the build folder, which is the folder uvicorn runs in
import msgspec
from translate import Out, final


class Message(msgspec.Struct, gc=False):
    content: str | None = None


class Line(msgspec.Struct, gc=False):
    message: Message
    done: bool = False


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


class Lines:
    """Lines of JSON to the events of the other translators; keeps what is no whole line yet."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        lines = (self.rest + data if self.rest else data).split(b"\n")
        self.rest = lines.pop()
        texts = [_decode(line).message.content for line in lines]
        return [b"data: " + _encode(Out(text)) + b"\n\n" for text in texts if text]


def finish(reply: bytes) -> bytes:
    """A whole answer in our envelope."""
    done: bytes = final(_decode(reply).message.content)
    return done


gw.URL = gw.MOCK + "/api/chat"
gw.T = Lines
gw.finish = finish
asgi_app = gw.asgi_app
