"""Binary data that comes as text: base64, `data:` URLs, and the media type that the first bytes show.

What somebody says of his bytes may be wrong, and a decoder goes by the bytes. So the type that the first bytes show
counts, wherever they show one.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

from lollms_core.errors import InvalidRequest

__all__ = ["DataUrl", "decode_base64", "read_base64", "sniff", "sniff_image", "split_data_url"]

_URL_SAFE = str.maketrans("-_", "+/")
_DATA_URL = re.compile(r"\s*data:([^,;]{0,127})((?:;[^,;]{0,127}){0,8}),", re.IGNORECASE)


class DataUrl(NamedTuple):
    """The parts of a `data:` URL: the media type as it stands there, "" where none does, and the base64 text."""

    mime: str
    text: str


def split_data_url(text: str, where: str) -> DataUrl | None:
    """The parts of a `data:` URL; None for any other text. Raises `InvalidRequest` for one that is not base64."""
    if text[:64].lstrip()[:5].lower() != "data:":
        return None
    head = _DATA_URL.match(text)
    if head is None or not head[2].lower().endswith(";base64"):
        raise InvalidRequest(f"{where}.data is a data URL, but not of the form data:TYPE;base64,DATA.", param=where)
    return DataUrl(head[1].strip(), text[head.end() :])


def decode_base64(text: str, where: str) -> bytes:
    """The bytes of base64 text. Raises `InvalidRequest` as `read_base64` does."""
    return read_base64(text, where)[0]


def read_base64(text: str, where: str) -> tuple[bytes, str]:
    """The bytes of base64 text, and the text as plain base64, in linear time.

    Blanks and line ends are passed over, and the alphabet for URLs (`-_`) is read as well as the usual one (`+/`), but
    not a mixture of both. The padding must be there: without it a text that was cut off could look whole. Raises
    `InvalidRequest` naming `where`.
    """
    try:
        try:
            return binascii.a2b_base64(text, strict_mode=True), text
        except binascii.Error:
            text = "".join(text.split())
            if ("-" in text or "_" in text) and "+" not in text and "/" not in text:
                text = text.translate(_URL_SAFE)
            return binascii.a2b_base64(text, strict_mode=True), text
    except ValueError:  # binascii.Error is one, and so is the complaint about characters outside of ASCII
        raise InvalidRequest(f"{where}.data is not valid base64.", param=where) from None


# ---- first bytes -----------------------------------------------------------------------------------------------------

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x00\x0cJXL ", "image/jxl"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"#!AMR", "audio/amr"),
    (b"MThd", "audio/midi"),
    (b".snd", "audio/basic"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"FLV\x01", "video/x-flv"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
_FORM = {b"AIFF": "audio/aiff", b"AIFC": "audio/aiff"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
_MARKUP = (
    (re.compile(rb"<(?:!doctype\s+html|html|head|body|script)[\s>]", re.IGNORECASE), "text/html"),
    (re.compile(rb"<svg[\s>]|<!doctype\s+svg", re.IGNORECASE), "image/svg+xml"),
    (re.compile(rb"<\?xml\s"), "text/xml"),
)
_LOOK = 1024  # bytes in which markup shows what it is


def sniff(data: bytes) -> str:
    """The media type that the first bytes show; "" where they show none that is known here.

    An MP4, Ogg or WebM file may hold sound alone; nothing but its name tells, so they come out as one of the two.
    """
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "")
    if data[:4] == b"FORM":
        return _FORM.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    head = data[:_LOOK].lstrip(b"\xef\xbb\xbf \t\r\n\x00")
    if head.startswith(b"<"):
        found = [(match.start(), mime) for pattern, mime in _MARKUP if (match := pattern.search(head))]
        kinds = {mime for _, mime in found}
        return "image/svg+xml" if "image/svg+xml" in kinds else min(found)[1] if found else ""
    return ""


def sniff_image(data: bytes) -> str:
    """As `sniff`, but "" for everything that is no image."""
    shown = sniff(data)
    return shown if shown.startswith("image/") else ""
