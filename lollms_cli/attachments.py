"""What `-a` attaches: images by their content, and texts, which stand before the prompt with their names.

A file is what its bytes say, not what it is called. A text goes into a fenced block whose fence is longer than any in
the text, so that nothing in the file can end it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lollms_core.errors import InvalidRequest

if TYPE_CHECKING:
    from lollms_core.types import ImagePart

__all__ = ["Attached", "fenced", "read_attachments"]

_LARGEST_IMAGE = 32 * 1024 * 1024
_LARGEST_TEXT = 2 * 1024 * 1024
_WEB = ("http://", "https://", "ftp://")


class Attached(NamedTuple):
    """The images in their order, and the texts as they stand in the prompt."""

    images: tuple[ImagePart, ...] = ()
    texts: tuple[str, ...] = ()


def read_attachments(names: Iterable[str]) -> Attached:
    """Read files, `-` being standard input. Raises `InvalidRequest` for one that cannot be used, in words."""
    images: list[ImagePart] = []
    texts: list[str] = []
    for name in names:
        data = _read(name)
        shown = "what is piped in" if name == "-" else name
        if (image := _image(data, shown)) is not None:
            images.append(image)
        else:
            texts.append(fenced(_text(data, shown), "standard input" if name == "-" else Path(name).name))
    return Attached(tuple(images), tuple(texts))


def _read(name: str) -> bytes:
    if name.lower().startswith(_WEB):
        raise InvalidRequest(f"{name[:200]} is not fetched. Download it and attach the file.")
    try:
        if name != "-":
            with open(Path(name).expanduser(), "rb") as file:
                return file.read(_LARGEST_IMAGE + 1)
        if sys.stdin is None or sys.stdin.isatty():
            raise InvalidRequest(
                "-a - attaches what is piped in, and nothing is. For example: cat cat.png | lollms -a - ..."
            )
        return sys.stdin.buffer.read(_LARGEST_IMAGE + 1)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InvalidRequest):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidRequest(f"{name[:200]} cannot be attached: {reason}.") from error


def _image(data: bytes, shown: str) -> ImagePart | None:
    """The image that the bytes are; None when they are none."""
    from lollms_core.text.binary import sniff

    kind = sniff(data)
    if kind == "image/svg+xml" or not kind.startswith("image/"):
        return None  # SVG is text, and models read it as such
    from lollms_client.images import image_part

    return image_part(data, shown)


def _text(data: bytes, shown: str) -> str:
    from lollms_core.text.binary import sniff

    kind = sniff(data)
    what = f" (it is {kind})" if kind and not kind.startswith(("text/", "image/")) else ""
    refusal = f"{shown} cannot be attached: only images and UTF-8 text can{what}."
    if not data.strip():
        raise InvalidRequest(f"{shown} is empty. There is nothing to attach.")
    if len(data) > _LARGEST_TEXT:
        limit = f"{_LARGEST_TEXT // 2**20} MiB"
        raise InvalidRequest(refusal if what else f"{shown} is larger than {limit}, the most a text may have.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(refusal) from None
    if "\0" in text or (what and not kind.endswith(("xml", "json"))):
        raise InvalidRequest(refusal)
    return text


def fenced(text: str, name: str) -> str:
    """A text with its name before it, in a fence that is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    label = " ".join(name.split()).replace("`", "'")
    return f"{label}:\n{fence}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"
