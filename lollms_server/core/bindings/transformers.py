"""Models of Hugging Face's transformers: what `transformers_binding` and `hf_binding`, which are one, share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from lollms_core.errors import ConfigError
from lollms_runtime.engines.transformers_settings import TransformersEngine, TransformersSettings
from lollms_server.core.bindings import Surroundings
from lollms_server.core.bindings.engine import Engine, EngineBinding

__all__ = ["TransformersModel", "settings_of"]


class TransformersModel(EngineBinding):
    """One model of transformers. Unless it computes on the processor, each request waits for the graphics card."""

    @override
    def make_engine(self, surroundings: Surroundings) -> tuple[Engine, str]:
        settings = settings_of(self.config, surroundings.models_folder)
        return TransformersEngine(settings), settings.name

    @property
    @override
    def capacity(self) -> int | None:
        return 1

    @override
    def get_resource_requirements(self, model_name: str | None = None) -> dict[str, Any]:
        """`auto` may turn out to be a graphics card as long as nothing is loaded."""
        engine = self._engine
        device = engine.device if isinstance(engine, TransformersEngine) else str(self.config.get("device") or "auto")
        return {"gpu_required": device != "cpu", "estimated_vram_mb": 0}


def settings_of(config: Mapping[str, Any], models_folder: Path) -> TransformersSettings:
    """The engine's settings from those of an instance file. Raises `ConfigError`."""
    model = str(config.get("default_model") or config.get("model_name_or_id") or "")
    if not model:
        raise ConfigError(
            "default_model is missing: the path of a model's folder, its name in the models folder, or "
            "organisation/model of the hub.",
            param="default_model",
        )
    quantisation = str(config.get("quantisation") or "")
    if not quantisation:
        quantisation = "4bit" if config.get("load_in_4bit") else "8bit" if config.get("load_in_8bit") else ""
    return TransformersSettings(
        model=model,
        folder=models_folder,
        revision=str(config.get("revision") or "main"),
        device=str(config.get("device") or "auto"),
        dtype=str(config.get("dtype") or "auto"),
        quantisation=quantisation,
        context_size=config.get("context_size"),
        threads=config.get("n_threads"),
        allow_downloads=bool(config.get("allow_downloads")),
        allow_pickle=bool(config.get("allow_pickle")),
        token=str(config.get("hf_token") or ""),
        runner=str(config.get("runner") or "transformers"),
    )
