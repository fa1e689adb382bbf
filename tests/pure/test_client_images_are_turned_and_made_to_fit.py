"""Images are turned upright, converted and made smaller where their backend needs it, else left alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from lollms_client.fitting import fit_image, fit_messages
from lollms_client.images import image_part
from lollms_client.messages import messages_of
from lollms_client.testing import scripted_client
from lollms_core.errors import InvalidRequest
from lollms_core.protocols.dialects import GENERIC, LLAMACPP, OPENAI
from lollms_core.protocols.image_limits import GENERIC_IMAGES, NO_LIMITS, OPENAI_IMAGES, PUBLISHED, ImageLimits
from lollms_core.types import ImagePart, ReceiptItem
from tests.support.media_files import b64, gif, jpeg, png, webp_animated
from tests.support.pictures import GREEN, RED, YELLOW, decoded, encoded, exif, scene, stored_as


def fitted(data: bytes, limits: ImageLimits = NO_LIMITS) -> tuple[ImagePart, str]:
    """The image as it goes out, and what the receipt says."""
    part, receipt = fit_image(image_part(data), limits, "images[0]")
    assert all(item.name == "images[0]" and item.action == "rewritten" for item in receipt)
    return part, " ".join(item.reason for item in receipt)


def close(one: float | tuple[int, ...] | None, other: Sequence[int]) -> bool:
    assert isinstance(one, tuple)
    return all(abs(a - b) < 24 for a, b in zip(one, other, strict=True))


def is_the_scene(image: Image.Image) -> bool:
    image = image.convert("RGB")
    right, low = image.width - 3, image.height - 3
    return (
        close(image.getpixel((2, 2)), RED)
        and close(image.getpixel((right, 2)), YELLOW)
        and close(image.getpixel((2, low)), GREEN)
        and close(image.getpixel((right, low)), GREEN)
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("limits", [NO_LIMITS, OPENAI_IMAGES])
def test_an_image_that_fits_goes_byte_for_byte(kind: str, limits: ImageLimits) -> None:
    data = encoded(scene(), kind)
    part = image_part(data)
    assert fit_image(part, limits, "images[0]") == (part, ())
    assert part.data is data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    data = encoded(stored_as(scene(64, 48), orientation), kind, exif=exif(orientation))
    part, said = fitted(data)
    image = decoded(part.data)
    assert image.size == (64, 48)
    assert is_the_scene(image)
    assert (orientation != 1) == (f"turned upright (EXIF orientation {orientation})" in said)


def test_what_is_written_again_says_nothing_of_place_and_camera() -> None:
    data = encoded(scene(), "JPEG", exif=exif(6, place=True))
    assert b"SECRET-CAMERA" in data
    part, said = fitted(data)
    assert b"SECRET" not in part.data
    assert not decoded(part.data).getexif()
    assert "without metadata" in said


def test_a_damaged_orientation_says_nothing() -> None:
    for broken in (
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63",
    ):
        data = jpeg(8, 8, 128, b"\xff\xe1" + (len(broken) + 2).to_bytes(2) + broken)
        assert fitted(data) == (ImagePart(data, "image/jpeg"), "")


def test_made_smaller_and_no_more_than_needed() -> None:
    data = encoded(scene(400, 300), "JPEG")
    part, said = fitted(data, ImageLimits(max_side=100))
    assert decoded(part.data).size == (100, 75)
    assert is_the_scene(decoded(part.data))
    assert part.mime == "image/jpeg"
    assert "from 400 x 300 to 100 x 75" in said
    part, said = fitted(encoded(scene(400, 300), "PNG"), ImageLimits(max_pixels=30_000))
    assert part.mime == "image/png"
    assert decoded(part.data).size == (200, 150)
    assert fitted(data, ImageLimits(max_side=400, max_pixels=120_000, max_bytes=len(data))) == (image_part(data), "")


def test_turned_and_made_smaller_at_once() -> None:
    data = encoded(stored_as(scene(400, 300), 6), "JPEG", exif=exif(6))
    part, said = fitted(data, ImageLimits(max_side=100))
    assert decoded(part.data).size == (100, 75)
    assert is_the_scene(decoded(part.data))
    assert "turned" in said
    assert "from 400 x 300 to 100 x 75" in said


def test_a_very_narrow_image_keeps_a_pixel() -> None:
    part, _ = fitted(png(3000, 1), ImageLimits(max_side=10))
    assert decoded(part.data).size == (10, 1)


def test_the_limit_of_bytes_holds() -> None:
    noise = encoded(Image.effect_noise((300, 300), 90), "PNG")
    part, said = fitted(noise, ImageLimits(max_bytes=20_000))
    assert len(part.data) <= 20_000 < len(noise)
    assert "20,000 bytes" in said
    with pytest.raises(InvalidRequest, match=r"images\[0\].*cannot be made smaller"):
        fitted(noise, ImageLimits(max_bytes=20))


def test_kinds_that_are_not_taken_are_converted() -> None:
    lossy = encoded(scene(), "WEBP")
    flat = encoded(scene(), "WEBP", lossless=True)
    for data, mime in ((lossy, "image/jpeg"), (flat, "image/png"), (encoded(scene(), "GIF"), "image/png")):
        part, said = fitted(data, GENERIC_IMAGES)
        assert part.mime == mime == image_part(part.data).mime
        assert is_the_scene(decoded(part.data))
        assert f"now {mime}" in said
    for kind in ("BMP", "TIFF"):
        part, said = fitted(encoded(scene(), kind))
        assert part.mime == "image/png"
        assert decoded(part.data).tobytes() == scene().tobytes()
        assert f"image/{kind.lower()} is not taken" in said


def test_transparency_is_kept_or_becomes_paper() -> None:
    ghost = scene().convert("RGBA")
    ghost.putalpha(0)
    data = encoded(ghost, "WEBP", lossless=True)
    part, _ = fitted(data, GENERIC_IMAGES)
    assert decoded(part.data).getpixel((2, 2))[3] == 0  # type: ignore[index]
    part, _ = fitted(data, ImageLimits(kinds=("image/jpeg",)))
    assert close(decoded(part.data).getpixel((2, 2)), (255, 255, 255))
    palette = encoded(scene().quantize(), "GIF", transparency=0)
    assert decoded(fitted(palette, GENERIC_IMAGES)[0].data).mode == "RGBA"


def test_colours_of_print_and_sixteen_bits() -> None:
    part, said = fitted(encoded(scene().convert("CMYK"), "JPEG"), OPENAI_IMAGES)
    assert decoded(part.data).mode == "RGB"
    assert is_the_scene(decoded(part.data))
    assert "CMYK" in said
    part, said = fitted(png(9, 7, (200, 30, 30), depth=16), OPENAI_IMAGES)
    assert part.data[24] == 8
    assert decoded(part.data).getpixel((3, 3)) == (200, 30, 30)
    assert "16 to 8 bits" in said
    ramp = Image.new("I;16", (256, 1))
    for x in range(256):
        ramp.putpixel((x, 0), x * 257)
    part, _ = fitted(encoded(ramp, "PNG"), OPENAI_IMAGES)
    assert list(decoded(part.data).tobytes()) == list(range(256))


def test_of_a_film_the_first_frame_goes_where_films_do_not() -> None:
    film = encoded(
        scene(), "GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), each) for each in ("red", "blue")]
    )
    part, said = fitted(film, OPENAI_IMAGES)
    assert is_the_scene(decoded(part.data))
    assert getattr(decoded(part.data), "n_frames", 1) == 1
    assert "first of its 3 frames" in said
    assert fitted(film) == (ImagePart(film, "image/gif"), "")
    part, said = fitted(film, ImageLimits(max_side=20))  # whose films may move, but not this one
    assert decoded(part.data).size == (20, 15)
    assert "first of its 3 frames" in said
    part, said = fitted(webp_animated(8, 8, 3), OPENAI_IMAGES)
    assert "first of its 3 frames" in said


def test_what_stands_behind_an_image_stays_here() -> None:
    part, said = fitted(png() + b"PK\x03\x04 hidden")
    assert part.data == png()
    assert said.startswith("11 bytes behind the end")


def test_the_receipt_names_images_as_the_caller_knows_them() -> None:
    lying = encoded(stored_as(scene(), 3), "PNG", exif=exif(3))
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": b64(lying)}}]},
        {"role": "assistant", "content": "Nice."},
        {"role": "user", "content": "And these?", "images": [b64(lying)]},
    ]
    messages = messages_of(turns, "Be kind.", [png(), lying])
    _, receipt = fit_messages(messages, NO_LIMITS, given=2, first=1)
    assert [item.name for item in receipt] == ["messages[0].images[0]", "messages[2].images[0]", "images[1]"]


def test_the_receipt_arrives_with_the_reply() -> None:
    lying = encoded(stored_as(scene(), 8), "PNG", exif=exif(8))
    client = scripted_client(["fine"])
    reply = client.complete("Look", images=[png(), lying], system="Be kind.")
    (item,) = reply.receipt
    assert isinstance(item, ReceiptItem)
    assert (item.name, item.action) == ("images[1]", "rewritten")
    first, second = client.binding.calls[-1].messages[-1].images  # type: ignore[union-attr]
    assert first.data == png()
    assert is_the_scene(decoded(second.data))


def test_pixels_that_cannot_be_decoded_are_told_with_the_images_name() -> None:
    whole = bytearray(encoded(stored_as(scene(), 3), "PNG", exif=exif(3)))
    at = whole.index(b"IDAT") + 10
    whole[at : at + 8] = b"\xff" * 8
    cut = encoded(scene(), "TIFF")[:-30]  # its header says nothing of its length
    for data in (bytes(whole), cut):
        with pytest.raises(InvalidRequest, match=r"^images\[0\] cannot be decoded"):
            fitted(data)


def test_the_rows_of_the_dialects() -> None:
    assert OPENAI.images == PUBLISHED["openai"]
    assert LLAMACPP.images == PUBLISHED["llamacpp"]
    assert GENERIC.images == GENERIC_IMAGES
    for limits in PUBLISHED.values():
        assert {"image/png", "image/jpeg"} <= set(limits.kinds)  # what anything can be converted to


def test_gif_of_one_frame_is_no_film() -> None:
    assert fitted(gif(), OPENAI_IMAGES)[1] == ""
