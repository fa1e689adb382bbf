"""What a WAV file says of itself, read from its header. No sample is looked at.

A header of 44 bytes can claim four gigabytes, or 65,535 channels at 0 Hz, and a decoder would divide by the one or
allocate the other. Other formats of sound are recognised by their first bytes and not read.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AudioFacts", "BadSound", "read_wav"]

_MAX_PIECES = 4096
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_DEPTHS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}


class BadSound(Exception):
    """The bytes are no whole sound; the text says why, as the end of a sentence that begins with "it"."""


class AudioFacts(NamedTuple):
    """`sample_rate` in Hz; `bits` of one sample, 0 where the coding has no such number; `length` of the file."""

    mime: str
    channels: int
    sample_rate: int
    bits: int
    seconds: float
    length: int


def read_wav(data: bytes) -> AudioFacts:
    """A WAV file (https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html). Raises `BadSound`."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise BadSound("is cut off: its header says that it is longer than what came")
    form: bytes | None = None
    place = 12
    for _ in range(_MAX_PIECES):
        if place + 8 > end:
            raise BadSound("has no samples" if form is not None else "has no header")
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + length > end:
            raise BadSound("is cut off: a part of it says that it is longer than the file")
        if kind == b"fmt " and form is None:
            form = data[place + 8 : place + 8 + min(length, 40)]
        elif kind == b"data":
            if form is None:
                raise BadSound("has samples before its header")
            return _facts(form, length, end)
        place += 8 + length + (length & 1)
    raise BadSound("consists of too many pieces")


def _facts(form: bytes, samples: int, end: int) -> AudioFacts:
    if len(form) < 16:
        raise BadSound("has a header that is cut off")

    def number(place: int, size: int) -> int:
        return int.from_bytes(form[place : place + size], "little")

    coding, channels, rate, per_second, block, bits = (
        number(0, 2),
        number(2, 2),
        number(4, 4),
        number(8, 4),
        number(12, 2),
        number(14, 2),
    )
    if coding == _EXTENSIBLE and len(form) >= 26:
        coding = number(24, 2)
    if coding in _DEPTHS:
        if bits not in _DEPTHS[coding]:
            raise BadSound(f"has samples of {bits} bits; {', '.join(map(str, _DEPTHS[coding]))} are allowed")
        if block != channels * bits // 8:
            raise BadSound("contradicts itself: its channels and bits do not make up its blocks")
        per_second = block * rate
    if not per_second and rate and channels:
        raise BadSound("does not say how many bytes make up a second")
    return AudioFacts("audio/wav", channels, rate, bits, samples / per_second if per_second else 0.0, end)
