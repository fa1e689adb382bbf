"""A worker: an engine in a process of its own, asked by frames over pipes (see `worker_frames`).

    python -m lollms_runtime.engines.worker KIND

KIND is `transformers`, `vllm`, or `package.module:Class` for an engine that is made elsewhere. The first line on
standard input is JSON and names the parent; frames follow. Standard output is for frames alone: whatever else is
printed there, by Python code or by a library in C, becomes a line of the log, which is standard error. The end of
standard input, which comes when the parent closes it or dies in whatever way, ends the worker at once.

The parent runs this file by its path, so that nothing of the current directory is imported. Until the outputs are
parted, only the standard library is imported.
"""

from __future__ import annotations

import json
import os
import signal
import sys

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_ENGINES = {
    "transformers": "lollms_runtime.engines.transformers_engine:TransformersModel",
    "vllm": "lollms_runtime.engines.vllm_engine:VllmModel",
}


def main(argv: list[str] | None = None) -> int:
    """Serve until standard input ends; 2 for a wrong call."""
    arguments = sys.argv[1:] if argv is None else argv
    kind = arguments[0] if len(arguments) == 1 else ""
    place = _ENGINES.get(kind, kind)
    if ":" not in place:
        print(f"usage: python -m lollms_runtime.engines.worker KIND, which is one of: {', '.join(_ENGINES)}")
        return 2
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked = os.fdopen(os.dup(0), "rb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # a library that asks a question gets no frame for an answer
    line = asked.readline(65_536)
    if not line:
        return 0
    _die_with(int(json.loads(line)["parent"]))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if root not in sys.path:
        sys.path.insert(0, root)
    from lollms_runtime.engines.worker_loop import serve

    serve(place, asked, frames)
    return 0


def _die_with(parent: int) -> None:
    """On Linux, let the kernel end us with our parent also while nothing of ours can run."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
