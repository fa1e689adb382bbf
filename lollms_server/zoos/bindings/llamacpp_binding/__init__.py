"""Local models in GGUF files, run by llama.cpp."""

from typing_extensions import override

from lollms_runtime.engines.llamacpp import LlamaCppEngine
from lollms_server.core.bindings import Surroundings
from lollms_server.core.bindings.engine import Engine, EngineBinding
from lollms_server.zoos.bindings.llamacpp_binding.settings import settings_of

__all__ = ["LlamaCppBinding"]


class LlamaCppBinding(EngineBinding):
    """One GGUF model."""

    binding_type_name = "llamacpp_binding"

    @override
    def make_engine(self, surroundings: Surroundings) -> tuple[Engine, str]:
        settings = settings_of(self.config, surroundings.models_folder)
        return LlamaCppEngine(settings), settings.name
