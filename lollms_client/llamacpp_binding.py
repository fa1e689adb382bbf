"""What the two llama.cpp bindings share: their settings, as callers give them, and the engines made from these.

Settings come as arguments of the constructor (`llm_binding_config` of a client) or in a dictionary `config`, which is
how older scripts give them; what the dictionary has wins. Settings of other llama.cpp programs are named in the log and
left out, as the client does with arguments that a binding does not take.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from lollms_client.engine_binding import EngineBinding
from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols.image_limits import LLAMACPP_IMAGES, ImageLimits
from lollms_core.types import GenerationCall, Params
from lollms_runtime.models import EMBEDDED, find_model

if TYPE_CHECKING:
    from lollms_runtime.engines.llamacpp import LlamaCppEngine
    from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings

__all__ = ["LlamaCppEngines", "Options", "options_of"]

_OTHER_NAMES = {
    "clip_model_name": "clip_model_path",
    "llama_server": "server_path",
    "n_parallel": "parallel",
    "context_size": "n_ctx",
}
_NUMBERS = ("n_ctx", "n_gpu_layers", "n_threads", "seed", "parallel", "max_models")
_OF_THE_CLIENT = ("host_address", "models_path", "model_name", "service_key", "verify_ssl_certificate")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of both bindings; None, 0 and "" leave a choice to the engine. See `LlamaCppSettings`.

    `n_ctx`: tokens of one conversation. `seed`: -1 for another one each time. `clip_model_path`: the file with which
    the first model sees images. `max_models`: how many models may run at once.
    """

    n_ctx: int | None = None
    n_gpu_layers: int | None = None
    n_threads: int | None = None
    seed: int | None = None
    chat_format: str | None = None
    clip_model_path: str | Path | None = None
    embedding: bool = False
    parallel: int = 2
    max_models: int = 2
    server_path: str | Path | None = None
    server_args: Sequence[str] = ()
    in_process: bool = False


def options_of(
    binding_name: str, given: Mapping[str, Any], config: Mapping[str, Any] | None, rest: Mapping[str, Any]
) -> Options:
    """The settings from named arguments, a dictionary and further arguments, each of which wins over those before.

    Raises `InvalidRequest` for a value of a wrong type, `UnsupportedFeature` for `in_process`.
    """
    if config is not None and not isinstance(config, Mapping):
        raise InvalidRequest(f"config is {config!r}; it must be a dictionary of settings.", param="config")
    found: dict[str, Any] = {}
    for source in (given, rest, config or {}):
        for name, value in source.items():
            if value is not None:
                found[_OTHER_NAMES.get(name, name)] = value
    unknown = sorted(set(found) - set(Options.__struct_fields__) - set(_OF_THE_CLIENT))
    if unknown:
        logging.getLogger("lollms_client").warning(
            "The LLM binding %r does not take %s; it is made without.", binding_name, ", ".join(map(str, unknown))
        )
    options = Options(**{name: value for name, value in found.items() if name in Options.__struct_fields__})
    _check(options)
    return options


def _check(options: Options) -> None:
    for name in _NUMBERS:
        value = getattr(options, name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise InvalidRequest(f"{name} is {value!r}; it must be a whole number.", param=name)
    if options.max_models < 1:
        raise InvalidRequest(f"max_models is {options.max_models}; it must be at least 1.", param="max_models")
    for name in ("clip_model_path", "server_path", "chat_format"):
        value = getattr(options, name)
        if value is not None and not isinstance(value, (str, Path)):
            raise InvalidRequest(f"{name} is {value!r}; it must be a text.", param=name)
    args = options.server_args
    if isinstance(args, str) or not all(isinstance(each, str) for each in args):
        raise InvalidRequest("server_args must be a list of texts, one for each argument.", param="server_args")
    if options.in_process:
        raise UnsupportedFeature(
            "in_process is not offered: llama.cpp would hold up every thread of this program while it loads a model, "
            "and a forked child of it could not end. Leave it out: the engine gets a process of its own, which is "
            "started and ended for you.",
            param="in_process",
        )


class LlamaCppEngines(EngineBinding):
    """GGUF models on this machine, run by llama.cpp."""

    def __init__(self, model_name: str | None, models_path: str | Path | None, options: Options) -> None:
        """Nothing is started.

        Raises `ModelNotFound`, `UnsupportedFeature` for an unknown chat format, `ConfigError` for a number out of
        bounds.
        """
        super().__init__(model_name, models_path, options.max_models)
        self.options = options
        self.parallel_calls = 1 if options.embedding else options.parallel
        self._seeing = self.path_of(None)
        projector = options.clip_model_path
        self._projector = find_model(str(projector), self.models_path) if projector else None
        self.settings_of(self._seeing)

    @property
    @override
    def image_limits(self) -> ImageLimits:
        """The kinds of images that llama.cpp reads by itself."""
        return LLAMACPP_IMAGES

    @override
    def make_engine(self, model: Path) -> LlamaCppEngine:
        """An engine with the settings of this binding, not started."""
        from lollms_runtime.engines.llamacpp import LlamaCppEngine
        from lollms_runtime.transport.http_async import AsyncHttpTransport

        return LlamaCppEngine(self.settings_of(model), AsyncHttpTransport)

    @override
    def prepared(self, call: GenerationCall) -> GenerationCall:
        """The call with the seed of this binding where it has none; see `EngineBinding.prepared`."""
        call = super().prepared(call)
        if self.options.seed is None or self.options.seed < 0:
            return call
        return msgspec.structs.replace(call, params=call.params.over(Params(seed=self.options.seed)))

    def settings_of(self, model: Path) -> LlamaCppSettings:
        """The settings with which a model runs. The projector is for the model that this binding was made with."""
        from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings

        options = self.options
        return LlamaCppSettings(
            model=model,
            alias=EMBEDDED if model == find_model(EMBEDDED) else "",
            context_size=options.n_ctx or None,
            parallel=options.parallel,
            threads=options.n_threads or None,
            gpu_layers=-1 if options.n_gpu_layers is None else options.n_gpu_layers,
            chat_format=options.chat_format or None,
            embedding=bool(options.embedding),
            image_projector=self._projector if model == self._seeing else None,
            server_path=Path(options.server_path) if options.server_path else None,
            server_args=tuple(options.server_args),
        )
