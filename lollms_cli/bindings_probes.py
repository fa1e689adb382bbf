"""What `lollms bindings test` tries with a binding: small calls, one after the other, each a line with its time.

A probe says `ok`, `no` (this cannot be done here, in words), `-` (not tried) or `bad` (it should work and does not).
The text answer decides whether the binding works; when it fails, nothing after it is tried, because it would fail as
well and cost. All calls together ask for fewer than 400 tokens and answer with fewer than 300.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple, Protocol

from lollms_core.errors import (
    AccessDenied,
    AuthFailed,
    ConnectFailed,
    ConnectTimeout,
    EngineError,
    InvalidRequest,
    LollmsError,
    UnsupportedFeature,
)
from lollms_core.fold import ReplyFold
from lollms_core.types import Batch, GenerationCall, ImagePart, Message, Params, Reply, TextDelta, ThoughtDelta, Tool

__all__ = ["Finding", "Subject", "probe"]

State = Literal["ok", "no", "-", "bad"]

_SECONDS = 120.0
_ANSWER = 48  # tokens
_SHOWN = 60  # characters of an answer
_MOST = 20_000  # characters of an answer, with its thoughts; who writes more heeds no limit, and costs
_FEW = 5
_WORD = "pineapple"
_TOOL = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
_SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}


class Finding(NamedTuple):
    """What one probe found; `seconds` is how long it took."""

    name: str
    state: State
    seconds: float
    words: str


class Subject(Protocol):
    """What is tried: a binding of the library, or an instance of a server."""

    model: str
    has_key: bool | None
    """Whether a key is sent; None where only another server knows."""

    async def models(self) -> list[str]:
        """The names of its models."""
        ...

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the model."""
        ...

    async def sees(self) -> bool:
        """Whether the model may see images, as far as anybody says."""
        ...

    async def embed(self, text: str) -> Sequence[float]:
        """The vector of a text."""
        ...

    async def count(self, text: str) -> tuple[int, bool]:
        """How many tokens a text has, and whether that is exact."""
        ...

    def in_words(self, error: LollmsError) -> str:
        """An error for whoever typed the command, without any secret."""
        ...


class _Answered(NamedTuple):
    reply: Reply
    pieces: int
    endless: bool


Say = Callable[[Finding], None]


async def probe(subject: Subject, say: Say) -> bool:
    """Try everything and say what is found; whether the text answer works."""
    run = _Run(subject, say)
    if not await run.reach():
        return False
    if not await run.answers():
        return False
    for each in (run.streams, run.system, run.tools, run.schema, run.images, run.embeddings, run.tokens):
        await each()
    return True


class _Run:
    """One run over all probes."""

    def __init__(self, subject: Subject, say: Say) -> None:
        self._subject = subject
        self._say = say
        self._reached = False
        self._since = 0.0

    # ---- whether anybody is there

    async def reach(self) -> bool:
        """Whether somebody is there who takes the key, as far as the list of models shows it."""
        self._begin()
        try:
            async with asyncio.timeout(_SECONDS):
                names = await self._subject.models()
        except (LollmsError, TimeoutError) as error:
            return self._without_models(error)
        self._is_there()
        shown = ", ".join(names[:_FEW]) + (" ..." if len(names) > _FEW else "")
        self._found("models", "ok", f"{len(names)} listed: {shown}" if names else "none listed")
        if not self._subject.model and len(names) == 1:
            self._subject.model = names[0]
        return True

    def _without_models(self, error: LollmsError | TimeoutError) -> bool:
        words = self._words(error)
        if isinstance(error, (ConnectFailed, ConnectTimeout, EngineError, TimeoutError)):
            self._found("reachable", "bad", words)
            return False
        if isinstance(error, UnsupportedFeature):  # nobody was asked
            self._found("models", "no", words)
            return True
        self._is_there()
        if isinstance(error, (AuthFailed, AccessDenied)):
            self._found("key", "bad", words)
            return False
        self._found("models", "no", words)
        return True

    def _is_there(self) -> None:
        if not self._reached:
            self._reached = True
            self._found("reachable", "ok", "it answers")

    # ---- what an answer shows

    async def answers(self) -> bool:
        """Whether a plain question is answered, which also shows that the key is good."""
        answered = await self._ask("text", "Say hello in one word.")
        if isinstance(answered, _Answered):
            self._is_there()
            if self._subject.has_key is not None:
                self._found("key", "ok", "accepted" if self._subject.has_key else "none is sent, and none is asked for")
            state, words = _text_of(answered.reply)
            model = answered.reply.model or self._subject.model
            limit = f", and more than the {_ANSWER} tokens that were asked for" if answered.endless else ""
            self._found("text", state, f"{words}{f', from {model}' if model else ''}{limit}")
            return state == "ok"
        if isinstance(answered, (AuthFailed, AccessDenied)):
            self._is_there()
            self._found("key", "bad", self._words(answered))
        elif isinstance(answered, (ConnectFailed, ConnectTimeout)) and not self._reached:
            self._found("reachable", "bad", self._words(answered))
        else:
            self._found("text", "bad", self._words(answered))
        return False

    async def streams(self) -> None:
        """Whether the answer comes in pieces."""
        answered = await self._ask("streaming", "Count from one to five.", stream=True)
        if isinstance(answered, _Answered):
            pieces = answered.pieces
            words = f"{pieces} pieces" if pieces > 1 else "the answer came in one piece" if pieces else "no text came"
            self._found("streaming", "ok" if pieces > 1 else "no", words)
        else:
            self._refused("streaming", answered)

    async def system(self) -> None:
        """Whether the system prompt is heeded."""
        told = f"Whatever you are asked, answer with the one word {_WORD}."
        answered = await self._ask("system prompt", "What is your name?", system=told)
        if not isinstance(answered, _Answered):
            return self._refused("system prompt", answered)
        heeded = _WORD in answered.reply.text.lower()
        said = _text_of(answered.reply)[1]
        self._found("system prompt", "ok" if heeded else "no", "heeded" if heeded else f"not heeded: {said}")

    async def tools(self) -> None:
        """Whether a tool is called."""
        answered = await self._ask("tools", "Look up the weather in Paris.", tools=(_TOOL,))
        if not isinstance(answered, _Answered):
            return self._refused("tools", answered)
        calls = [call for call in answered.reply.tool_calls if call.name == _TOOL.name]
        if calls:
            arguments = json.dumps(calls[0].arguments, ensure_ascii=False)[:_SHOWN]
            self._found("tools", "ok", f"called {_TOOL.name}({arguments}){_how(answered.reply, 'tools')}")
        else:
            self._found("tools", "no", f"the model called none: {_text_of(answered.reply)[1]}")

    async def schema(self) -> None:
        """Whether an answer obeys a JSON Schema."""
        answered = await self._ask("JSON Schema", "How much is 2 + 3?", schema=_SCHEMA)
        if not isinstance(answered, _Answered):
            return self._refused("JSON Schema", answered)
        try:
            value = json.loads(answered.reply.text)
            fits = isinstance(value, dict) and set(value) == {"sum"} and type(value["sum"]) is int
        except (ValueError, RecursionError):
            fits = False
        words = f"obeyed{_how(answered.reply, 'schema')}" if fits else f"not obeyed: {_text_of(answered.reply)[1]}"
        self._found("JSON Schema", "ok" if fits else "no", words)

    async def images(self) -> None:
        """Whether an image is looked at, where the model may see."""
        self._begin()
        sees = False
        with contextlib.suppress(LollmsError, TimeoutError):  # who cannot say so does not say that it sees
            async with asyncio.timeout(_SECONDS):
                sees = await self._subject.sees()
        if not sees:
            return self._found("images", "-", "not tried: the model is not said to see")
        answered = await self._ask("images", "Which colour is this? One word.", images=(_picture(),))
        if isinstance(answered, _Answered):
            self._found("images", *_text_of(answered.reply))
        else:
            self._refused("images", answered)

    async def embeddings(self) -> None:
        """Whether a text becomes a vector."""
        self._begin()
        try:
            async with asyncio.timeout(_SECONDS):
                vector = await self._subject.embed("hello")
        except (LollmsError, TimeoutError) as error:
            return self._refused("embeddings", error)
        self._found("embeddings", "ok", f"{len(vector)} numbers for a text")

    async def tokens(self) -> None:
        """Who counts tokens."""
        self._begin()
        try:
            async with asyncio.timeout(_SECONDS):
                count, exact = await self._subject.count("The quick brown fox jumps over the lazy dog.")
        except (LollmsError, TimeoutError) as error:
            return self._refused("tokens", error)
        self._found("tokens", "ok", f"{count} for a sentence of 9 words, {'exact' if exact else 'an estimate'}")

    # ---- pieces

    async def _ask(
        self, name: str, text: str, system: str = "", images: tuple[ImagePart, ...] = (), **more: Any
    ) -> _Answered | LollmsError | TimeoutError:
        """One call, or why it failed."""
        told = (Message.system(system),) if system else ()
        params = Params(max_tokens=_ANSWER)
        call = GenerationCall((*told, Message.user(text, images)), self._subject.model, params, **more)
        fold, pieces, characters = ReplyFold(), 0, 0
        self._begin()
        try:
            async with asyncio.timeout(_SECONDS), self._subject.open(call) as batches:
                async for batch in batches:
                    fold.add(batch)
                    pieces += sum(isinstance(event, TextDelta) for event in batch)
                    characters += sum(len(e.text) for e in batch if isinstance(e, TextDelta | ThoughtDelta))
                    if characters > _MOST:
                        break
        except (LollmsError, TimeoutError) as error:
            return error
        return _Answered(fold.done(), pieces, characters > _MOST)

    def _refused(self, name: str, error: LollmsError | TimeoutError) -> None:
        refusals = (UnsupportedFeature, InvalidRequest)
        self._found(name, "no" if isinstance(error, refusals) else "bad", self._words(error))

    def _words(self, error: LollmsError | TimeoutError) -> str:
        if isinstance(error, LollmsError):
            return self._subject.in_words(error)
        return f"There was no answer within {_SECONDS:g} seconds."

    def _begin(self) -> None:
        self._since = time.monotonic()

    def _found(self, name: str, state: State, words: str) -> None:
        now = time.monotonic()
        self._say(Finding(name, state, now - self._since, words))
        self._since = now


def _text_of(reply: Reply) -> tuple[State, str]:
    """Whether there is an answer, and its beginning; a model that thinks may have thought of nothing else."""
    text = " ".join(reply.text.split())
    if text:
        return "ok", f"it says {text[:_SHOWN]!r}" + (" ..." if len(text) > _SHOWN else "")
    if reply.thoughts or reply.finish_reason == "length":
        return "ok", f"its {_ANSWER} tokens went into thoughts"
    if reply.tool_calls:
        return "ok", f"it called {reply.tool_calls[0].name}"
    return "bad", "the answer is empty"


def _how(reply: Reply, name: str) -> str:
    """What the receipt says of one thing, after a comma."""
    return "".join(f", {item.action}: {item.reason}" for item in reply.receipt if item.name == name)


def _picture(size: int = 32) -> ImagePart:
    """A red square as PNG."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff\0\0" * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return ImagePart(whole, "image/png")
