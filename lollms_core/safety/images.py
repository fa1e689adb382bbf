"""How large an image says it is, read from its header: PNG, JPEG, GIF and WebP. No pixel is ever decoded here.

A file of six kilobytes can unpack to ten gigabytes, so the size has to be known before anything decodes it. What a
decoder will allocate is decided by a few header fields, and some formats have them more than once: a GIF's frame may
reach beyond its canvas, a WebP's canvas may be smaller than the picture inside. The largest counts.

Each reader walks through the pieces of the file to its end. That shows three things the first header cannot: whether
the file was cut off, how many frames it has, and where it ends. What stands after the end belongs to no image (a
second file for another program, or the film that a telephone appends to a photo) and is left out by `length`.

The walk takes one step a piece and never looks at what is inside. The number of pieces is limited, since a hostile
file may consist of nothing but empty ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["BadImage", "ImageFacts", "read_gif", "read_image", "read_jpeg", "read_png", "read_webp"]

_MAX_PIECES = 16_384
_MAX_FRAMES = 1000  # far above what anybody allows: from here on it does not matter how many there are


class BadImage(Exception):
    """The bytes are no whole image; the text says why, as the end of a sentence that begins with "it"."""


class ImageFacts(NamedTuple):
    """`width` and `height` in pixels, as large as any part of the file says; `length` of the image proper in bytes."""

    mime: str
    width: int
    height: int
    frames: int
    length: int


def read_image(data: bytes, mime: str) -> ImageFacts | None:
    """The facts of an image whose first bytes show `mime`; None for a format without a reader. Raises `BadImage`."""
    reader = _READERS.get(mime)
    return reader(data) if reader is not None else None


def _cut_off() -> BadImage:
    return BadImage("is cut off")


# ---- PNG -------------------------------------------------------------------------------------------------------------

_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def read_png(data: bytes) -> ImageFacts:
    """A PNG or an animated one (https://www.w3.org/TR/png-3/). Raises `BadImage`."""
    if len(data) < 33:
        raise _cut_off()
    if data[8:16] != b"\x00\x00\x00\rIHDR":
        raise BadImage("does not begin with its header")
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if data[24] not in _PNG_DEPTHS.get(data[25], ()) or data[26:28] != b"\x00\x00" or data[28] > 1:
        raise BadImage("has a header that no decoder knows")
    place, declared, counted, pixels = 33, 0, 0, False
    for _ in range(_MAX_PIECES):
        if place + 12 > len(data):
            raise _cut_off()
        kind = data[place + 4 : place + 8]
        length = int.from_bytes(data[place : place + 4])
        if kind == b"IEND":
            if not pixels:
                raise BadImage("has no pixels")
            return ImageFacts("image/png", width, height, max(1, declared, counted), place + 12)
        if kind == b"IDAT":
            pixels = True
        elif kind == b"acTL":
            declared = int.from_bytes(data[place + 8 : place + 12])
        elif kind == b"fcTL":
            counted += 1
            width = max(width, int.from_bytes(data[place + 12 : place + 16]))
            height = max(height, int.from_bytes(data[place + 16 : place + 20]))
        elif kind == b"IHDR":
            raise BadImage("has two headers")
        place += 12 + length
    raise BadImage("consists of too many pieces")


# ---- JPEG ------------------------------------------------------------------------------------------------------------

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers that nothing belongs to
_MARKER = re.compile(rb"\xff++[^\x00]", re.DOTALL)


def read_jpeg(data: bytes) -> ImageFacts:
    """A JPEG (https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B). Raises `BadImage`.

    The compressed data is not walked through, which would cost as much as decoding base64: its end is looked for from
    the end of the file. So of what follows the image, a part that holds an end marker itself is kept.
    """
    place, size = 2, (0, 0)
    for _ in range(_MAX_PIECES):
        match = _MARKER.match(data, place)
        if match is None:
            raise _cut_off() if len(data) - place < 2 else BadImage("has no marker where one must be")
        place, marker = match.end(), data[match.end() - 1]
        if marker in _ALONE:
            continue
        if marker in (0xD8, 0xD9):
            raise BadImage("has no pixels")
        length = int.from_bytes(data[place : place + 2])
        if length < 2 or place + length > len(data):
            raise _cut_off()
        if marker in _FRAMES:
            if size != (0, 0):
                raise BadImage("has two headers")
            size = _jpeg_size(data[place : place + length])
        elif marker == 0xDA:
            end = data.rfind(b"\xff\xd9", place + length)
            if size == (0, 0) or end < 0:
                raise BadImage("has pixels before its header") if end >= 0 else _cut_off()
            return ImageFacts("image/jpeg", *size, 1, end + 2)
        place += length
    raise BadImage("consists of too many pieces")


def _jpeg_size(header: bytes) -> tuple[int, int]:
    if len(header) < 8 or header[2] not in (2, 8, 12, 16) or not 1 <= header[7] <= 4:
        raise BadImage("has a header that no decoder knows")
    height, width = int.from_bytes(header[3:5]), int.from_bytes(header[5:7])
    if not height or not width:
        raise BadImage("does not say how large it is")
    return width, height


# ---- GIF -------------------------------------------------------------------------------------------------------------


def read_gif(data: bytes) -> ImageFacts:
    """A GIF (https://www.w3.org/Graphics/GIF/spec-gif89a.txt). Raises `BadImage`."""
    if len(data) < 14:
        raise _cut_off()
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    place, frames = 13 + _table(data[10]), 0
    # Encoders fill their blocks of at most 255 bytes; a file of nothing but tiny ones would only cost time.
    budget = len(data) // 64 + _MAX_PIECES
    while place < len(data) and frames < _MAX_FRAMES:
        kind = data[place]
        if kind == 0x3B:
            if not frames:
                raise BadImage("has no pixels")
            return ImageFacts("image/gif", width, height, frames, place + 1)
        if kind == 0x2C:
            if place + 11 > len(data):
                raise _cut_off()
            left, top, wide, high = (
                int.from_bytes(data[at : at + 2], "little") for at in range(place + 1, place + 9, 2)
            )
            width, height = max(width, left + wide), max(height, top + high)
            frames += 1
            place += 11 + _table(data[place + 9])
        elif kind == 0x21:
            place += 2
        else:
            raise BadImage("has something else where a block must be")
        place, budget = _after_blocks(data, place, budget - 1)
    if frames >= _MAX_FRAMES:
        return ImageFacts("image/gif", width, height, frames, len(data))
    raise _cut_off()


def _table(flags: int) -> int:
    """The bytes of a colour table."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, place: int, budget: int) -> tuple[int, int]:
    """The place after a row of data blocks, and how many blocks may still come."""
    try:
        while length := data[place]:
            place += length + 1
            budget -= 1
            if budget < 0:
                raise BadImage("consists of too many pieces")
    except IndexError:
        raise _cut_off() from None
    return place + 1, budget


# ---- WebP ------------------------------------------------------------------------------------------------------------


def read_webp(data: bytes) -> ImageFacts:
    """A WebP file (https://developers.google.com/speed/webp/docs/riff_container). Raises `BadImage`."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) or end < 20:
        raise _cut_off()
    sizes: list[tuple[int, int]] = []
    frames, pixels, place = 0, False, 12
    for _ in range(_MAX_PIECES):
        if place >= end:
            break
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + length > end:
            raise _cut_off()
        body = data[place + 8 : place + 8 + min(length, 64)]
        if kind == b"VP8X":
            sizes.append(_in_three_bytes(body, 4, length))
        elif kind == b"ANMF":
            frames, pixels = frames + 1, True
            wide, high = _in_three_bytes(body, 6, length)
            left, top = int.from_bytes(body[0:3], "little") * 2, int.from_bytes(body[3:6], "little") * 2
            sizes.append((left + wide, top + high))
            place += 8 + 16  # the picture inside follows as pieces of its own
            continue
        elif kind in (b"VP8 ", b"VP8L"):
            pixels = True
            sizes.append(_vp8_size(body) if kind == b"VP8 " else _vp8l_size(body))
        place += 8 + length + (length & 1)
    else:
        raise BadImage("consists of too many pieces")
    if not pixels or not sizes:
        raise BadImage("has no pixels")
    return ImageFacts("image/webp", max(w for w, _ in sizes), max(h for _, h in sizes), max(1, frames), end)


def _in_three_bytes(body: bytes, place: int, length: int) -> tuple[int, int]:
    if length < place + 6 or len(body) < place + 6:
        raise _cut_off()
    return (
        int.from_bytes(body[place : place + 3], "little") + 1,
        int.from_bytes(body[place + 3 : place + 6], "little") + 1,
    )


def _vp8_size(body: bytes) -> tuple[int, int]:
    if len(body) < 10:
        raise _cut_off()
    if body[0] & 1 or body[3:6] != b"\x9d\x01\x2a":
        raise BadImage("has a header that no decoder knows")
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _vp8l_size(body: bytes) -> tuple[int, int]:
    if len(body) < 5:
        raise _cut_off()
    if body[0] != 0x2F:
        raise BadImage("has a header that no decoder knows")
    bits = int.from_bytes(body[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


_READERS: dict[str, Callable[[bytes], ImageFacts]] = {
    "image/png": read_png,
    "image/jpeg": read_jpeg,
    "image/gif": read_gif,
    "image/webp": read_webp,
}
