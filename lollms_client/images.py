"""Images as callers give them: a path, bytes, a data URL, Base64, a Pillow image, an open file, or an `ImagePart`.

Only the caller's own argument is ever looked up as a file. Text that is image data is recognised first, because the
Base64 of a JPEG begins with `/9j/`, which looks like a path. Text in messages, which a model may have written, is never
a path (`image_of_text`). A web address is refused: fetching it is the caller's decision to make.

Whatever it is, its header is looked at before anybody decodes it: size, frames, and whether it was cut off.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.types import ImagePart

if TYPE_CHECKING:
    from PIL.Image import Image

    from lollms_core.safety.media import ImageFacts

__all__ = ["ImageSource", "count_tokens_of", "image_of_text", "image_part", "image_parts", "probed"]

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | ImagePart | Image | BinaryIO"

_LIMIT = 32 * 1024 * 1024
_BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "SUkqAA", "TU0AKg")  # PNG, JPEG, GIF, WebP, TIFF
_SHORTEST_BASE64 = 64
_WEB = ("http://", "https://")


def image_parts(images: Iterable[ImageSource] | ImageSource | None) -> tuple[ImagePart, ...]:
    """The images as parts of a message. Raises `InvalidRequest` for one that cannot be used, saying which and why."""
    if images is None:
        return ()
    # An open file and a Pillow image would be taken apart by a loop.
    alone = isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, ImagePart)) or _is_pillow(images)
    sources: Any = (images,) if alone or callable(getattr(images, "read", None)) else images
    if not isinstance(sources, Iterable):
        raise _no_source(images, "images")
    return tuple(image_part(each, f"images[{place}]") for place, each in enumerate(sources))


def image_part(source: ImageSource, where: str = "images") -> ImagePart:
    """One image: PNG, JPEG, GIF, WebP, BMP or TIFF of at most 32 MiB. `where` names it in errors."""
    if isinstance(source, ImagePart):
        return _recognised(source.data, where, given=source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _recognised(_bytes(source, where), where)
    if isinstance(source, str):
        if source.startswith(_WEB) or source[:5].lower() == "data:" or _is_base64(source):
            return image_of_text(source, where)
    elif not isinstance(source, os.PathLike):
        if _is_pillow(source):
            return _from_pillow(source, where)
        if callable(getattr(source, "read", None)):
            return _from_open_file(source, where)
        raise _no_source(source, where)
    return _from_file(source, where)


def image_of_text(text: str, where: str) -> ImagePart:
    """The image of a data URL or of Base64. Anything else is refused: text that came in a message opens no file."""
    from lollms_core.text.binary import read_base64, split_data_url

    if text[:8].lower().startswith(_WEB):
        raise UnsupportedFeature(
            f"{where}: images are not fetched from the web. Download the image and give its path or its bytes.",
            param="images",
        )
    if len(text) > _LIMIT * 3 // 2:
        raise _too_large(where)
    try:
        url = split_data_url(text, where)
        data, _ = read_base64(url.text if url else text, where)
        if not data:
            raise InvalidRequest("empty")
    except InvalidRequest:
        what = "data URL" if text[:5].lower() == "data:" else "Base64"
        raise InvalidRequest(
            f"{where} is not an image: its {what} is damaged or is none. In a message, images are Base64 or "
            "data:image/png;base64,... and never paths; paths are given as images=[...].",
            param="images",
        ) from None
    return _recognised(data, where)


def probed(data: bytes, where: str) -> ImageFacts:
    """What the header of an image says. Raises `InvalidRequest` unless it is whole, of a known kind and of a size."""
    from lollms_core.safety.bitmaps import read_bmp, read_tiff
    from lollms_core.safety.images import BadImage
    from lollms_core.safety.media import ACCEPTED_IMAGES, check_facts, probe_image
    from lollms_core.text.binary import sniff

    shown = sniff(data)
    try:
        if shown in ACCEPTED_IMAGES:
            return probe_image(data)
        if shown in ("image/bmp", "image/tiff"):
            return check_facts(read_bmp(data) if shown == "image/bmp" else read_tiff(data))
    except BadImage as error:
        raise InvalidRequest(f"{where}: the image cannot be used: it {error}.", param="images") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error.message}", param="images") from None
    it_is = f" (it is {shown})" if shown else ""
    raise InvalidRequest(f"{where} is not a PNG, JPEG, GIF, WebP, BMP or TIFF image{it_is}.", param="images")


def count_tokens_of(image: ImageSource, provider: str = "", model: str = "") -> int:
    """How many tokens an image takes for a model; an estimate where no rule is known.

    Raises `InvalidRequest` for what is no image.
    """
    from lollms_core.protocols.image_tokens import image_tokens
    from lollms_core.safety.image_details import image_details

    part = image_part(image)
    facts = probed(part.data, "images")
    size = (facts.width, facts.height)
    if image_details(part.data, facts.mime).is_on_its_side:
        size = size[::-1]
    return image_tokens(*size, provider, model)


# ---- the ways to give an image ---------------------------------------------------------------------------------------


def _is_pillow(source: object) -> TypeGuard[Image]:
    """Whether it is Pillow's. Nobody can have one without having imported Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(source, pillow.Image)


def _is_base64(text: str) -> bool:
    return len(text) >= _SHORTEST_BASE64 and text.startswith(_BASE64_STARTS)


def _bytes(source: bytes | bytearray | memoryview, where: str) -> bytes:
    try:
        if memoryview(source).nbytes > _LIMIT:
            raise _too_large(where)
        return bytes(source)
    except (ValueError, BufferError) as error:
        if isinstance(error, InvalidRequest):
            raise
        raise InvalidRequest(f"{where} cannot be read: {error}.", param="images") from error


def _from_pillow(image: Image, where: str) -> ImagePart:
    from lollms_runtime.pictures import from_pillow

    written = from_pillow(image, where)
    return _recognised(written.data, where)


def _from_open_file(file: Any, where: str) -> ImagePart:
    try:
        data = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{where} cannot be read: {error}.", param="images") from error
    if not isinstance(data, bytes):
        raise InvalidRequest(f"{where} is a file that was opened as text. Open it with mode 'rb'.", param="images")
    return _recognised(data, where)


def _from_file(path: str | os.PathLike[str], where: str) -> ImagePart:
    shown = str(path)[:200]
    if not shown:
        raise InvalidRequest(f"{where} is empty. Give the path of an image, or its bytes.", param="images")
    try:
        with open(Path(path), "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidRequest(f"{where} ({shown}) is not a regular file.", param="images")
            data = file.read(_LIMIT + 1)
    except InvalidRequest:
        raise
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidRequest(f"{where} ({shown}) cannot be read: {reason}.", param="images") from error
    return _recognised(data, f"{where} ({shown})")


def _without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would wait for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _recognised(data: bytes, where: str, given: ImagePart | None = None) -> ImagePart:
    if len(data) > _LIMIT:
        raise _too_large(where)
    facts = probed(data, where)
    return given if given is not None and given.mime == facts.mime else ImagePart(data, facts.mime)


def _too_large(where: str) -> InvalidRequest:
    return InvalidRequest(f"{where} is larger than {_LIMIT // 2**20} MiB. Make the image smaller.", param="images")


def _no_source(source: object, where: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where}: an image is a path, bytes, Base64 text, a data URL, an open file or a Pillow image, "
        f"not {type(source).__name__}.",
        param="images",
    )
