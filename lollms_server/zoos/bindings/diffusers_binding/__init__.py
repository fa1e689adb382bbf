"""Image models on this machine, whose instances keep their settings until images are built."""

from lollms_server.core.bindings.announced import AnnouncedBinding

__all__ = ["DiffusersBinding"]


class DiffusersBinding(AnnouncedBinding):
    """Loads; every request is refused with 501."""

    binding_type_name = "diffusers_binding"
