"""Images as callers give them: a path, bytes, a data URL, Base64 text, or an `ImagePart`.

Only the caller's own argument is ever looked up as a file. Text that is image data is recognised first, because the
Base64 of a JPEG begins with `/9j/`, which looks like a path. A web address is refused: fetching it is the caller's
decision to make.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.types import ImagePart

__all__ = ["ImageSource", "image_part", "image_parts"]

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | ImagePart

_LIMIT = 32 * 1024 * 1024
_BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")  # PNG, JPEG, GIF, WebP
_SHORTEST_BASE64 = 64


def image_parts(images: Sequence[ImageSource] | ImageSource | None) -> tuple[ImagePart, ...]:
    """The images as parts of a message. Raises `InvalidRequest` for one that cannot be used, saying why."""
    if not images:
        return ()
    if isinstance(images, (str, bytes, os.PathLike, ImagePart)):
        images = (images,)
    return tuple(image_part(each) for each in images)


def image_part(source: ImageSource) -> ImagePart:
    """One image: PNG, JPEG, GIF or WebP of at most 32 MiB."""
    if isinstance(source, ImagePart):
        return source
    if isinstance(source, (bytes, bytearray)):
        return _recognised(bytes(source), "The image bytes")
    if isinstance(source, str):
        if source.startswith("data:"):
            return _from_data_url(source)
        if source.startswith(("http://", "https://")):
            raise UnsupportedFeature(
                "Images are not fetched from the web. Download the image and give its path or its bytes.",
                param="images",
            )
        if len(source) >= _SHORTEST_BASE64 and source.startswith(_BASE64_STARTS):
            return _recognised(_decoded(source), "The Base64 text")
    elif not isinstance(source, os.PathLike):
        raise InvalidRequest(
            f"An image is a path, bytes, Base64 text or a data URL, not {type(source).__name__}.", param="images"
        )
    return _from_file(Path(source))


def _from_data_url(url: str) -> ImagePart:
    head, comma, data = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise InvalidRequest("A data URL of an image must contain Base64: data:image/png;base64,...", param="images")
    return _recognised(_decoded(data), "The data URL")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"The Base64 text of an image is damaged: {error}.", param="images") from None


def _from_file(path: Path) -> ImagePart:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidRequest(f"The image {path} is not a regular file.", param="images")
            data = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidRequest):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidRequest(f"The image {str(path)[:200]} cannot be read: {reason}.", param="images") from error
    return _recognised(data, f"The file {path}")


def _without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would wait for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _recognised(data: bytes, what: str) -> ImagePart:
    if len(data) > _LIMIT:
        raise InvalidRequest(f"{what} is larger than {_LIMIT // 2**20} MiB. Make the image smaller.", param="images")
    if mime := _mime(data):
        return ImagePart(data, mime)
    raise InvalidRequest(f"{what} is not a PNG, JPEG, GIF or WebP image.", param="images")


def _mime(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return ""
