"""Changes to images before they are sent: turned upright, made smaller, converted. This is the only user of Pillow.

What comes in was written by anybody. Its header has been checked before (size, frames, truncation), so that a decoder
is only ever shown images of a size that memory has room for; Pillow may recognise no other kinds than the allowed ones,
and what it only warns of is an error here. One image is decoded at a time: that bounds the memory, and Python's filters
for warnings, which belong to the whole process, would otherwise be left changed by two threads that overlap.

An image that is written again has no metadata: no place, no camera, no thumbnail of what was cropped away.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from lollms_core.errors import InvalidRequest, LollmsError, MissingDependency
from lollms_core.protocols.image_limits import ImageLimits
from lollms_core.safety.media import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Rewritten", "from_pillow", "require_pillow", "rewrite"]

_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
}
_ORIENTATION = 0x0112  # EXIF's tag
_QUALITY = 90  # of JPEG: no loss that a model would notice
_ATTEMPTS = 12  # at getting below a limit of bytes; each is smaller by a tenth of the side at least
_SWIFT = 3  # compression level of PNG: as small as the usual one but for a few per cent, in a third of the time


class Rewritten(NamedTuple):
    """An image that was written again: its bytes, their media type, and its size in pixels."""

    data: bytes
    mime: str
    width: int
    height: int


def require_pillow() -> None:
    """Raises `MissingDependency` where Pillow is not installed, saying how to get it."""
    try:
        from PIL import Image  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"Images are converted with Pillow, which cannot be used here ({error}). Get it with: lollms install images"
        ) from error


def rewrite(data: bytes, mime: str, orientation: int, limits: ImageLimits, what: str) -> Rewritten:
    """The first frame of an image, upright, in eight bits, and within the limits.

    `mime` is what its first bytes show, `orientation` EXIF's (1: upright); `what` names the image in errors. Raises
    `InvalidRequest` for one that cannot be decoded, `MissingDependency` without Pillow.
    """
    require_pillow()
    from PIL import Image

    with _decoding(what):
        with Image.open(io.BytesIO(data), formats=[_FORMATS[mime]]) as file:
            _check_size(file)
            size = _size_within(file.size, limits)
            if mime == "image/jpeg" and size != file.size:
                file.draft(None, size)  # decodes an eighth to a half of each side, where that is still enough
            file.load()
        if mime == "image/tiff":  # newer versions of Pillow have turned it by now, and say so
            orientation = file.getexif().get(_ORIENTATION) or 1
        image: Image.Image = file
        if size != image.size:
            image = _plain(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        lossy = mime == "image/jpeg" or (mime == "image/webp" and b"VP8 " in data[:64])
        return _encoded(_upright(_plain(image), orientation), lossy, limits)


def from_pillow(image: Image.Image, what: str) -> Rewritten:
    """A caller's Pillow image as a file, upright; the image itself stays as it is. Raises as `rewrite` does."""
    with _decoding(what):
        _check_size(image)
        orientation = image.getexif().get(_ORIENTATION, 1)
        lossy = image.format in ("JPEG", "MPO", "WEBP")
        plain = _upright(_plain(image), orientation if isinstance(orientation, int) else 1)
        return _encoded(plain, lossy, ImageLimits())


@functools.lru_cache(maxsize=2)
def _turn(process_id: int) -> threading.Lock:
    """Whose turn it is to decode. A forked child has a lock of its own: nobody would ever release its parent's."""
    return threading.Lock()


@contextlib.contextmanager
def _decoding(what: str) -> Iterator[None]:
    with _turn(os.getpid()), warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        try:
            yield
        except LollmsError:
            raise
        except Exception as error:  # shown damaged bytes, a decoder raises just anything
            raise InvalidRequest(
                f"{what} cannot be decoded: {error or type(error).__name__}", param="images"
            ) from error


def _check_size(image: Image.Image) -> None:
    """The header was checked before, but by another reader than the one that decodes."""
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError("it has no pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"it has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are allowed")


def _size_within(size: tuple[int, int], limits: ImageLimits) -> tuple[int, int]:
    factor = 1.0
    if limits.max_side is not None:
        factor = min(factor, limits.max_side / max(size))
    if limits.max_pixels is not None:
        factor = min(factor, math.sqrt(limits.max_pixels / (size[0] * size[1])))
    return _scaled(size, factor)


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, math.floor(size[0] * factor)), max(1, math.floor(size[1] * factor))


# ---- pixels ----------------------------------------------------------------------------------------------------------


def _plain(image: Image.Image) -> Image.Image:
    """The image in grey, in colour, or in colour with transparency, eight bits each."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(image)
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "PA", "La", "RGBa") or (image.mode in ("P", "L", "RGB") and "transparency" in image.info):
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than eight bits. Sixteen are divided; of other numbers the range that occurs is used."""
    exact: Any = image.convert("F")
    if image.mode == "I" or image.mode == "F":
        low, high = exact.getextrema()
        low, high = (0.0, 65535.0) if image.mode == "I" and low >= 0 and high <= 65535 else (low, high)
    else:
        low, high = 0.0, 65535.0
    scale = 255.0 / (high - low) if high > low else 1.0
    if not (math.isfinite(scale) and math.isfinite(low)):
        raise ValueError("its pixels are not numbers")
    grey: Image.Image = exact.point(lambda value: value * scale - low * scale).convert("L")
    return grey


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    return image if turn is None else image.transpose(turn)


def _bare(image: Image.Image) -> Image.Image:
    """The pixels alone: what an image carries besides would be written as well."""
    from PIL import Image

    bare = Image.new(image.mode, image.size)
    bare.paste(image)
    return bare


# ---- files -----------------------------------------------------------------------------------------------------------


def _encoded(image: Image.Image, lossy: bool, limits: ImageLimits) -> Rewritten:
    """A PNG, or a JPEG where the image was lossy or a PNG would be too large; smaller until it is within the limit."""
    from PIL import Image

    room = limits.max_bytes or math.inf
    image = _bare(image)
    kinds = ("image/jpeg", "image/png") if lossy and image.mode != "RGBA" else ("image/png", "image/jpeg")
    taken = [kind for kind in kinds if not limits.kinds or kind in limits.kinds] or ["image/png"]
    for _ in range(_ATTEMPTS):
        smallest = math.inf
        for kind in taken:
            data = _written(image, kind)
            if len(data) <= room:
                return Rewritten(data, kind, *image.size)
            smallest = min(smallest, len(data))
        size = _scaled(image.size, min(0.9, 0.95 * math.sqrt(room / smallest)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    raise ValueError(f"it cannot be made smaller than {limits.max_bytes:,} bytes")


def _written(image: Image.Image, kind: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    if kind == "image/png":
        image.save(out, "PNG", compress_level=_SWIFT)
        return out.getvalue()
    if image.mode == "RGBA":  # on white, as paper is
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        image = paper
    image.save(out, "JPEG", quality=_QUALITY, subsampling=0)
    return out.getvalue()
