"""Which images a backend takes."""

from __future__ import annotations

import msgspec

__all__ = ["NO_LIMITS", "ImageLimits"]


class ImageLimits(msgspec.Struct, frozen=True):
    """The largest image that a backend takes, and the kinds; None and () mean that nothing is known.

    `max_bytes` is the encoded size, `max_side` the longer side in pixels, `max_pixels` width times height; `kinds` are
    media types such as `image/png`.
    """

    max_bytes: int | None = None
    max_side: int | None = None
    max_pixels: int | None = None
    kinds: tuple[str, ...] = ()


NO_LIMITS = ImageLimits()
