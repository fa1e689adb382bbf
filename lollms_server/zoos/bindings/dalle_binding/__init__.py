"""OpenAI's DALL-E, whose instances keep their settings until images are built."""

from lollms_server.core.bindings.announced import AnnouncedBinding

__all__ = ["DallEBinding"]


class DallEBinding(AnnouncedBinding):
    """Loads; every request is refused with 501."""

    binding_type_name = "dalle_binding"
