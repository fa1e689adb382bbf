"""The engine's own process: a llama.cpp server, inside this Python (xllamacpp) or a `llama-server` program.

    python -m lollms_runtime.engines.llamacpp_child

It reads one line of JSON settings from standard input; the key comes this way, so that no process list shows it.
In-process, it answers with one line on standard output when the server listens: {"port": 40123}, or {"error": "..."}.
Logs go to standard error. The end of standard input, which comes when the parent closes it or dies in whatever way,
ends the process at once.

The parent runs this file by its path, with only the standard library and xllamacpp to import, so that a start is quick
and nothing of the current directory is imported.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def main() -> None:
    """Serve until standard input ends."""
    line = sys.stdin.buffer.readline()
    if not line:
        return
    settings = json.loads(line)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is a log line
    _die_with(settings["parent"])
    if "argv" in settings:
        answers.close()
        _become(settings["argv"], settings["env"])
        return
    try:
        server = _serve(settings)
    except Exception as error:  # every failure to load is reported in the same way, and the log has the details
        _answer(answers, {"error": f"{type(error).__name__}: {error}"})
        sys.stderr.flush()
        os._exit(1)
    _answer(answers, {"port": int(server.listening_address.rsplit(":", 1)[1])})
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)  # not `exit`: requests that run are not waited for


def _answer(answers: Any, message: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(message) + "\n")
        answers.flush()
    except OSError:
        os._exit(0)  # nobody is there to read it


def _die_with(parent: int) -> None:
    """On Linux, let the kernel end us with our parent also while we cannot watch standard input."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(0)


def _become(argv: list[str], env: dict[str, str]) -> None:
    """Turn into the program the user named."""
    try:
        os.execve(argv[0], argv, {**os.environ, **env})  # noqa: S606  no shell is what we want
    except OSError as error:
        print(f"cannot run {argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def _serve(settings: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.offline = True
    params.model_alias = {settings["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.cors_origins = ""
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = True
    params.warmup = False
    params.verbosity = 2  # warnings and errors
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context"] * settings["parallel"]  # shared out evenly over the slots
    params.n_batch = params.n_ubatch = settings["stage"]
    params.cache_ram_mib = 0  # slots are chosen by us, so that this second cache would only cost memory
    params.n_gpu_layers = settings["gpu_layers"]
    params.fit_params = settings["gpu_layers"] < 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    if settings["chat_template"]:
        params.chat_template = settings["chat_template"]
        params.use_jinja = False  # the built-in formats exist only without it
    if settings["image_projector"]:
        params.mmproj.path = settings["image_projector"]
        params.mmproj_use_gpu = settings["gpu_layers"] != 0
    if settings["embedding"]:
        params.embedding = True
        if settings["mean_pooling"]:
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
