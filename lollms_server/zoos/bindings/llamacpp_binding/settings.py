"""From the settings of an instance file to those of the llama.cpp engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lollms_runtime.engines.llamacpp import LlamaCppSettings
from lollms_runtime.models import EMBEDDED, find_model

__all__ = ["settings_of"]


def settings_of(config: Mapping[str, Any], models_folder: Path) -> LlamaCppSettings:
    """The engine's settings. Raises `ModelNotFound`, `ConfigError` and `UnsupportedFeature`."""
    wanted = str(config.get("default_model") or EMBEDDED)
    model = find_model(wanted, models_folder)
    projector = config.get("clip_model_path")
    program = config.get("server_path")
    return LlamaCppSettings(
        model=model,
        alias=EMBEDDED if wanted == EMBEDDED else model.stem,
        context_size=config.get("n_ctx") or config.get("context_size"),
        parallel=int(config.get("n_parallel") or 4),
        threads=config.get("n_threads"),
        gpu_layers=int(config.get("n_gpu_layers") or 0),
        chat_format=config.get("chat_format"),
        embedding=bool(config.get("embedding")),
        image_projector=find_model(str(projector), models_folder) if projector else None,
        server_path=Path(program).expanduser() if program else None,
    )
