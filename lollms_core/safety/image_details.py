"""What of an image decides whether it can be sent as it is: how its camera was held, and how its pixels are stored.

Read from the header, for images whose header has already been checked (`lollms_core.safety.media.probe_image`). EXIF
data may be damaged without harm to the image: then they say nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from lollms_core.safety.bitmaps import tiff_entries
from lollms_core.safety.images import BadImage

__all__ = ["ImageDetails", "image_details"]

_ORIENTATION = 274
_MAX_PIECES = 16_384
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


class ImageDetails(NamedTuple):
    """`orientation` is EXIF's, from 1 (upright) to 8; `channels` is 4 for a JPEG in the colours of print."""

    orientation: int = 1
    channels: int = 3
    bits: int = 8

    @property
    def is_on_its_side(self) -> bool:
        """Whether width and height change places when the image is turned upright."""
        return self.orientation >= 5


def image_details(data: bytes, mime: str) -> ImageDetails:
    """The details of an image of kind `mime`; the usual ones for a kind that has none."""
    if mime == "image/jpeg":
        return _jpeg(data)
    if mime == "image/png":
        return ImageDetails(_orientation(_png_exif(data)), bits=data[24])
    if mime == "image/webp":
        return ImageDetails(_orientation(_webp_exif(data)))
    return ImageDetails(_orientation(data)) if mime == "image/tiff" else ImageDetails()


def _orientation(exif: bytes) -> int:
    if exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    try:
        found = tiff_entries(exif).get(_ORIENTATION, 1)
    except BadImage:
        return 1
    return found if 1 <= found <= 8 else 1


def _jpeg(data: bytes) -> ImageDetails:
    orientation, place = 0, 2
    for _ in range(_MAX_PIECES):
        while data[place + 1 : place + 2] == b"\xff":
            place += 1
        if place + 4 > len(data):
            break
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        body = data[place + 4 : place + 2 + length]
        if marker == 0xE1 and not orientation and body.startswith(b"Exif\0\0"):
            orientation = _orientation(body)
        elif marker in _FRAMES and len(body) >= 6:
            # Behind it come no EXIF data: they have to be the first segment or the second.
            return ImageDetails(orientation or 1, channels=body[5], bits=body[0])
        place += 2 if marker == 0x01 or 0xD0 <= marker <= 0xD7 else 2 + length
    return ImageDetails(orientation or 1)


def _png_exif(data: bytes) -> bytes:
    place = 33
    for _ in range(_MAX_PIECES):
        length = int.from_bytes(data[place : place + 4])
        kind = data[place + 4 : place + 8]
        if kind == b"eXIf":
            return data[place + 8 : place + 8 + length]
        if kind in (b"IEND", b""):
            break
        place += 12 + length
    return b""


def _webp_exif(data: bytes) -> bytes:
    place = 12
    for _ in range(_MAX_PIECES):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"EXIF":
            return data[place + 8 : place + 8 + length]
        place += 8 + length + (length & 1)
        if place >= len(data):
            break
    return b""
