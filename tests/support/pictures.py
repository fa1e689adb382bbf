"""Pictures for tests, made with Pillow: a scene that looks different from every side, in any format."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageDraw

__all__ = ["GREEN", "RED", "SKY", "YELLOW", "decoded", "encoded", "exif", "scene", "stored_as"]

RED, GREEN, SKY, YELLOW = (220, 20, 20), (10, 130, 10), (130, 200, 240), (250, 240, 20)
_T = Image.Transpose
# How a camera stores an upright scene when it is held so that EXIF says this orientation.
_STORED = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_90,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_270,
}


def scene(width: int = 40, height: int = 30) -> Image.Image:
    """Red at the top left, yellow at the top right, green at the bottom, sky between."""
    image = Image.new("RGB", (width, height), SKY)
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, height * 2 // 3, width, height], fill=GREEN)
    draw.rectangle([0, 0, width // 4, height // 3], fill=RED)
    draw.rectangle([width * 3 // 4, 0, width, height // 3], fill=YELLOW)
    return image


def stored_as(image: Image.Image, orientation: int) -> Image.Image:
    """The image as it lies in a file with this orientation."""
    return image if orientation == 1 else image.transpose(_STORED[orientation])


def exif(orientation: int, place: bool = False) -> Image.Exif:
    """EXIF data that say how the camera was held, with `place` also a name that must not get out."""
    data = Image.Exif()
    data[0x0112] = orientation
    if place:
        data[0x010F] = "SECRET-CAMERA"
        data[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    return data


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decoded(data: bytes) -> Image.Image:
    """The image, decoded whole."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
