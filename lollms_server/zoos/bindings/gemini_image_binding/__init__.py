"""Google's Imagen, whose instances keep their settings until images are built."""

from lollms_server.core.bindings.announced import AnnouncedBinding

__all__ = ["GeminiImageBinding"]


class GeminiImageBinding(AnnouncedBinding):
    """Loads; every request is refused with 501."""

    binding_type_name = "gemini_image_binding"
