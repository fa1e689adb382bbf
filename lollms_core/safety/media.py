"""The limits for images, sounds and films that callers send, checked before anything decodes them.

What counts is what the bytes show. A media type that says something else is put right, one that the bytes contradict in
kind (a sound sent as an image) is refused. Images are PNG, JPEG, GIF or WebP, whose headers are read here: those four
every backend understands, and no other format lets a file fetch something or run a script. Of sounds, WAV headers are
read. Everything else is recognised by its first bytes, if those show anything, and goes on as it is.

The server applies these checks to a request in `lollms_server/core/inputs.py`.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

from lollms_core.errors import InvalidRequest, PayloadTooLarge
from lollms_core.safety.images import BadImage, ImageFacts, read_image
from lollms_core.safety.sounds import AudioFacts, BadSound, read_wav
from lollms_core.text.binary import read_base64, sniff, split_data_url

__all__ = [
    "ACCEPTED_IMAGES",
    "MAX_CHANNELS",
    "MAX_FRAMES",
    "MAX_PIXELS",
    "MAX_SAMPLE_RATE",
    "MAX_SECONDS",
    "MEDIA_TYPES",
    "AudioFacts",
    "ImageFacts",
    "Medium",
    "check_facts",
    "check_media",
    "check_mime",
    "probe_audio",
    "probe_image",
]

ACCEPTED_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
MEDIA_TYPES = ("image", "audio", "video")
"""The types of input whose data is always base64."""
MAX_PIXELS = 40_000_000  # of one frame
MAX_FRAMES = 64
MAX_CHANNELS = 8
MAX_SAMPLE_RATE = 768_000
MAX_SECONDS = 4 * 3600

_MIME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,62}/[a-z0-9][a-z0-9.+-]{0,62}\Z")
_SLACK = 1.05  # line ends within base64
_CONTAINERS = ("mp4", "webm", "ogg", "mpeg", "quicktime")  # may hold sound alone, or pictures as well
_RAW = frozenset({"audio/pcm", "audio/x-pcm", "audio/raw", "audio/l8", "audio/l16", "audio/l24"})
# Types that two bytes, or four that are nearly silence, show: samples without a header may begin with anything.
_WEAKLY_SHOWN = frozenset({"image/bmp", "image/x-icon", "audio/mpeg", "audio/aac", "video/mpeg", "application/gzip"})
_SHOWN = frozenset({"audio/wav", "audio/x-wav", "audio/wave", "audio/flac", "audio/ogg", "audio/mp4", "audio/aiff"})


class Medium(NamedTuple):
    """What was checked: the bytes, the same as plain base64, and their media type."""

    data: bytes
    text: str
    mime: str


def check_media(kind: str, text: str, mime: str | None, where: str, *, max_bytes: int) -> Medium:
    """Check the base64 text or `data:` URL of an `image`, `audio` or `video` item.

    `where` is the name of the item in messages, such as `input_data[2]`. Raises `PayloadTooLarge` over `max_bytes`
    bytes, before they are decoded, and `InvalidRequest` for everything else that is wrong.
    """
    if url := split_data_url(text, where):
        mime, text = mime or url.mime or None, url.text
    elif text[:8].lower().startswith(("http://", "https://")):
        raise InvalidRequest(
            f"{where}.data is an address, and this server fetches nothing. Send the {kind} itself, as base64.",
            param=where,
        )
    said = check_mime(mime, where)
    if len(text) > (max_bytes + 2) // 3 * 4 * _SLACK:
        raise _too_large(where, max_bytes)
    data, text = read_base64(text, where)
    if len(data) > max_bytes:
        raise _too_large(where, max_bytes)
    if not data:
        raise InvalidRequest(f"{where}.data is empty.", param=where)
    shown = _settled(kind, sniff(data), said, where)
    length = _checked_length(kind, data, shown, where)
    if length < len(data):
        data = data[:length]
        text = binascii.b2a_base64(data, newline=False).decode("ascii")
    return Medium(data, text, shown)


def probe_image(data: bytes) -> ImageFacts:
    """What an image says of itself: PNG, JPEG, GIF or WebP. Raises `InvalidRequest` unless it is whole and allowed."""
    shown = sniff(data)
    if shown not in ACCEPTED_IMAGES:
        raise InvalidRequest(f"The data is {_named(shown)}. {_TAKEN}")
    try:
        facts = read_image(data, shown)
    except BadImage as error:
        raise InvalidRequest(f"The image cannot be used: it {error}.") from None
    if facts is None:
        raise InvalidRequest(f"The data is {_named(shown)}. {_TAKEN}")
    return check_facts(facts)


def check_facts(facts: ImageFacts) -> ImageFacts:
    """The facts, if an image that has them is allowed. Raises `InvalidRequest`."""
    if facts.width * facts.height > MAX_PIXELS:
        raise InvalidRequest(
            f"The image has {facts.width:,} x {facts.height:,} pixels; at most {MAX_PIXELS:,} are allowed."
        )
    if not facts.width or not facts.height:
        raise InvalidRequest("The image has no pixels.")
    if facts.frames > MAX_FRAMES:
        raise InvalidRequest(f"The image has {facts.frames:,} frames; at most {MAX_FRAMES} are allowed.")
    return facts


def probe_audio(data: bytes) -> AudioFacts:
    """What a WAV file says of itself. Raises `InvalidRequest` unless it is whole and allowed, and for other formats."""
    if sniff(data) != "audio/wav":
        raise InvalidRequest(f"The data is {_named(sniff(data))}, not a WAV file.")
    try:
        facts = read_wav(data)
    except BadSound as error:
        raise InvalidRequest(f"The sound cannot be used: it {error}.") from None
    if not 1 <= facts.channels <= MAX_CHANNELS:
        raise InvalidRequest(f"The sound has {facts.channels:,} channels; 1 to {MAX_CHANNELS} are allowed.")
    if not 1 <= facts.sample_rate <= MAX_SAMPLE_RATE:
        raise InvalidRequest(
            f"The sound has {facts.sample_rate:,} samples a second; 1 to {MAX_SAMPLE_RATE:,} are allowed."
        )
    if facts.seconds > MAX_SECONDS:
        raise InvalidRequest(f"The sound lasts {facts.seconds:,.0f} seconds; at most {MAX_SECONDS:,} are allowed.")
    return facts


def check_mime(mime: str | None, where: str) -> str:
    """A media type in lower case and without parameters, "" for none. Raises `InvalidRequest` for what is none."""
    if not mime:
        return ""
    lower = mime.partition(";")[0].strip(" ").lower()
    if not _MIME.match(lower):
        raise InvalidRequest(f"{where}.mime_type must be a media type such as image/png.", param=where)
    return lower


def _settled(kind: str, shown: str, said: str, where: str) -> str:
    """The media type that counts, from what the bytes show and what was said of them."""
    if kind == "image":
        if shown in ACCEPTED_IMAGES:
            return shown
        raise InvalidRequest(f"{where}.data is {_named(shown)}. {_TAKEN}", param=where)
    if shown and not (kind == "audio" and said in _RAW and shown in _WEAKLY_SHOWN):
        of, _, form = shown.partition("/")
        if of == kind:
            return shown
        if of in ("audio", "video") and form in _CONTAINERS:
            return f"{kind}/{form}"
        raise InvalidRequest(f"{where}.data is {_named(shown)}, not {_a(kind)}.", param=where)
    if not said:
        raise InvalidRequest(f"{where}.mime_type is missing: the data does not show what it is.", param=where)
    if not said.startswith(f"{kind}/") or said in _SHOWN:
        raise InvalidRequest(f"{where}.mime_type is {said}, and the data is not {_a(kind)} of that type.", param=where)
    return said


def _checked_length(kind: str, data: bytes, mime: str, where: str) -> int:
    try:
        if kind == "image":
            return probe_image(data).length
        return probe_audio(data).length if mime == "audio/wav" else len(data)
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error.message}", param=where) from None


def _too_large(where: str, max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"{where} is larger than the limit of {max_bytes} bytes.", param=where)


_TAKEN = f"Images may be {', '.join(ACCEPTED_IMAGES[:-1])} or {ACCEPTED_IMAGES[-1]}."


def _named(mime: str) -> str:
    return mime or "of a kind that is not known here"


def _a(kind: str) -> str:
    return {"image": "an image", "audio": "a sound", "video": "a film"}.get(kind, kind)
