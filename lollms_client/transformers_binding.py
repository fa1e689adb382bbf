"""Models of transformers on this machine: their settings, as callers give them, and the engines made from these.

Settings come as arguments of the constructor (`llm_binding_config` of a client) or in a dictionary `config`, which is
how older scripts give them; what the dictionary has wins.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
from typing_extensions import override

from lollms_client.engine_binding import EngineBinding
from lollms_core.errors import InvalidRequest, ModelNotFound, UnsupportedFeature

if TYPE_CHECKING:
    from lollms_runtime.engines.transformers_settings import TransformersEngine, TransformersSettings

__all__ = ["Options", "TransformersModels", "options_of"]

_OTHER_NAMES = {
    "ctx_size": "context_size",
    "n_ctx": "context_size",
    "threads": "n_threads",
    "torch_dtype": "dtype",
    "quantization": "quantisation",
    "hf_api_key": "hf_token",
    "service_key": "hf_token",
}
_OF_THE_CLIENT = ("host_address", "models_path", "model_name", "model_name_or_id", "verify_ssl_certificate")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "context_size": int,
    "n_threads": int,
    "max_models": int,
    "device": str,
    "dtype": str,
    "quantisation": str,
    "revision": str,
    "runner": str,
    "hf_token": str,
    "allow_downloads": bool,
    "allow_pickle": bool,
    "load_in_4bit": bool,
    "load_in_8bit": bool,
}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the binding; None leaves a choice to the engine. See `TransformersSettings`.

    `load_in_4bit` and `load_in_8bit` are the older names of `quantisation` 4bit and 8bit. `max_models`: how many models
    may run at once. `runner`: transformers or vllm. `hf_token`: for downloads; without it HF_TOKEN or
    HUGGING_FACE_HUB_TOKEN of the environment.
    """

    device: str = "auto"
    dtype: str = "auto"
    quantisation: str = ""
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    revision: str = "main"
    context_size: int | None = None
    n_threads: int | None = None
    max_models: int = 1
    allow_downloads: bool = False
    allow_pickle: bool = False
    hf_token: str = ""
    plain: bool = False
    runner: str = "transformers"

    def __repr__(self) -> str:
        return "Options(...)"

    @property
    def numbers(self) -> str:
        """The quantisation under its one name."""
        return self.quantisation or ("4bit" if self.load_in_4bit else "8bit" if self.load_in_8bit else "")


def options_of(
    binding_name: str, given: Mapping[str, Any], config: Mapping[str, Any] | None, rest: Mapping[str, Any]
) -> Options:
    """The settings from named arguments, further arguments and a dictionary, each of which wins over those before.

    Raises `InvalidRequest` for a value of a wrong type, `UnsupportedFeature` for `trust_remote_code`.
    """
    if config is not None and not isinstance(config, Mapping):
        raise InvalidRequest(f"config is {config!r}; it must be a dictionary of settings.", param="config")
    found: dict[str, Any] = {}
    for source in (given, rest, config or {}):
        for name, value in source.items():
            if value is not None and value != "":
                found[_OTHER_NAMES.get(name, name)] = value
    if found.pop("trust_remote_code", False):
        raise UnsupportedFeature(
            "trust_remote_code is not offered: code that comes with a model could do anything on this machine, and is "
            "never run. Leave it out, and use a model of a kind that transformers knows.",
            param="trust_remote_code",
        )
    unknown = sorted(set(map(str, found)) - set(Options.__struct_fields__) - set(_OF_THE_CLIENT))
    if unknown:
        logging.getLogger("lollms_client").warning(
            "The LLM binding %r does not take %s; it is made without.", binding_name, ", ".join(unknown)
        )
    kept = {name: value for name, value in found.items() if name in Options.__struct_fields__}
    for name, kind in _KINDS.items():
        if name in kept and (not isinstance(kept[name], kind) or (kind is int and isinstance(kept[name], bool))):
            shown = "of a wrong type" if name == "hf_token" else repr(kept[name])
            wanted = {int: "a whole number", bool: "true or false"}.get(cast(type, kind), "a text")
            raise InvalidRequest(f"{name} is {shown}; it must be {wanted}.", param=name)
    for name in ("context_size", "n_threads"):  # 0 in a form means that nothing was chosen
        if kept.get(name) == 0:
            del kept[name]
    options = Options(**kept)
    if options.max_models < 1:
        raise InvalidRequest(f"max_models is {options.max_models}; it must be at least 1.", param="max_models")
    return options


class TransformersModels(EngineBinding):
    """Models of transformers on this machine, each in a process of its own."""

    def __init__(self, model_name: str | None, models_path: str | Path | None, options: Options) -> None:
        """Nothing is started. Raises `InvalidRequest` without a model, `ModelNotFound`, `ConfigError`."""
        if not model_name:
            raise InvalidRequest(
                "Which model? Give model_name_or_id: the path of a model's folder, its name in models_path, or "
                "organisation/model of the hub.",
                param="model_name_or_id",
            )
        self.options = options
        super().__init__(model_name, models_path, options.max_models)
        self.parallel_calls = self.settings_of(model_name).parallel

    @override
    def path_of(self, model_name: str | None) -> Path:
        """The folder of a model, of the current one unless named; of one to be downloaded its name.

        Raises `ModelNotFound`.
        """
        from lollms_runtime.engines.transformers_models import find_folder, is_repository

        name = str(model_name or self.model_name)
        path = self._paths.get(name)
        if path is None or not path.is_dir():
            try:
                path = find_folder(name, self.models_path, self.options.revision).folder
            except ModelNotFound:
                if not (self.options.allow_downloads and is_repository(name)):
                    raise
                return Path(name)
            self._paths[name] = path
        return path

    @override
    def make_engine(self, model: Path) -> TransformersEngine:
        """An engine with the settings of this binding, not started."""
        from lollms_runtime.engines.transformers_settings import TransformersEngine

        name = next((each for each, path in self._paths.items() if path == model), str(model))
        return TransformersEngine(self.settings_of(name))

    def settings_of(self, name: str) -> TransformersSettings:
        """The settings with which a model runs. Raises `ConfigError`."""
        from lollms_runtime.engines.transformers_settings import TransformersSettings

        options = self.options
        found = next(filter(None, map(os.environ.get, _TOKENS)), "") if options.allow_downloads else ""
        return TransformersSettings(
            model=name,
            folder=self.models_path,
            revision=options.revision,
            device=options.device,
            dtype=options.dtype,
            quantisation=options.numbers,
            context_size=options.context_size,
            threads=options.n_threads,
            allow_downloads=options.allow_downloads,
            allow_pickle=options.allow_pickle,
            token=options.hf_token or found,
            plain=options.plain,
            runner=options.runner,
        )

    @override
    def get_model_info(self) -> dict[str, Any]:
        """As `EngineBinding.get_model_info`, with `revision`, `device`, `dtype` and `quantisation` of the model."""
        with self._using() as engine:
            details = engine.model_info().details
        facts = {name: details.get(name) for name in ("revision", "device", "dtype")}
        return {**super().get_model_info(), **facts, "quantisation": details.get("quantization_level")}

    @override
    def list_models(self) -> list[Any]:
        """The models of `models_path` and those in the hub's cache that can be loaded.

        Each is a dictionary: `model_name`, `path_hint`, `size_gb`, `revision`.
        """
        from lollms_runtime.engines.transformers_models import found_models

        return [
            {
                "model_name": each.name,
                "path_hint": str(each.folder),
                "size_gb": round(each.size / 1e9, 3),
                "revision": each.revision or None,
            }
            for each in found_models(self.models_path)
        ]
