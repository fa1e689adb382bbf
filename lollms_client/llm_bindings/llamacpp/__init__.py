"""Servers of llama.cpp on this machine, started and ended for you: several GGUF models, each with parallel slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lollms_client.completion_format import completion_format
from lollms_client.llamacpp_binding import LlamaCppEngines, options_of
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT
from lollms_core.errors import UnsupportedFeature

__all__ = ["BindingName", "LlamaCppServerBinding"]

BindingName = "LlamaCppServerBinding"


class LlamaCppServerBinding(LlamaCppEngines):
    """GGUF models on this machine, each behind a supervised server of its own, the built-in one or a `llama-server`.

    A server starts with the first use of its model, also when a call names that model, and stays until `unload_model`,
    `close`, or until another model needs its place (`max_models`).
    """

    binding_name = "llamacpp"
    keeps_models = True

    def __init__(
        self,
        model_name: str | Path | None = None,
        models_path: str | Path | None = None,
        clip_model_name: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        default_completion_format: object = None,
        server_path: str | Path | None = None,
        llama_server: str | Path | None = None,
        server_args: Sequence[str] | None = None,
        max_models: int | None = None,
        parallel: int | None = None,
        n_ctx: int | None = None,
        n_gpu_layers: int | None = None,
        n_threads: int | None = None,
        seed: int | None = None,
        chat_format: str | None = None,
        embedding: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """`model_name` is the path of a GGUF file, a name in `models_path`, or `lollms-nano`.

        `clip_model_name` is the file, or its name in `models_path`, with which that model sees images; `server_path`
        (also `llama_server`) a `llama-server` program to run, by its path or its name, instead of the built-in server,
        and `server_args` more arguments for it; `max_models` how many models may run at once (2); `parallel` how many
        calls each works on at once (2). `n_ctx` is the context of one conversation in tokens, `n_gpu_layers` -1 means
        as many as fit, `seed` -1 a different one each time; `chat_format` is llama.cpp's name of a chat template
        instead of the model's own; `embedding` allows `embed`. `config` may hold the same settings.

        Raises `ModelNotFound`, `UnsupportedFeature` for an unknown chat format and for the completion format Instruct,
        `InvalidRequest` for a setting of a wrong type, `ConfigError` for one out of bounds.
        """
        if completion_format(default_completion_format) is ELF_COMPLETION_FORMAT.Instruct:
            raise UnsupportedFeature(
                "llama.cpp is asked in messages, which it puts into the model's own format: leave "
                "default_completion_format at Chat, or choose a chat_format.",
                param="default_completion_format",
            )
        given = {
            "clip_model_path": clip_model_name,
            "server_path": server_path or llama_server,
            "server_args": server_args,
            "max_models": max_models,
            "parallel": parallel,
            "n_ctx": n_ctx,
            "n_gpu_layers": n_gpu_layers,
            "n_threads": n_threads,
            "seed": seed,
            "chat_format": chat_format,
            "embedding": embedding,
        }
        options = options_of(self.binding_name, given, config, kwargs)
        super().__init__(str(model_name) if model_name else None, models_path, options)
