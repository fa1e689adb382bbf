"""A worker's process, seen by its parent: a child that is spoken to in frames.

Besides the two threads of every `Child` it has one that writes, so that nobody waits for a worker that does not read.
"""

from __future__ import annotations

import contextlib
import queue
import re
import subprocess
import threading
from collections.abc import Callable
from typing import IO

import msgspec
from typing_extensions import override

from lollms_core.errors import ProtocolError
from lollms_runtime.engines.child import Child, Command
from lollms_runtime.engines.worker_frames import MARK, Frame, encode_frame, read_frame

__all__ = ["WorkerProcess"]

_NOISE = 1024 * 1024  # bytes that may come before the mark
_ENDING = 2.0  # seconds for a process to end after its output has
_WORDS = 3  # lines
_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^/\\\s'\":]+[/\\])+")
_UNTELLING = re.compile(r'^\s|^Traceback |^File "|^$|^\^+$|^Fatal Python error|^Thread 0x|^Current thread')


class WorkerProcess(Child):
    """A running worker. `on_frame` is called for each frame, `notify` when it has ended, both from its own thread.

    Raises OSError if the process cannot be started. Start it from a thread that lives as long: where the parent's
    death ends the child, Linux means the death of that thread.
    """

    def __init__(self, command: Command, notify: Callable[[], None], on_frame: Callable[[Frame], None]) -> None:
        self._on_frame = on_frame
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        super().__init__(command, notify)
        self._writer = threading.Thread(target=self._write, daemon=True, name=f"engine-write-{self.pid}")
        self._writer.start()

    def send(self, frame: Frame) -> None:
        """Send a frame, in the order of calling; returns at once. Raises `InvalidRequest` for what cannot be sent."""
        self._outgoing.put(encode_frame(frame))

    @property
    def last_words(self) -> str:
        """What it said last in its log, without folders, as a sentence with a blank in front; "" for nothing."""
        lines = [_FOLDERS.sub("", line).strip() for line in self.log() if not _UNTELLING.match(line)]
        said = " | ".join(list(dict.fromkeys(filter(None, lines)))[-_WORDS:])
        return f" It said: {said[:600]}" if said else ""

    @override
    def end(self, grace: float = 2.0) -> None:
        """See `Child.end`."""
        self._outgoing.put(None)
        self._writer.join(grace)
        if self._writer.is_alive():  # it reads nothing: until it is gone, its input could not even be closed
            self.kill()
            self._writer.join(1.0)
        super().end(grace)

    def _write(self) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it is gone, or its input was closed: that is seen elsewhere
            while (data := self._outgoing.get()) is not None:
                pipe.write(data)
                pipe.flush()

    @override
    def _wait(self) -> None:
        pipe = self._process.stdout
        if pipe is not None:
            with pipe:
                self._listen(pipe)
        if not self._exits():
            self.kill()  # it has closed its output, or writes what cannot be read
        self._process.wait()
        self.kill()  # whatever it has left behind
        self._threads[1].join(0.5)  # so that the last lines of the log are there when the end is known
        self.ended.set()
        self._outgoing.put(None)
        self._notify()

    def _listen(self, pipe: IO[bytes]) -> None:
        """Pass on its frames until there are no more."""
        decoder = msgspec.msgpack.Decoder(Frame)
        try:
            if _skip_noise(pipe):
                while (frame := read_frame(pipe, decoder)) is not None:
                    self._on_frame(frame)
        except ProtocolError as error:
            self._log.append(f"error: {error}")

    def _exits(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING)
        return self._process.returncode is not None


def _skip_noise(pipe: IO[bytes]) -> bool:
    """Read up to and with the mark; whether it came."""
    seen = b""
    for _ in range(_NOISE):
        byte = pipe.read(1)
        if not byte:
            return False
        seen = (seen + byte)[-len(MARK) :]
        if seen == MARK:
            return True
    return False
