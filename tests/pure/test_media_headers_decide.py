"""Images and sounds are judged by their headers alone: how large they are, how many frames, whether they are whole."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from lollms_core.errors import InvalidRequest
from lollms_core.safety.media import MAX_FRAMES, AudioFacts, ImageFacts, probe_audio, probe_image
from tests.support.media_files import (
    gif,
    gif_frame,
    jpeg,
    png,
    png_chunk,
    png_claiming,
    wav,
    webp,
    webp_animated,
    webp_chunk,
)

WHOLE: dict[str, tuple[bytes, ImageFacts]] = {
    "png": (png(20, 10), ImageFacts("image/png", 20, 10, 1, 0)),
    "png in many chunks": (png(200, 100, split=7), ImageFacts("image/png", 200, 100, 1, 0)),
    "png of 16 bits": (png(9, 8, depth=16), ImageFacts("image/png", 9, 8, 1, 0)),
    "png in one bit of grey": (png_claiming(9, 8, depth=1, colours=0), ImageFacts("image/png", 9, 8, 1, 0)),
    "animated png": (
        png_claiming(5, 5, png_chunk(b"acTL", struct.pack(">II", 3, 0))),
        ImageFacts("image/png", 5, 5, 3, 0),
    ),
    "jpeg": (jpeg(20, 10, 200), ImageFacts("image/jpeg", 20, 10, 1, 0)),
    "jpeg for printing": (jpeg(20, 10, 200, components=4), ImageFacts("image/jpeg", 20, 10, 1, 0)),
    "jpeg with a preview": (
        jpeg(20, 10, 90, b"\xff\xe1" + struct.pack(">H", 2 + len(jpeg())) + jpeg()),
        ImageFacts("image/jpeg", 20, 10, 1, 0),
    ),
    "gif": (gif(7, 5), ImageFacts("image/gif", 7, 5, 1, 0)),
    "animated gif": (gif(7, 5, 64), ImageFacts("image/gif", 7, 5, 64, 0)),
    "gif with a comment": (gif(7, 5, 1, (0, 0, 0), b"\x21\xfe\x02hi\x00"), ImageFacts("image/gif", 7, 5, 1, 0)),
    "webp": (webp(20, 10), ImageFacts("image/webp", 20, 10, 1, 0)),
    "webp with a canvas": (webp(20, 10, canvas=(20, 10)), ImageFacts("image/webp", 20, 10, 1, 0)),
    "animated webp": (webp_animated(20, 10, 3), ImageFacts("image/webp", 20, 10, 3, 0)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_images(name: str) -> None:
    data, facts = WHOLE[name]
    assert probe_image(data) == facts._replace(length=len(data))


@pytest.mark.parametrize("name", WHOLE)
def test_an_image_that_was_cut_off_anywhere_is_refused(name: str) -> None:
    data, _ = WHOLE[name]
    for end in range(len(data)):
        with pytest.raises(InvalidRequest):
            probe_image(data[:end])


@pytest.mark.parametrize("name", [name for name in WHOLE if "jpeg" not in name])
@pytest.mark.parametrize("tail", [b"\0", b"PK\x03\x04" + b"\xff\xd9" * 50, b"<script>alert(1)</script>"])
def test_what_stands_behind_the_end_is_not_the_image(name: str, tail: bytes) -> None:
    data, facts = WHOLE[name]
    assert probe_image(data + tail) == facts._replace(length=len(data))


def test_what_stands_behind_the_end_of_a_photo_is_not_the_photo() -> None:
    assert probe_image(jpeg() + b"PK\x03\x04 a film or an archive").length == len(jpeg())


BOMBS: dict[str, Callable[[], bytes]] = {
    "a png of 50,000 x 50,000 in 150 bytes": lambda: png_claiming(50_000, 50_000),
    "a png one row too high": lambda: png_claiming(10_000, 4_001),
    "a png of 2^32 pixels in one row": lambda: png_claiming(2**32 - 1, 1),
    "an animated png that says it has 65 frames": lambda: png_claiming(
        5, 5, png_chunk(b"acTL", struct.pack(">II", 65, 0))
    ),
    "an animated png that has more frames than it says": lambda: png_claiming(
        5, 5, png_chunk(b"acTL", struct.pack(">II", 2, 0)), *[png_chunk(b"fcTL", b"\0" * 26)] * 65
    ),
    "an animated png with a frame beyond its canvas": lambda: png_claiming(
        5, 5, png_chunk(b"fcTL", struct.pack(">III", 0, 40_000, 40_000) + b"\0" * 14)
    ),
    "a jpeg of 65,535 x 65,535": lambda: jpeg(8, 8).replace(struct.pack(">HH", 8, 8), b"\xff\xff\xff\xff", 1),
    "a gif of 65 frames": lambda: gif(4, 4, 65),
    "a gif of 100,000 frames": lambda: gif(1, 1, 100_000),
    "a gif whose canvas is a bomb": lambda: gif(4, 4).replace(struct.pack("<HH", 4, 4), b"\xff\xff\xff\xff", 1),
    "a gif whose frame reaches far beyond its canvas": lambda: gif(4, 4, 1, (0, 0, 0), gif_frame(0xFFF0, 0xFFF0, 9, 9)),
    "a webp whose canvas is a bomb": lambda: webp(8, 8, canvas=(16_384, 16_384)),
    "a webp whose picture is larger than its canvas": lambda: webp(16_384, 16_384, canvas=(8, 8)),
    "a webp of 65 frames": lambda: webp_animated(8, 8, 65),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_size(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"pixels; at most 40,000,000|frames; at most 64"):
        probe_image(BOMBS[name]())


def test_the_largest_allowed() -> None:
    assert probe_image(png_claiming(10_000, 4_000)).width == 10_000
    assert probe_image(gif(2, 2, MAX_FRAMES)).frames == MAX_FRAMES


def small_pieces(kind: str) -> bytes:
    """A file of four megabytes that consists of nothing but tiny pieces."""
    many = 4 << 20
    if kind == "png":
        return png_claiming(4, 4, png_chunk(b"tEXt") * (many // 12))
    if kind == "jpeg":
        return jpeg(8, 8, 128, b"\xff\xfe\x00\x02" * (many // 4))
    if kind == "jpeg filled up":
        return jpeg(8, 8, 128, b"\xff" * many)
    if kind == "gif":
        return gif(4, 4, 1, (0, 0, 0), b"\x21\xfe" + b"\x01x" * (many // 2) + b"\0")
    if kind == "webp":
        whole = webp(8, 8)[12:] + webp_chunk(b"EXIF", b"") * (many // 8)
        return b"RIFF" + struct.pack("<I", 4 + len(whole)) + b"WEBP" + whole
    return wav(more=webp_chunk(b"LIST", b"") * (many // 8))


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_files_of_nothing_but_tiny_pieces_are_given_up_early(kind: str) -> None:
    with pytest.raises(InvalidRequest, match="too many pieces"):
        probe_image(small_pieces(kind))


def test_fill_bytes_cost_nothing_and_hide_nothing() -> None:
    assert probe_image(small_pieces("jpeg filled up")).width == 8


WRONG: dict[str, bytes] = {
    "nothing": b"",
    "a png without pixels": png(4, 4).split(b"\0\0\0", 1)[0] + png_chunk(b"IEND"),
    "a png of no width": png_claiming(0, 4),
    "a png of a colour type that does not exist": png_claiming(4, 4, colours=5),
    "a png with two headers": png_claiming(4, 4, png_chunk(b"IHDR", struct.pack(">II", 9, 9) + b"\x08\x02\0\0\0")),
    "a png whose header comes later": b"\x89PNG\r\n\x1a\n" + png_chunk(b"tEXt", b"x" * 40) + png(4, 4)[8:],
    "a jpeg that says no height": jpeg(8, 8).replace(struct.pack(">BHH", 8, 8, 8), struct.pack(">BHH", 8, 0, 8)),
    "a jpeg with two headers": jpeg(8, 8, 128, jpeg(8, 8)[jpeg(8, 8).index(b"\xff\xc0") :][:13]),
    "a jpeg that is only an end": b"\xff\xd8\xff\xd9",
    "a gif without a frame": gif(4, 4, 0),
    "a webp without a picture": b"RIFF\x16\0\0\0WEBP" + webp_chunk(b"EXIF", b"0123456789"),
}


@pytest.mark.parametrize("name", WRONG)
def test_images_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        probe_image(WRONG[name])


OTHERS = {
    "image/svg+xml": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
    "text/html": b"\xef\xbb\xbf  <!DOCTYPE html><html><body><svg_></body></html>",
    "image/bmp": b"BM" + b"\0" * 60,
    "image/tiff": b"II*\x00" + b"\0" * 60,
    "image/avif": b"\0\0\0\x1cftypavif" + b"\0" * 40,
    "image/heic": b"\0\0\0\x1cftypheic" + b"\0" * 40,
    "application/pdf": b"%PDF-1.7\n",
    "audio/wav": wav(),
    "application/zip": b"PK\x03\x04" + b"\0" * 40,
}


@pytest.mark.parametrize("mime", OTHERS)
def test_other_formats_are_named_with_those_that_are_taken(mime: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        probe_image(OTHERS[mime])
    assert mime in caught.value.message
    assert "image/png, image/jpeg, image/gif or image/webp" in caught.value.message


# ---- sounds ----------------------------------------------------------------------------------------------------------


def test_whole_sounds() -> None:
    data = wav(0.5, rate=44_100, channels=2)
    assert probe_audio(data) == AudioFacts("audio/wav", 2, 44_100, 16, 0.5, len(data))
    assert probe_audio(wav(0.5, bits=32, coding=3)).bits == 32
    assert probe_audio(wav(more=webp_chunk(b"LIST", b"INFO"))).channels == 1


def test_a_sound_that_was_cut_off_anywhere_is_refused() -> None:
    data = wav(0.001)
    for end in range(len(data)):
        with pytest.raises(InvalidRequest):
            probe_audio(data[:end])


SILLY: dict[str, tuple[bytes, str]] = {
    "longer than it is": (wav(riff=2**32 - 1), "longer than what came"),
    "samples longer than the file": (wav(data=2**32 - 9), "longer than the file"),
    "0 Hz": (wav(0, rate=0), "0 samples a second"),
    "4 GHz": (wav(0, rate=2**32 - 1), "4,294,967,295 samples a second"),
    "no channels": (wav(channels=0, block=0), "0 channels"),
    "65,535 channels": (wav(0, channels=65_535, bits=8), "65,535 channels|contradicts"),
    "9 channels": (wav(channels=9), "9 channels"),
    "samples of 13 bits": (wav(bits=13, block=1), "13 bits"),
    "samples of 0 bits": (wav(bits=0, block=1), "0 bits"),
    "blocks that do not add up": (wav(block=1), "contradicts itself"),
    "no header": (b"RIFF" + struct.pack("<I", 12) + b"WAVEdata\0\0\0\0", "before its header"),
    "no samples": (wav(0.01).split(b"data")[0], "cut off"),
    "tiny pieces": (small_pieces("wav"), "too many pieces"),
    "no sound at all": (png(), "image/png"),
}


@pytest.mark.parametrize("name", SILLY)
def test_sounds_that_make_no_sense_are_refused(name: str) -> None:
    data, words = SILLY[name]
    with pytest.raises(InvalidRequest, match=words):
        probe_audio(data)


def test_a_sound_may_last_four_hours() -> None:
    assert probe_audio(wav(4 * 3600, rate=1, bits=8)).seconds == 14_400
    with pytest.raises(InvalidRequest, match="at most 14,400"):
        probe_audio(wav(4 * 3600 + 1, rate=1, bits=8))
