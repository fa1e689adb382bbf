"""What a llama.cpp engine is to run: the settings a person can give, and the command they turn into."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from lollms_core.errors import ConfigError, MissingDependency
from lollms_runtime.engines.chat_formats import chat_template_of
from lollms_runtime.engines.child import Command
from lollms_runtime.engines.gguf_header import read_header
from lollms_runtime.engines.supervisor import Launch, Policy
from lollms_runtime.models import check_gguf

__all__ = ["STAGE", "LlamaCppSettings", "launch_of", "stage_of"]

STAGE = 128  # tokens of a prompt that are read between two looks at who is still there
_NAMED_STAGE = 256
"""The same for a program that the user names: it may use a graphics card, which smaller batches slow down. On a
processor 128 tokens at a time cost as much as 256, and 64 some 3 % more."""
_WHOLE_IMAGES = {"gemma3": 256, "gemma3nv": 256, "gemma4v": 1120, "gemma4uv": 1120}
"""Projectors whose models look at all of an image at once, and the tokens of their largest image. Read in parts such an
image would be understood less well, and nothing would say so."""
_USUAL_CONTEXT = 8192
_SMALL_MODEL = 100 * 1024 * 1024
_CHILD = Path(__file__).with_name("llamacpp_child.py")


class LlamaCppSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a model file.

    `model`: a GGUF file. `alias`: the name it answers under (default: the file's name). `context_size`: tokens that
    each conversation may use, at most the model's training context (default: that, but no more than 8,192). `parallel`:
    how many requests are worked on at once; memory for so many contexts is taken. `threads`: default one per physical
    core, for small models one. `gpu_layers`: layers to put on a GPU, -1 for as many as fit. `chat_format`: one of
    llama.cpp's built-in formats instead of the model's own template; tools cannot be called then. `embedding`: also
    answer `embed`; texts are read in one go then, not in stages, and requests one after the other, because llama.cpp
    mixes up texts of different length that it reads at once (its issue 26282). `image_projector`: the GGUF file with
    which a model sees images; for some kinds the stages are as long as an image. `server_path`: a `llama-server`
    program to run instead of the built-in engine; it has to be of September 2025 or later, and gets `server_args` too.
    `policy`: times and restarts.

    Raises `ConfigError` for numbers out of bounds, `UnsupportedFeature` for an unknown chat format.
    """

    model: Path
    alias: str = ""
    context_size: int | None = None
    parallel: int = 2
    threads: int | None = None
    gpu_layers: int = -1
    chat_format: str | None = None
    embedding: bool = False
    image_projector: Path | None = None
    server_path: Path | None = None
    server_args: tuple[str, ...] = ()
    policy: Policy = Policy()

    def __post_init__(self) -> None:
        chat_template_of(self.chat_format)
        bounds = (("context_size", 16, 1 << 24), ("parallel", 1, 64), ("threads", 1, 512), ("gpu_layers", -1, 10_000))
        for name, least, most in bounds:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(f"{name} is {value}; it must be from {least} to {most}.", param=name)

    @property
    def name(self) -> str:
        """The name the model answers under."""
        return self.alias or Path(self.model).stem

    @property
    def slots(self) -> int:
        """How many requests are really worked on at once."""
        return 1 if self.embedding else self.parallel


def launch_of(settings: LlamaCppSettings) -> Launch:
    """What the supervisor needs to run these settings, with a random key that only it and the engine know."""
    key = secrets.token_urlsafe(32)
    make: Callable[[], Command] = lambda: _command(settings, key)  # noqa: E731
    return Launch(settings.name, make, key)


def _command(settings: LlamaCppSettings, key: str) -> Command:
    """Raises `ModelLoadFailed`, `MissingDependency` or `ConfigError` where it is clear that it cannot work."""
    check_gguf(settings.model)
    if settings.image_projector is not None:
        check_gguf(settings.image_projector)
    line = _plain(settings, key)
    port = None
    if settings.server_path is not None:
        port = _free_port()
        line = {
            "parent": line["parent"],
            "argv": _server_argv(_program(settings.server_path), line, port, settings.server_args),
            "env": {"LLAMA_API_KEY": key},
        }
    elif importlib.util.find_spec("xllamacpp") is None:
        raise MissingDependency("Local models need the package xllamacpp. Install it with: lollms install llamacpp")
    # -P and a path instead of -m: nothing of the current directory can be imported in place of a module.
    return Command((sys.executable, "-P", str(_CHILD)), line, port, (key,))


def _plain(settings: LlamaCppSettings, key: str) -> dict[str, Any]:
    model = Path(settings.model)
    header = read_header(model)
    context = settings.context_size or min(header.context_size or _USUAL_CONTEXT, _USUAL_CONTEXT)
    context = min(context, header.context_size or context)
    small = model.stat().st_size < _SMALL_MODEL
    return {
        "parent": os.getpid(),
        "model": str(model),
        "alias": settings.name,
        "key": key,
        "context": context,
        "parallel": settings.slots,
        "stage": context if settings.embedding else min(_stage(settings), context),  # texts to embed come in one go
        # So small a model loses more by waiting for its threads than it gains by having them.
        "threads": settings.threads or (1 if small else physical_cores()),
        "gpu_layers": settings.gpu_layers,
        "chat_template": chat_template_of(settings.chat_format),
        "image_projector": str(settings.image_projector or ""),
        "embedding": settings.embedding,
        "mean_pooling": not header.pools,
    }


def stage_of(settings: LlamaCppSettings) -> int:
    """The tokens of a stage, unless an image makes it longer."""
    return STAGE if settings.server_path is None else _NAMED_STAGE


def _stage(settings: LlamaCppSettings) -> int:
    """The tokens of a stage."""
    if settings.image_projector is None:
        return stage_of(settings)
    return max(stage_of(settings), _WHOLE_IMAGES.get(read_header(settings.image_projector).projector, 0))


def _server_argv(program: str, line: dict[str, Any], port: int, more: tuple[str, ...]) -> list[str]:
    argv = [program, "-m", line["model"], "--alias", line["alias"], "--host", "127.0.0.1", "--port", str(port)]
    argv += ["-c", str(line["context"] * line["parallel"]), "-np", str(line["parallel"])]
    argv += ["-b", str(line["stage"]), "-ub", str(line["stage"]), "-t", str(line["threads"])]
    argv += ["--no-webui", "--slots", "--no-warmup", "--jinja"]
    if line["gpu_layers"] >= 0:
        argv += ["-ngl", str(line["gpu_layers"])]
    if line["chat_template"]:
        argv.remove("--jinja")
        argv += ["--no-jinja", "--chat-template", line["chat_template"]]
    if line["image_projector"]:
        argv += ["--mmproj", line["image_projector"], *(() if line["gpu_layers"] else ("--no-mmproj-offload",))]
    if line["embedding"]:
        argv += ["--embeddings", *(("--pooling", "mean") if line["mean_pooling"] else ())]
    return argv + list(more)


def _program(path: Path) -> str:
    found = shutil.which(str(path.expanduser()))
    if found is None:
        raise ConfigError(f"server_path is {path}, which is no program that can be run. Give the path of llama-server.")
    return os.path.abspath(found)


def _free_port() -> int:
    """A port that is free now. Should another program take it first, the engine ends and is started on another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def physical_cores() -> int:
    """Cores this process may run on, not counting the second thread of a core."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        try:
            text = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii")
        except (OSError, ValueError):
            return max(1, len(allowed))
        cores.add(re.split(r"[,-]", text.strip())[0])
    return max(1, len(cores))
