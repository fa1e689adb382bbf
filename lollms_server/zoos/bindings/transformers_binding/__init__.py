"""Local models of Hugging Face's transformers."""

from lollms_server.core.bindings.transformers import TransformersModel

__all__ = ["TransformersBinding"]


class TransformersBinding(TransformersModel):
    """One model."""

    binding_type_name = "transformers_binding"
