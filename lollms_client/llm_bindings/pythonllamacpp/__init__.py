"""GGUF models on this machine, run by llama.cpp: `model_name` is a path, a name in `models_path`, or `lollms-nano`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lollms_client.llamacpp_binding import LlamaCppEngines, options_of

__all__ = ["BindingName", "LlamaCppBinding"]

BindingName = "LlamaCppBinding"


class LlamaCppBinding(LlamaCppEngines):
    """One GGUF model on this machine, run by llama.cpp in a process of its own. Another one takes its place."""

    binding_name = "pythonllamacpp"

    def __init__(
        self,
        model_name: str | Path | None = None,
        models_path: str | Path | None = None,
        model_path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        lollms_paths: Any = None,
        n_ctx: int | None = None,
        n_gpu_layers: int | None = None,
        n_threads: int | None = None,
        seed: int | None = None,
        chat_format: str | None = None,
        clip_model_path: str | Path | None = None,
        embedding: bool | None = None,
        parallel: int | None = None,
        server_path: str | Path | None = None,
        in_process: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """`model_path` or `model_name` is the path of a GGUF file, a name in `models_path`, or `lollms-nano`.

        `n_ctx` is the context of one conversation in tokens, `n_gpu_layers` -1 means as many as fit, `seed` -1 means a
        different one each time; `chat_format` is llama.cpp's name of a chat template instead of the model's own;
        `clip_model_path` the file with which the model sees images; `embedding` allows `embed`; `parallel` is how many
        calls are worked on at once; `server_path` a `llama-server` program to run instead of the built-in engine.
        `config` may hold the same settings. `lollms_paths`, a dictionary or an object, may name the folder of models
        as `models_path` or `personal_models_path`.

        Raises `ModelNotFound`, `UnsupportedFeature` for an unknown chat format and for `in_process`, `InvalidRequest`
        for a setting of a wrong type, `ConfigError` for one out of bounds.
        """
        given = {
            "n_ctx": n_ctx,
            "n_gpu_layers": n_gpu_layers,
            "n_threads": n_threads,
            "seed": seed,
            "chat_format": chat_format,
            "clip_model_path": clip_model_path,
            "embedding": embedding,
            "parallel": parallel,
            "server_path": server_path,
            "in_process": in_process,
        }
        options = options_of(self.binding_name, given, config, kwargs)
        model = model_path or model_name
        super().__init__(str(model) if model else None, models_path or _folder_in(lollms_paths), options)


def _folder_in(paths: Any) -> str | Path | None:
    """The folder of models that an older script's `lollms_paths` names, if it names one."""
    for name in ("models_path", "personal_models_path"):
        found = paths.get(name) if isinstance(paths, Mapping) else getattr(paths, name, None)
        if isinstance(found, (str, Path)):
            return found
    return None
