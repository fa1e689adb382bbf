"""An engine for workers that needs nothing and does as it is told by the prompt: `word argument`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lollms_core.errors import ContextTooLong, ModelLoadFailed
from lollms_core.types import Batch, Done, Embeddings, GenerationCall, ModelInfo, TextDelta, Usage
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.child import Command
from lollms_runtime.engines.supervisor import Policy
from lollms_runtime.engines.worker_client import WorkerLaunch
from lollms_runtime.engines.worker_engine import WorkerEngine

Emit = Callable[[Batch], None]
KIND = "tests.support.stand_in_engine:StandIn"
ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "lollms_runtime" / "engines" / "worker.py"


class StandInSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`load` is what the engine does when it loads."""

    load: str = ""
    policy: Policy = Policy()
    parallel: int = 1

    @property
    def name(self) -> str:
        return "stand-in"


def command() -> Command:
    return Command((sys.executable, "-P", str(WORKER), KIND), {"parent": os.getpid()})


def stand_in(policy: Policy | None = None, load: str = "") -> WorkerEngine[StandInSettings]:
    """An engine whose worker runs `StandIn`."""
    settings = StandInSettings(load=load, policy=policy or Policy(load=30.0))
    return WorkerEngine(settings, WorkerLaunch(settings.name, command, lambda: {"load": load}))


class AcceleratorError(RuntimeError):
    """What torch calls an error after which a graphics card works no more in this process."""


class StandIn:
    """See above; it is what runs in the worker."""

    def load(self, settings: dict[str, Any], emit: Emit, cancel: Cancel) -> ModelInfo:
        print("noise while loading")
        if settings["load"] == "refuse":
            raise ModelLoadFailed("There is no such model.")
        if settings["load"] == "die":
            print("error: the weights of /some/where/model.bin are odd", file=sys.stderr, flush=True)
            os.abort()
        if settings["load"] == "hang":
            time.sleep(3600)
        return self.info()

    def generate(self, call: GenerationCall, emit: Emit, cancel: Cancel) -> None:
        word, _, rest = call.messages[-1].text.partition(" ")
        text: str = getattr(self, f"do_{word}")(rest, emit, cancel) or ""
        emit((TextDelta(text), Done("stop", Usage(1, 2, 3), "stand-in")))

    def do_say(self, rest: str, emit: Emit, cancel: Cancel) -> str:
        return rest

    def do_noise(self, rest: str, emit: Emit, cancel: Cancel) -> str:
        print("printed")
        os.write(1, b"\x00\x00\x00\x05bytes of a library\n")
        subprocess.run([sys.executable, "-c", "print('of a program')"], check=True)
        assert sys.stdin.read() == ""
        return "quiet"

    def do_tokens(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        number = 0
        while number < int(rest or sys.maxsize):
            cancel.check()
            emit((TextDelta(f"{number} "),))
            number += 1
            time.sleep(0.001)

    def do_deaf(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        emit((TextDelta("I hear nothing."),))
        while True:
            time.sleep(0.02)
            emit(())

    def do_mute(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        emit((TextDelta("I say nothing more."),))
        time.sleep(3600)

    def do_die(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        emit((TextDelta("so far"),))
        print("error: no more of /some/where/memory", file=sys.stderr, flush=True)
        os.abort()

    def do_exit(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        sys.exit(int(rest))

    def do_raise(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        raise RuntimeError(rest)

    def do_refuse(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        raise ContextTooLong(rest, param="messages")

    def do_big(self, rest: str, emit: Emit, cancel: Cancel) -> str:
        return "x" * int(rest)

    def do_break(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        raise AcceleratorError("device-side assert triggered")

    def do_chatter(self, rest: str, emit: Emit, cancel: Cancel) -> str:
        for _ in range(2000):
            os.write(2, b"chatter " * 500)  # 8 MB, and no end of a line
        return "done"

    def do_rubbish(self, rest: str, emit: Emit, cancel: Cancel) -> None:
        number = next(n for n in range(3, 64) if _is_pipe(n) and n != 0 and os.get_blocking(n) and _writable(n))
        os.write(number, b"\xff" * 64)
        time.sleep(3600)

    def embed(self, texts: Sequence[str], emit: Emit, cancel: Cancel) -> Embeddings:
        while "forever" in texts:
            cancel.check()
            emit(())
            time.sleep(0.001)
        return Embeddings(tuple((float(len(text)), 1.0) for text in texts), "stand-in")

    def tokenize(self, text: str, markers: bool) -> list[int]:
        return [*([0] if markers else []), *map(ord, text)]

    def detokenize(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    def info(self) -> ModelInfo:
        return ModelInfo("stand-in", context_size=77)

    def unload(self) -> None:
        return None


def _is_pipe(number: int) -> bool:
    import stat

    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False


def _writable(number: int) -> bool:
    import fcntl

    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
