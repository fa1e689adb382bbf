"""Local models of Hugging Face's transformers, under the name that earlier presets use."""

from lollms_server.core.bindings.transformers import TransformersModel

__all__ = ["HfBinding"]


class HfBinding(TransformersModel):
    """One model."""

    binding_type_name = "hf_binding"
