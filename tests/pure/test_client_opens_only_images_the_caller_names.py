"""Images: paths, bytes, Base64 and data URLs from the caller; data is never taken for a path, nothing is fetched."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from lollms_client.images import image_part, image_parts
from lollms_client.messages import messages_of
from lollms_client.testing import scripted_client
from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.types import ImagePart, Message, TextPart

PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)
JPEG = b"\xff\xd8\xff\xe0" + bytes(60)
GIF = b"GIF89a" + bytes(60)
WEBP = b"RIFF\x00\x00\x00\x00WEBP" + bytes(60)
KINDS = [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]


@pytest.mark.parametrize(("data", "mime"), KINDS)
def test_every_way_to_give_an_image(data: bytes, mime: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.dat"  # the name says nothing: the content decides
    path.write_bytes(data)
    text = base64.b64encode(data).decode()
    wanted = ImagePart(data, mime)
    for source in (path, str(path), data, bytearray(data), text, f"data:{mime};base64,{text}", wanted):
        assert image_part(source) == wanted  # type: ignore[arg-type]


def test_base64_of_a_jpeg_is_no_path() -> None:
    text = base64.b64encode(JPEG).decode()
    assert text.startswith("/9j/")
    assert image_part(text).mime == "image/jpeg"
    with pytest.raises(InvalidRequest, match="damaged"):
        image_part(text[:-1] + "*")


def test_one_image_may_stand_alone() -> None:
    assert image_parts(PNG) == image_parts([PNG]) == (ImagePart(PNG, "image/png"),)
    assert image_parts(None) == image_parts([]) == ()


@pytest.mark.parametrize("url", ["http://example.org/a.png", "https://example.org/a.png"])
def test_nothing_is_fetched(url: str) -> None:
    with pytest.raises(UnsupportedFeature, match="not fetched"):
        image_part(url)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    text, pipe = tmp_path / "text.png", tmp_path / "pipe.png"
    text.write_text("no image")
    os.mkfifo(pipe)
    wrong: list[tuple[Any, str]] = [
        (text, "not a PNG"),
        (pipe, "not a regular file"),
        (tmp_path, "cannot be read|not a regular file"),
        (tmp_path / "absent.png", "No such file"),
        ("a\0b.png", "cannot be read"),
        ("data:image/png,raw", "Base64"),
        ("data:image/png;base64,QUJD", "not a PNG"),
        (b"", "not a PNG"),
        (7, "not int"),
    ]
    for source, reason in wrong:
        with pytest.raises(InvalidRequest, match=reason):
            image_part(source)


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
    for source in (str(path), f"file://{path}", "/etc/passwd"):
        with pytest.raises(InvalidRequest, match="cannot be used"):
            messages_of([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": source}}]}])


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
