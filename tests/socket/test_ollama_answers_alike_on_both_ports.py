"""Ollama's protocol through both ports and transports: the same reply, however the network cuts it, and typed ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lollms_core.errors import IdleTimeout, LollmsError, TruncatedStream, UpstreamError
from lollms_core.protocols.ollama import OllamaCodec
from lollms_core.types import GenerationCall, Message, Usage
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, head
from tests.support.feeding import TRANSCRIPTS
from tests.support.ollama_server import OllamaServer
from tests.support.upstreams import KINDS, answer_of, call

STREAM = (Path(TRANSCRIPTS) / "ollama" / "text.ndjson").read_bytes()
TEXT = 'Zeilen\u2028und\u2029Absätze\u0085; 日本語 👩‍👩‍👧 \r\n\t"quoted" \\ end'


def sending(
    pieces: list[bytes], then: Callable[[Connection], object] | None = None
) -> Callable[[Connection, Seen], object]:
    """A mode that sends these chunks, a packet each, and ends the body, or does something else instead."""

    async def mode(connection: Connection, seen: Seen) -> None:
        await connection.packet(head(content_type="application/x-ndjson", transfer_encoding="chunked"))
        for piece in pieces:
            await connection.packet(chunk(piece))
        if then is None:
            await connection.send(END)
        else:
            then(connection)

    return mode


@pytest.fixture(scope="module")
def chaos() -> Iterator[ChaosServer]:
    half = STREAM[: len(STREAM) // 2]
    error = json.dumps({"error": "an error was encountered while running the model"}).encode() + b"\n"
    modes = {
        "whole": sending([STREAM]),
        "slicer": sending([STREAM[at : at + 1] for at in range(len(STREAM))]),
        "sevens": sending([STREAM[at : at + 7] for at in range(0, len(STREAM), 7)]),
        "no_last_newline": sending([STREAM[:-1]]),
        "error": sending([half[: half.rindex(b"\n") + 1] + error]),
        "short": sending([half]),
        "fin": sending([half], lambda connection: connection.fin()),
        "rst": sending([half], lambda connection: connection.rst()),
    }
    with ChaosServer() as server:
        for name, mode in modes.items():
            server.add(name, mode)  # type: ignore[arg-type]

        async def stall(connection: Connection, seen: Seen) -> None:
            await sending([half], lambda connection: None)(connection, seen)  # type: ignore[misc]
            await connection.forever()

        server.add("stall", stall)
        yield server


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["whole", "slicer", "sevens", "no_last_newline"])
def test_the_reply_is_the_same_however_it_is_cut(chaos: ChaosServer, kind: str, mode: str) -> None:
    outcome = answer_of(kind, chaos.url(mode), call(), codec=OllamaCodec())
    assert outcome.error is None and outcome.reply is not None
    assert (outcome.reply.text, outcome.reply.usage) == (TEXT, Usage(26, 12, 38))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("error", UpstreamError),
        ("short", TruncatedStream),
        ("fin", TruncatedStream),
        ("rst", TruncatedStream),
        ("stall", IdleTimeout),
    ],
)
def test_an_answer_that_breaks_off_keeps_what_came(
    chaos: ChaosServer, kind: str, mode: str, error: type[LollmsError]
) -> None:
    outcome = answer_of(kind, chaos.url(mode), call(), codec=OllamaCodec())
    assert type(outcome.error) is error
    assert outcome.text and TEXT.startswith(outcome.text)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_and_streamed_are_the_same(kind: str) -> None:
    with OllamaServer() as ollama:
        asked = [GenerationCall((Message.user(TEXT),), "qwen3", stream=stream) for stream in (True, False)]
        streamed, whole = (answer_of(kind, ollama.origin, each, codec=OllamaCodec()).reply for each in asked)
    assert streamed == whole
    assert whole is not None and (whole.text, whole.thoughts) == (TEXT, "Let me see.")
