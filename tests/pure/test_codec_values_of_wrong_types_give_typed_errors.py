"""Each value of the answers of Anthropic and Google, put in another type: an answer or an error of ours comes of it.

What is read must also be fit to go back: it is sent with the next call.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import LollmsError
from lollms_core.fold import ReplyFold
from lollms_core.protocols.anthropic import MessagesCodec
from lollms_core.protocols.base import Codec, HttpResponse, Target
from lollms_core.protocols.gemini import GeminiCodec
from lollms_core.types import GenerationCall, Message, Tool
from tests.support.feeding import TRANSCRIPTS

ODD: list[Any] = [None, 0, -1, 1.5, True, "x", "", [], {}, [1], {"a": 1}, [[]], [None], {"type": []}, 2**70]
TARGET = Target("https://box.example", key="canary-key-0123456789", provider="box", model="m")
CODECS: dict[str, Codec] = {"anthropic": MessagesCodec(), "gemini": GeminiCodec()}
FILES = sorted(path for name in CODECS for path in (TRANSCRIPTS / name).iterdir() if path.suffix in (".json", ".sse"))


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from paths(each, (*at, key))


def altered(value: Any) -> Iterator[bytes]:
    """The value with each of its places, one after the other, in every odd way."""
    for at in paths(value):
        for odd in ODD:
            whole = {"": copy.deepcopy(value)}
            place: Any = whole
            for key in ("", *at)[:-1]:
                place = place[key]
            place[("", *at)[-1]] = odd
            yield json.dumps(whole[""]).encode()


def answers(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    if path.suffix == ".json":
        yield from altered(json.loads(data))
        return
    end = b"\r\n\r\n" if b"\r\n" in data else b"\n\n"
    events = data.split(end)
    for place, event in enumerate(events):
        head, found, said = event.partition(b"data: ")
        if found and b"\n" not in said:
            for other in altered(json.loads(said)):
                yield end.join([*events[:place], head + found + other, *events[place + 1 :]])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_answers(path: Path) -> None:
    codec = CODECS[path.parent.name]
    asked = GenerationCall((Message.user("Hi"),), tools=(Tool("f"),))
    kind = "application/json" if path.suffix == ".json" else "text/event-stream"
    for data in answers(path):
        reader, fold, told = codec.reader(asked, kind, TARGET), ReplyFold(), ""
        try:
            fold.add(reader.feed(data))
            fold.add(reader.close())
        except LollmsError as error:
            told = str(error)
        assert TARGET.key not in told
        if told:
            continue
        reply = fold.done()
        turns = (
            *asked.messages,
            Message.assistant(reply.text, reply.tool_calls, reply.native),
            *(Message.tool(call.id, "1") for call in reply.tool_calls),
            Message.user("And?"),
        )
        next_call = GenerationCall(turns, tools=asked.tools)
        exchange = codec.prepare(next_call, TARGET)
        with pytest.raises(StopIteration):
            next(exchange)


ERRORS: list[Any] = [
    {"type": "error", "error": {"type": "overloaded_error", "message": "m", "details": {}}, "request_id": "r"},
    {
        "error": {
            "code": 400,
            "message": "m",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "a", "reason": "API_KEY_INVALID"}, {"@type": "b", "retryDelay": "3s"}],
        }
    },
]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("status", [400, 404, 429, 529])
def test_errors(name: str, status: int) -> None:
    for said in [*ERRORS, *([each] for each in ERRORS)]:
        for body in altered(said):
            error = CODECS[name].error(HttpResponse(status, {"content-type": "application/json"}, body), TARGET)
            assert isinstance(error, LollmsError) and error.status == status
