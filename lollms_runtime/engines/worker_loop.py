"""The inside of a worker: one thread reads what is asked and stopped, the main thread works, one request at a time."""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol

import msgspec

from lollms_core.errors import Cancelled, EngineError, LollmsError, ProtocolError
from lollms_core.types import Batch, Embeddings, GenerationCall, ModelInfo
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.worker_frames import (
    MARK,
    Ask,
    Failed,
    Frame,
    Over,
    Said,
    Stop,
    call_of,
    encode_frame,
    named_events,
    read_frame,
)

__all__ = ["Emit", "Worked", "serve"]

Emit = Callable[[Batch], None]
"""Takes the events that there are now; an empty batch says that the work goes on."""


class Worked(Protocol):
    """What an engine in a worker is: blocking, pushing, and never asked two things at once.

    Its methods raise `LollmsError`s, `Cancelled` among them; anything else becomes an `EngineError`.
    """

    def load(self, settings: dict[str, Any], emit: Emit, cancel: Cancel) -> ModelInfo:
        """Load the model; afterwards the rest can be asked."""

    def generate(self, call: GenerationCall, emit: Emit, cancel: Cancel) -> None:
        """Answer, by events; the last one is `Done`. Stops at the next token when `cancel` is set."""

    def embed(self, texts: Sequence[str], emit: Emit, cancel: Cancel) -> Embeddings:
        """A vector for each text."""

    def tokenize(self, text: str, markers: bool) -> list[int]:
        """The tokens of a text; with `markers`, names of special tokens in it are read as these."""

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""

    def info(self) -> ModelInfo:
        """What is known of the model."""

    def unload(self) -> None:
        """Let go of the model and its memory."""


def serve(place: str, asked: IO[bytes], frames: IO[bytes]) -> None:
    """Make the engine `module:Class` and do what is asked, until the end of `asked`, which ends the process."""
    out = _Out(frames)
    out.raw(MARK)
    todo: queue.SimpleQueue[tuple[Ask, Cancel]] = queue.SimpleQueue()
    running: dict[int, Cancel] = {}
    threading.Thread(target=_read, args=(asked, todo, running), daemon=True, name="worker-input").start()
    engine: Worked | None = None
    while True:
        ask, cancel = todo.get()
        try:
            if engine is None:
                engine = _made(place)
            out.frame(Over(ask.id, _done(engine, ask, out, cancel)))
        except Exception as error:  # every failure is told in the same way, and the log has the details
            out.frame(_failed(ask.id, error))
            if type(error).__name__ == "AcceleratorError":  # torch's: after it a graphics card works no more in here
                os._exit(1)
        finally:
            running.pop(ask.id, None)


class _Out:
    """Frames go out from the main thread alone. Nobody there to read them is the end."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def frame(self, frame: Frame) -> None:
        self.raw(encode_frame(frame))

    def raw(self, data: bytes) -> None:
        try:
            self._pipe.write(data)
            self._pipe.flush()
        except OSError:
            os._exit(0)


def _read(asked: IO[bytes], todo: queue.SimpleQueue[tuple[Ask, Cancel]], running: dict[int, Cancel]) -> None:
    decoder = msgspec.msgpack.Decoder(Frame)
    try:
        while (frame := read_frame(asked, decoder)) is not None:
            if isinstance(frame, Ask):
                cancel = running[frame.id] = Cancel()
                todo.put((frame, cancel))
            elif isinstance(frame, Stop) and (stopped := running.get(frame.id)) is not None:
                stopped.set()
    except ProtocolError as error:
        print(f"error: {error}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(0)  # not `exit`: a request that runs is not waited for


def _made(place: str) -> Worked:
    module, _, name = place.partition(":")
    made: Worked = getattr(importlib.import_module(module), name)()
    return made


def _done(engine: Worked, ask: Ask, out: _Out, cancel: Cancel) -> Any:
    """What comes of a request."""
    cancel.check()
    body = ask.body

    def emit(batch: Batch) -> None:
        out.frame(Said(ask.id, named_events(batch)))

    match ask.what:
        case "generate":
            return engine.generate(call_of(body), emit, cancel)
        case "load":
            return engine.load(body, emit, cancel)
        case "embed":
            return engine.embed(body, emit, cancel)
        case "tokenize":
            return engine.tokenize(body["text"], bool(body.get("markers")))
        case "detokenize":
            return engine.detokenize(body)
        case "count":
            return len(engine.tokenize(body, False))
        case "info":
            return engine.info()
        case "unload":
            return engine.unload()
    raise EngineError(f"This engine does not know how to {ask.what}.")


def _failed(number: int, error: Exception) -> Failed:
    if isinstance(error, LollmsError):
        if not isinstance(error, Cancelled):
            print(f"error: {error.message}", file=sys.stderr, flush=True)
        return Failed(number, error.code, error.message, error.param)
    traceback.print_exc()
    sys.stderr.flush()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        words = "There was not memory enough for this. Make the prompt shorter, or use a smaller or quantised model."
        return Failed(number, EngineError("").code, words)
    said = " ".join(str(error).split())[:500]
    return Failed(number, EngineError("").code, f"The engine failed with {type(error).__name__}: {said}")
