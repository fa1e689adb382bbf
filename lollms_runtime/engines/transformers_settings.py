"""What a transformers engine is to run: the settings a person can give, and the worker they turn into."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from lollms_core.errors import ConfigError, MissingDependency, ModelNotFound
from lollms_runtime.engines.child import Command
from lollms_runtime.engines.llamacpp_launch import physical_cores
from lollms_runtime.engines.supervisor import Policy
from lollms_runtime.engines.transformers_models import check_folder, find_folder, is_repository
from lollms_runtime.engines.worker_client import WorkerLaunch
from lollms_runtime.engines.worker_engine import WorkerEngine

__all__ = ["DEVICES", "DTYPES", "QUANTISATIONS", "RUNNERS", "TransformersEngine", "TransformersSettings"]

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTISATIONS = ("", "4bit", "8bit")
RUNNERS = ("transformers", "vllm")

_WORKER = Path(__file__).with_name("worker.py")


class TransformersSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a model of transformers.

    `model`: the path of a folder, a name in `folder`, or a repository in the hub's cache, at `revision` (a branch, tag
    or commit). `device`: `auto` takes a graphics card where there is one. `dtype`: the numbers that are computed with;
    `auto` means those of the weights, on the processor float32 for weights up to 2 GB and bfloat16 above.
    `quantisation`: `4bit` or `8bit`, with the library bitsandbytes. `context_size`: tokens of a conversation, at most
    what the model was trained for (default: that). `threads`: default one per physical core, for small models one.
    `allow_downloads`: a model that is not there is downloaded by the hub's library, with `token`; without it no network
    is asked. `plain`: continue texts, without the model's chat template. `allow_pickle`: also read weights in pickles.
    Code that comes with a model is never run, and no setting changes that. `runner`: what computes, `transformers`, or
    `vllm` where that is installed. `policy`: times and restarts.

    Raises `ConfigError` for a value that is none of these.
    """

    model: str
    folder: Path | None = None
    revision: str = "main"
    device: str = "auto"
    dtype: str = "auto"
    quantisation: str = ""
    context_size: int | None = None
    threads: int | None = None
    allow_downloads: bool = False
    allow_pickle: bool = False
    token: str = ""
    plain: bool = False
    runner: str = "transformers"
    policy: Policy = Policy()

    def __post_init__(self) -> None:
        chosen = (("device", DEVICES), ("dtype", DTYPES), ("quantisation", QUANTISATIONS), ("runner", RUNNERS))
        for name, choices in chosen:
            value = getattr(self, name)
            if value not in choices and not (name == "device" and _is_card(value)):
                known = ", ".join(map(repr, choices))
                raise ConfigError(f"{name} is {value!r}; it must be one of: {known}.", param=name)
        for name, least, most in (("context_size", 16, 1 << 24), ("threads", 1, 512)):
            number = getattr(self, name)
            if number is not None and not least <= number <= most:
                raise ConfigError(f"{name} is {number}; it must be from {least} to {most}.", param=name)

    def __repr__(self) -> str:
        return f"TransformersSettings({self.model!r})"

    @property
    def name(self) -> str:
        """The name the model answers under."""
        return self.model if is_repository(self.model) else Path(self.model).name

    @property
    def parallel(self) -> int:
        """One request at a time."""
        return 1

    def to_load(self) -> dict[str, Any]:
        """What the worker is told to load.

        Raises `ModelNotFound`, `ModelLoadFailed` and `UnsupportedFeature` where it is clear that it cannot be loaded.
        """
        told: dict[str, Any] = {
            "name": self.name,
            "folder": "",
            "repository": "",
            "revision": self.revision,
            "size": 0,
            "device": self.device,
            "dtype": self.dtype,
            "quantisation": self.quantisation,
            "context_size": self.context_size,
            "threads": self.threads,
            "cores": physical_cores(),
            "allow_pickle": self.allow_pickle,
            "plain": self.plain,
            "token": self.token if self.allow_downloads else "",
        }
        if self.allow_downloads and is_repository(self.model) and not _is_here(self):
            return {**told, "repository": self.model}
        found = find_folder(self.model, self.folder, self.revision)
        check_folder(found.folder, allow_pickle=self.allow_pickle)
        return {**told, "folder": str(found.folder), "revision": found.revision, "size": found.size}


class TransformersEngine(WorkerEngine[TransformersSettings]):
    """One model of transformers in one worker."""

    def __init__(self, settings: TransformersSettings) -> None:
        command = functools.partial(_command, settings)
        super().__init__(settings, WorkerLaunch(settings.name, command, settings.to_load))

    @property
    def device(self) -> str:
        """Where the model computes: known when it is loaded, before that what the settings say."""
        loaded = self.loaded
        return str(loaded.details.get("device")) if loaded is not None else self.settings.device


def _command(settings: TransformersSettings) -> Command:
    """Raises `MissingDependency`. It is no method of the engine, which would never be collected then."""
    absent = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingDependency(
            f"Models of transformers need {' and '.join(absent)}. Install what is missing with: "
            "lollms install transformers"
        )
    runner, token = settings.runner, settings.token
    if importlib.util.find_spec(runner) is None:
        raise MissingDependency(f"The runner {runner} is not installed. Install it with: lollms install {runner}")
    # -P and a path instead of -m: nothing of the current directory can be imported in place of a module.
    argv = (sys.executable, "-P", str(_WORKER), runner)
    return Command(argv, {"parent": os.getpid()}, secrets=(token,) if token else ())


def _is_card(device: object) -> bool:
    return isinstance(device, str) and device.startswith("cuda:") and device[5:].isdecimal()


def _is_here(settings: TransformersSettings) -> bool:
    try:
        find_folder(settings.model, settings.folder, settings.revision)
    except ModelNotFound:
        return False
    return True
