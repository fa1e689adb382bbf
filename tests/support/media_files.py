"""Images and sounds for tests, made from nothing but the formats' definitions: whole ones, and hostile ones.

The whole ones are of one colour and any size, and real decoders read them. The hostile ones claim what they do not
have.
"""

from __future__ import annotations

import base64
import struct
import zlib

__all__ = [
    "b64",
    "data_url",
    "gif",
    "gif_frame",
    "jpeg",
    "png",
    "png_chunk",
    "png_claiming",
    "sub_blocks",
    "wav",
    "webp",
    "webp_animated",
    "webp_chunk",
]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
Colour = tuple[int, int, int]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def data_url(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{b64(data)}"


# ---- PNG -------------------------------------------------------------------------------------------------------------


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, *more: bytes, depth: int = 8, colours: int = 2) -> bytes:
    """A PNG whose header says this and whose pixels are a handful of bytes; `more` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), *more, png_chunk(b"IDAT", zlib.compress(b"\0" * 64)), png_chunk(b"IEND"))
    return PNG_MAGIC + b"".join(chunks)


def png(
    width: int = 8, height: int = 8, colour: Colour = (200, 30, 30), *, split: int = 1 << 30, depth: int = 8
) -> bytes:
    """A PNG of one colour, of 8 or 16 bits; its pixels come in chunks of `split` bytes."""
    pixel = b"".join(bytes([value]) * (depth // 8) for value in colour)
    pixels = zlib.compress((b"\0" + pixel * width) * height)
    parts = [png_chunk(b"IDAT", pixels[at : at + split]) for at in range(0, len(pixels), split)]
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return PNG_MAGIC + header + b"".join(parts) + png_chunk(b"IEND")


# ---- JPEG ------------------------------------------------------------------------------------------------------------


def jpeg(width: int = 8, height: int = 8, grey: int = 128, *segments: bytes, components: int = 1) -> bytes:
    """A baseline JPEG with one value everywhere; `segments` are whole segments to put behind the first marker.

    With one component that is a grey, with four a colour for printing. The first block of each holds the value as a
    difference from 128 and every other the difference 0, with tables that have just the two or three codes needed.
    """
    level = 8 * (grey - 128) // 16  # the quantiser is 16
    size = abs(level).bit_length()
    bits = ""
    for block in range(((width + 7) // 8) * ((height + 7) // 8) * components):
        if block < components and size:
            bits += "10" + format(level if level > 0 else level + (1 << size) - 1, f"0{size}b")
        else:
            bits += "0"
        bits += "0"  # no other frequencies
    bits += "1" * (-len(bits) % 8)
    ids = [bytes([place + 1]) for place in range(components)]
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    def table(place: int, codes: list[list[int]]) -> bytes:
        counts = bytes(len(row) for row in codes).ljust(16, b"\0")
        return segment(0xC4, bytes([place]) + counts + bytes(value for row in codes for value in row))

    return b"".join(
        (
            b"\xff\xd8",
            *segments,
            segment(0xDB, b"\0" + b"\x10" * 64),
            segment(
                0xC0, struct.pack(">BHHB", 8, height, width, components) + b"".join(each + b"\x11\0" for each in ids)
            ),
            table(0x00, [[0], [size or 1]]),
            table(0x10, [[0]]),
            segment(0xDA, bytes([components]) + b"".join(each + b"\0" for each in ids) + b"\x00\x3f\x00"),
            scan,
            b"\xff\xd9",
        )
    )


# ---- GIF -------------------------------------------------------------------------------------------------------------


def sub_blocks(data: bytes, size: int = 255) -> bytes:
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def gif_frame(left: int, top: int, width: int, height: int, data: bytes | None = None) -> bytes:
    """One frame; its pixels are all of the first colour unless `data` are other compressed bytes."""
    if data is None:
        bits = ""
        for _ in range(width * height):
            bits = "000" + "100" + bits  # colour 0 after a code that clears the table: it never grows
        bits = "101" + bits
        data = int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")
    return b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02" + sub_blocks(data)


def gif(width: int = 4, height: int = 4, frames: int = 1, colour: Colour = (200, 30, 30), *more: bytes) -> bytes:
    """A GIF of one colour; `more` are blocks behind the frames."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(colour) * 2
    return head + gif_frame(0, 0, width, height) * frames + b"".join(more) + b";"


# ---- WebP ------------------------------------------------------------------------------------------------------------


def webp_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)


def _riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _lossless(width: int, height: int, colour: Colour) -> bytes:
    """A lossless picture: five codes of a single symbol each, so that the pixels take no bits at all."""
    bits = 0
    place = 0

    def put(value: int, count: int) -> None:
        nonlocal bits, place
        bits |= value << place
        place += count

    put(width - 1, 14)
    put(height - 1, 14)
    put(0, 1 + 3)  # no alpha, version 0
    put(0, 1 + 1 + 1)  # no transform, no colour cache, one set of codes
    red, green, blue = colour
    for symbol in (green, red, blue, 255):
        put(0b001 | 0b100, 3)  # simple code, one symbol, of eight bits
        put(symbol, 8)
    put(0b001, 3)  # distances: one symbol of one bit
    put(0, 1)
    return b"\x2f" + bits.to_bytes((place + 7) // 8 + 1, "little")


def webp(
    width: int = 8, height: int = 8, colour: Colour = (200, 30, 30), *, canvas: tuple[int, int] | None = None
) -> bytes:
    """A lossless WebP of one colour, with an extended header in front that says `canvas`, if that is given."""
    picture = webp_chunk(b"VP8L", _lossless(width, height, colour))
    return _riff(picture) if canvas is None else _riff(_extended(*canvas, 0), picture)


def webp_animated(width: int, height: int, frames: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    picture = webp_chunk(b"VP8L", _lossless(width, height, (0, 0, 0)))
    frame = webp_chunk(b"ANMF", b"\0" * 6 + size + b"\x64\0\0\0" + picture)
    return _riff(_extended(width, height, 2), webp_chunk(b"ANIM", b"\0" * 6), *[frame] * frames)


def _extended(width: int, height: int, flags: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)


# ---- WAV -------------------------------------------------------------------------------------------------------------


def wav(
    seconds: float = 0.01,
    *,
    rate: int = 8000,
    channels: int = 1,
    bits: int = 16,
    coding: int = 1,
    block: int | None = None,
    riff: int | None = None,
    data: int | None = None,
    more: bytes = b"",
) -> bytes:
    """Silence; `block`, `riff` and `data` claim other sizes than the true ones, `more` stands before the samples."""
    true_block = channels * bits // 8
    samples = b"\0" * (int(seconds * rate) * true_block)
    form = struct.pack("<HHIIHH", coding, channels, rate, rate * true_block & 0xFFFFFFFF, block or true_block, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + more
    body += b"data" + struct.pack("<I", len(samples) if data is None else data) + samples
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body
