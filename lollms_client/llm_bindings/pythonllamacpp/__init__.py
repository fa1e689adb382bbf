"""GGUF models on this machine, run by llama.cpp: `model_name` is a path, a name in `models_path`, or `lollms-nano`."""

from lollms_client.engine_binding import LlamaCppBinding

__all__ = ["BindingName", "LlamaCppBinding"]

BindingName = "LlamaCppBinding"
