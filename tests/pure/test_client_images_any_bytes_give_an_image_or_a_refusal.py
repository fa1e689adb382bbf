"""Whatever comes as an image: it can be sent, or it is an InvalidRequest that names it. Bombs are never decoded."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_client.fitting import fit_image
from lollms_client.images import image_part
from lollms_client.messages import messages_of
from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols.image_limits import GENERIC_IMAGES, NO_LIMITS, OPENAI_IMAGES, ImageLimits
from lollms_core.safety.media import MAX_PIXELS, probe_image
from lollms_core.types import ImagePart
from tests.support.media_files import b64, gif, jpeg, png, png_claiming, webp, webp_animated
from tests.support.pictures import encoded, exif, scene

WHOLE = [
    encoded(scene(), "JPEG", exif=exif(6, place=True)),
    encoded(scene().convert("CMYK"), "JPEG"),
    encoded(scene(), "PNG", exif=exif(3)),
    encoded(scene().quantize(), "PNG", transparency=1),
    encoded(scene(), "WEBP", exif=exif(8)),
    encoded(scene(), "GIF"),
    encoded(scene(), "BMP"),
    encoded(scene().convert("1"), "BMP"),
    encoded(scene(), "TIFF", exif=exif(5)),
    encoded(scene(), "TIFF", compression="tiff_lzw"),
    encoded(scene().convert("F"), "TIFF"),
    encoded(scene().convert("I;16"), "PNG"),
    png(9, 7, split=5),
    png(5, 5, depth=16),
    jpeg(17, 9, 70),
    gif(3, 3, 2),
    webp(9, 7, canvas=(9, 7)),
    webp_animated(9, 7, 2),
]
LIMITS = [NO_LIMITS, GENERIC_IMAGES, OPENAI_IMAGES, ImageLimits(300, 16, 100, ("image/jpeg",), animated=False)]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A whole file with some bytes changed, left out, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, min(len(data), 160)) | st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 8)))
        data[at:end] = draw(st.binary(max_size=8) | st.just(bytes(data[at:end]) * 2))
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


@settings(max_examples=250, deadline=None)
@given(mutated() | st.binary(max_size=100), st.sampled_from(LIMITS))
def test_any_bytes(data: bytes, limits: ImageLimits) -> None:
    try:
        part, receipt = fit_image(image_part(data, "images[0]"), limits, "images[0]")
    except InvalidRequest as refused:
        problem = refused.message
    else:
        problem = ""
        facts = probe_image(part.data)  # what goes out is a whole image itself
        assert facts.mime == part.mime
        assert not limits.kinds or part.mime in limits.kinds
        assert receipt or part.data == data
    assert not problem or problem.startswith("images[0]")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80) | mutated().map(b64) | mutated().map(lambda data: f"data:image/png;base64,{b64(data)}"))
def test_any_text_in_a_message(text: str) -> None:
    try:
        (message,) = messages_of([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": text}}]}])
    except (InvalidRequest, UnsupportedFeature):
        return
    assert isinstance(message.parts[0], ImagePart)


def bmp_claiming(width: int, height: int) -> bytes:
    return (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 90, 0, 0, 54, 40, width, height, 1, 24, 0, 24, 0, 0, 0, 0) + bytes(36)
    )


def tiff_of(*pages: tuple[int, int], circle: bool = False) -> bytes:
    data, place = b"II*\0\x08\0\0\0", 8
    for number, (width, height) in enumerate(pages):
        after = 8 if circle else place + 30 if number < len(pages) - 1 else 0
        data += struct.pack("<HHHIIHHIII", 2, 256, 4, 1, width, 257, 4, 1, height, after)
        place += 30
    return data


BOMBS = [
    (png_claiming(50_000, 50_000), "40,000,000"),
    (gif(2, 2, 1000), "frames"),
    (webp_animated(2, 2, 65), "frames"),
    (webp(4, 4, canvas=(16_000, 16_000)), "40,000,000"),
    (bmp_claiming(50_000, 50_000), "40,000,000"),
    (bmp_claiming(50_000, -50_000), "40,000,000"),
    (bmp_claiming(0, 5), "no pixels"),
    (tiff_of((50_000, 50_000)), "40,000,000"),
    (tiff_of((5, 5), (50_000, 50_000)), "40,000,000"),
    (tiff_of((5, 5), (5, 5), circle=True), "circle"),
    (tiff_of(*[(5, 5)] * 65), "frames"),
    (png()[:-4], "cut off"),
    (b"<svg xmlns='x'><script>1</script></svg>", "svg"),
    (b"%PDF-1.7 " + png(), "pdf"),
]


@pytest.mark.parametrize(("data", "why"), BOMBS)
def test_bombs_are_refused_by_their_header(data: bytes, why: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match=why) as caught:
            image_part(data, "images[3]")
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20 + len(data) * 4
    finally:
        tracemalloc.stop()
    assert caught.value.message.startswith("images[3]")
    assert MAX_PIXELS == 40_000_000
