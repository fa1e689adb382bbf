"""Images: paths, bytes, Base64 and data URLs from the caller; data is never taken for a path, nothing is fetched."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lollms_client.images import image_part, image_parts
from lollms_client.messages import messages_of
from lollms_client.testing import scripted_client
from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.types import ImagePart, Message, TextPart
from tests.support.media_files import gif, jpeg, png, webp
from tests.support.pictures import decoded, encoded, exif, scene

PNG, JPEG, GIF, WEBP = png(), jpeg(), gif(9, 9), webp(99, 99, canvas=(99, 99))
BMP, TIFF = encoded(scene(), "BMP"), encoded(scene(), "TIFF")
KINDS = [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp"), (TIFF, "image/tiff")]


@pytest.mark.parametrize(("data", "mime"), KINDS)
def test_every_way_to_give_an_image(data: bytes, mime: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.dat"  # the name says nothing: the content decides
    path.write_bytes(data)
    text = base64.b64encode(data).decode()
    wanted = ImagePart(data, mime)
    urls = [f"data:{mime};base64,{text}", f"DATA:image/wrong;BASE64,{text}", f"data:;base64,{text}\n"]
    for source in (path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), text, *urls, wanted):
        assert image_part(source) == wanted
    with path.open("rb") as file:
        assert image_part(file) == wanted
    assert image_part(ImagePart(data, "image/heic")) == wanted  # the bytes decide


def test_base64_of_a_jpeg_is_no_path() -> None:
    text = base64.b64encode(JPEG).decode()
    assert text.startswith("/9j/")
    assert image_part(text).mime == "image/jpeg"
    with pytest.raises(InvalidRequest, match="damaged"):
        image_part(text[:-1] + "*")


def test_one_image_may_stand_alone() -> None:
    one = (ImagePart(PNG, "image/png"),)
    assert image_parts(PNG) == image_parts([PNG]) == image_parts(io.BytesIO(PNG)) == image_parts(iter([PNG])) == one
    assert len(image_parts(scene())) == 1
    assert image_parts(None) == image_parts([]) == ()


@pytest.mark.parametrize("url", ["http://example.org/a.png", "https://example.org/a.png"])
def test_nothing_is_fetched(url: str) -> None:
    with pytest.raises(UnsupportedFeature, match="not fetched"):
        image_part(url)


def test_a_pillow_image_is_written_upright_and_left_as_it_is() -> None:
    part = image_part(scene())
    assert part.mime == "image/png"
    assert decoded(part.data).tobytes() == scene().tobytes()
    lying = Image.open(
        io.BytesIO(encoded(scene().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif(6, place=True)))
    )
    part = image_part(lying)
    assert (part.mime, decoded(part.data).size, lying.size) == ("image/jpeg", (40, 30), (30, 40))
    assert b"SECRET" not in part.data
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"):
        assert decoded(image_part(Image.new(mode, (5, 4))).data).size == (5, 4)
    for broken, why in ((Image.new("L", (0, 5)), "no pixels"), (Image.new("1", (50_000, 1000)), "40,000,000")):
        with pytest.raises(InvalidRequest, match=why):
            image_part(broken)
    cut = Image.open(io.BytesIO(encoded(scene(400, 300), "JPEG")[:-900]))
    with pytest.raises(InvalidRequest, match=r"images\[1\] cannot be decoded"):
        image_parts([PNG, cut])


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    text, pipe = tmp_path / "text.png", tmp_path / "pipe.png"
    text.write_text("no image", encoding="utf-8")
    os.mkfifo(pipe)
    closed = io.BytesIO(PNG)
    closed.close()
    wrong: list[tuple[Any, str]] = [
        (text, "not a PNG"),
        (pipe, "not a regular file"),
        (tmp_path, "cannot be read|not a regular file"),
        (tmp_path / "absent.png", "No such file"),
        ("a\0b.png", "cannot be read"),
        ("data:image/png,raw", "Base64"),
        ("data:image/png;base64,QUJD", "not a PNG"),
        (b"", "not a PNG"),
        ("", "empty"),
        (7, "not int"),
        (io.StringIO("text"), "opened as text"),
        (closed, "cannot be read: I/O operation on closed file"),
        (ImagePart(b"%PDF-1.7", "image/png"), "application/pdf"),
        (base64.b64encode(PNG).decode()[:-9], "damaged|cut off"),
    ]
    for source, reason in wrong:
        with pytest.raises(InvalidRequest, match=reason):
            image_part(source)
    with pytest.raises(InvalidRequest, match=r"images\[1\] \(.*absent\.png\) cannot be read: No such file"):
        image_parts([PNG, tmp_path / "absent.png"])
    with pytest.raises(InvalidRequest, match="not int"):
        image_parts(7)  # type: ignore[arg-type]


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.write(PNG)
        file.truncate(40 * 2**20)
    with pytest.raises(InvalidRequest, match="larger than 32 MiB"):
        image_part(huge)


def test_images_join_the_last_message_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    client = scripted_client(["a", "b"])
    client.generate_with_images("What is it?", [str(path)])
    (message,) = client.binding.calls[-1].messages  # type: ignore[union-attr]
    assert message == Message("user", (TextPart("What is it?"), ImagePart(PNG, "image/png")))
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert messages_of(turns, images=[PNG])[0].images == (ImagePart(PNG, "image/png"),)
    with pytest.raises(InvalidRequest, match="role user"):
        messages_of([{"role": "assistant", "content": "b"}], images=[PNG])


def test_messages_hold_data_urls_and_never_paths(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}, "y"]
    (message,) = messages_of([{"role": "user", "content": parts}])
    assert message.text == "xy"
    assert message.images == (ImagePart(PNG, "image/png"),)
    text = url.partition(",")[2]
    forms: list[tuple[dict[str, Any], str]] = [
        ({"type": "image_url", "image_url": {"url": "?"}}, url),
        ({"type": "image_url", "image_url": "?"}, url),
        ({"type": "input_image", "image_url": "?"}, url),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}}, text),
        ({"type": "image", "data": "?", "mimeType": "image/png"}, text),
    ]
    for form, good in forms:
        (message,) = messages_of(
            [{"role": "user", "content": [{"type": "input_text", "text": "x"}, filled(form, good)]}]
        )
        assert message == Message("user", (TextPart("x"), ImagePart(PNG, "image/png")))
        for source in (str(path), f"file://{path}", "/etc/passwd", "a.png", "", "~/a.png"):
            with pytest.raises(InvalidRequest, match=r"messages\[0\]\.content\[0\] is not an image.*never paths"):
                messages_of([{"role": "user", "content": [filled(form, source)]}])
        for source in ("https://example.org/a.png", "HTTP://example.org/a.png"):
            with pytest.raises(UnsupportedFeature, match="not fetched"):
                messages_of([{"role": "user", "content": [filled(form, source)]}])
    with pytest.raises(InvalidRequest, match=r"messages\[0\]\.images\[0\] is not an image"):
        messages_of([{"role": "user", "content": "x", "images": [str(path)]}])
    assert messages_of([{"role": "user", "content": "x", "images": [text, PNG]}])[0].images == (message.images[0],) * 2
    for odd in (7, path, {"a": 1}, None, [url]):
        with pytest.raises(InvalidRequest, match=r"messages\[0\]\.content\[0\] (is a|cannot be used)"):
            messages_of([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": odd}}]}])
    for item in (
        {"type": "image", "source": {"type": "file", "file_id": "x"}},
        {"type": "input_image", "file_id": "x"},
    ):
        with pytest.raises(InvalidRequest, match="cannot be used"):
            messages_of([{"role": "user", "content": [item]}])


def filled(form: Any, source: str) -> Any:
    """The form with `source` in the place of the question mark."""
    if isinstance(form, dict):
        return {name: filled(value, source) for name, value in form.items()}
    return source if form == "?" else form


def test_tool_turns_survive() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": '{"x": 1}'}}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "1"},
    ]
    _, asked, answered = messages_of(turns)
    assert asked.tool_calls[0].arguments == {"x": 1}
    assert answered == Message.tool("1", "2")
    for broken in ({"id": "1"}, {"function": {"name": "f", "arguments": "{"}}, "x"):
        with pytest.raises(InvalidRequest, match="tool call"):
            messages_of([{"role": "assistant", "tool_calls": [broken]}])
