"""BMP and TIFF headers, for callers who may hand over such images because they are converted before they go anywhere.

As in `lollms_core.safety.images` only headers are read and no pixel is decoded. Servers do not take these kinds.
"""

from __future__ import annotations

import struct

from lollms_core.safety.images import BadImage, ImageFacts

__all__ = ["read_bmp", "read_tiff", "tiff_entries"]

_MAX_ENTRIES = 1024
_MAX_PAGES = 1000
_WIDTH, _HEIGHT = 256, 257


def read_bmp(data: bytes) -> ImageFacts:
    """A Windows bitmap. Raises `BadImage`."""
    if len(data) < 26:
        raise BadImage("is cut off")
    pixels, header = int.from_bytes(data[10:14], "little"), int.from_bytes(data[14:18], "little")
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    elif header in (40, 52, 56, 64, 108, 124):
        width, height = struct.unpack_from("<ii", data, 18)
    else:
        raise BadImage("has a header that no decoder knows")
    if width < 0:
        raise BadImage("has a header that no decoder knows")
    if pixels >= len(data):
        raise BadImage("is cut off")
    return ImageFacts("image/bmp", width, abs(height), 1, len(data))


def read_tiff(data: bytes) -> ImageFacts:
    """A TIFF: the size of its largest page, and how many pages there are. Raises `BadImage`."""
    order = _order(data)
    width = height = pages = 0
    place = struct.unpack_from(f"{order}I", data, 4)[0] if len(data) >= 8 else 0
    seen: set[int] = set()
    while place and pages < _MAX_PAGES:
        if place in seen:
            raise BadImage("has pages that follow each other in a circle")
        seen.add(place)
        entries, place = _page(data, order, place)
        if not entries.get(_WIDTH) or not entries.get(_HEIGHT):
            raise BadImage("does not say how large it is")
        width, height = max(width, entries[_WIDTH]), max(height, entries[_HEIGHT])
        pages += 1
    if not pages:
        raise BadImage("has no pixels")
    return ImageFacts("image/tiff", width, height, pages, len(data))


def tiff_entries(data: bytes) -> dict[int, int]:
    """The tags of the first page of a TIFF that hold one number (EXIF data are such a TIFF). Raises `BadImage`."""
    order = _order(data)
    if len(data) < 8:
        raise BadImage("is cut off")
    return _page(data, order, struct.unpack_from(f"{order}I", data, 4)[0])[0]


def _order(data: bytes) -> str:
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4])
    if order is None:
        raise BadImage("has a header that no decoder knows")
    return order


def _page(data: bytes, order: str, place: int) -> tuple[dict[int, int], int]:
    """The tags of a page with a single whole number, and where the next page is (0: nowhere)."""
    try:
        (count,) = struct.unpack_from(f"{order}H", data, place)
        if not 0 < count <= _MAX_ENTRIES:
            raise BadImage("has a header that no decoder knows")
        entries: dict[int, int] = {}
        for at in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(f"{order}HHI", data, at)
            if length == 1 and kind in (3, 4):
                entries.setdefault(tag, struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, at + 8)[0])
        end = place + 2 + 12 * count
        # EXIF data written by some cameras end right here, without saying that no page follows.
        following = struct.unpack_from(f"{order}I", data, end)[0] if end + 4 <= len(data) else 0
        return entries, following
    except struct.error:
        raise BadImage("is cut off") from None
