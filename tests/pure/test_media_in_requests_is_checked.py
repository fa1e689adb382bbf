"""Media in a request: base64 and data URLs are read, sizes limited before decoding, and the bytes decide the type."""

from __future__ import annotations

import base64
import tracemalloc

import pytest

from lollms_core.errors import InvalidRequest, PayloadTooLarge
from lollms_core.safety.media import Medium, check_media
from tests.support.media_files import b64, data_url, gif, jpeg, png, wav, webp

PNG, WAV = png(), wav()
MP4 = b"\0\0\0\x18ftypisom" + b"\0" * 40


def checked(kind: str, text: str, mime: str | None = None, *, max_bytes: int = 1 << 20) -> Medium:
    return check_media(kind, text, mime, "input_data[2]", max_bytes=max_bytes)


def refused(kind: str, text: str, mime: str | None = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        checked(kind, text, mime)
    assert type(caught.value) is InvalidRequest
    assert caught.value.param == "input_data[2]"
    assert caught.value.message.startswith("input_data[2]")
    return caught.value.message


def test_base64_as_people_send_it() -> None:
    # Bytes for which the two alphabets differ.
    data = png(31, 17, (255, 239, 190))
    plain = b64(data)
    wrapped = "\r\n".join(plain[at : at + 76] for at in range(0, len(plain), 76))
    safe = base64.urlsafe_b64encode(data).decode()
    assert safe != plain
    for text in (plain, wrapped, f" {plain}\n", safe, data_url(data, "image/png"), f"data:;base64,{plain}"):
        assert checked("image", text) == Medium(data, plain, "image/png")


@pytest.mark.parametrize(
    "text", ["%%%", "abc", "é" * 4, "QUJD=", "QUJD====", "=QUJ", "A", b64(PNG).rstrip("=") + "*", "+/-_", "\ud800", ""]
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    assert ".data" in refused("image", text)


@pytest.mark.parametrize(
    "text", ["data:", "data:image/png,abc", "data:image/png;base64", "data:image/png;base32,AAAA", "DATA:;x,"]
)
def test_other_data_urls_are_refused(text: str) -> None:
    assert "data:TYPE;base64,DATA" in refused("image", text)


@pytest.mark.parametrize("text", ["http://127.0.0.1/x.png", "HTTPS://example.org/x.png"])
@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_addresses_are_not_fetched(kind: str, text: str) -> None:
    assert "fetches nothing" in refused(kind, text)


@pytest.mark.parametrize("text", ["file:///etc/passwd", "/etc/passwd", "ftp://example.org/x.png"])
def test_paths_are_no_base64(text: str) -> None:
    refused("image", text)


def test_the_bytes_decide_the_type_of_an_image() -> None:
    for data, mime in ((PNG, "image/png"), (jpeg(), "image/jpeg"), (gif(), "image/gif"), (webp(), "image/webp")):
        for said in (None, "", "image/png", "IMAGE/JPEG", "image/jpg", "application/octet-stream", "image/svg+xml"):
            assert checked("image", b64(data), said).mime == mime


@pytest.mark.parametrize(
    "said", ["png", "image/", "/png", ";image/png", "image/png\r\nx: y", "image/png\n;x", "a/b/c", "ü/x", "*/*"]
)
def test_what_is_no_media_type_is_refused(said: str) -> None:
    assert "media type" in refused("image", b64(PNG), said)
    assert "media type" in refused("audio", b64(WAV), said)


def test_a_media_type_is_needed_where_the_bytes_show_none() -> None:
    raw = b64(bytes(range(7, 100)))
    assert "mime_type is missing" in refused("audio", raw)
    assert checked("audio", raw, "audio/pcm").mime == "audio/pcm"
    assert checked("audio", raw, "Audio/L16; rate=8000;channels=1").mime == "audio/l16"
    assert checked("audio", f"data:audio/pcm;rate=8000;base64,{raw}").mime == "audio/pcm"
    assert "not a sound" in refused("audio", raw, "audio/wav")
    assert "not a sound" in refused("audio", raw, "video/mp4")
    assert "not a film" in refused("video", raw, "image/png")


def test_sounds_and_films_are_known_by_their_first_bytes() -> None:
    assert checked("audio", b64(WAV), "audio/mpeg").mime == "audio/wav"
    assert checked("audio", b64(b"fLaC" + b"\0" * 40)).mime == "audio/flac"
    assert checked("video", b64(MP4)).mime == "video/mp4"
    assert checked("audio", b64(MP4)).mime == "audio/mp4"
    assert checked("audio", b64(b"\x1aE\xdf\xa3" + b"\0" * 40)).mime == "audio/webm"


@pytest.mark.parametrize("start", [b"\0\0\1\0", b"BM", b"\xff\xfb", b"\0\0\1\xba"])
def test_samples_without_a_header_may_begin_like_something_else(start: bytes) -> None:
    assert checked("audio", b64(start + b"\0" * 40), "audio/L16").mime == "audio/l16"
    assert checked("audio", b64(WAV), "audio/L16").mime == "audio/wav"
    refused("audio", b64(PNG), "audio/L16")


@pytest.mark.parametrize(("kind", "data"), [("image", WAV), ("audio", PNG), ("video", PNG), ("video", WAV)])
def test_one_kind_is_not_taken_for_another(kind: str, data: bytes) -> None:
    refused(kind, b64(data), f"{kind}/png")


@pytest.mark.parametrize("kind", ["audio", "video", "image"])
def test_pages_and_archives_are_no_media(kind: str) -> None:
    refused(kind, b64(b"<html><body>hello</body></html>"), f"{kind}/mp4")
    refused(kind, b64(b"PK\x03\x04" + b"\0" * 40), f"{kind}/mp4")


def test_what_stands_behind_the_image_goes_nowhere() -> None:
    for data in (PNG, gif(), webp(), jpeg()):
        medium = checked("image", b64(data + b"PK\x03\x04 another file"))
        assert medium.data == data
        assert base64.b64decode(medium.text) == data


def test_the_limit_counts_the_bytes_and_is_exact() -> None:
    data = png(40, 40, (1, 2, 3))
    assert checked("image", b64(data), max_bytes=len(data)).data == data
    for text in (b64(data), data_url(data, "image/png")):
        with pytest.raises(PayloadTooLarge) as caught:
            checked("image", text, max_bytes=len(data) - 1)
        assert caught.value.param == "input_data[2]"


def test_what_is_too_large_is_not_even_decoded() -> None:
    text = "A" * (8 << 20)
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge):
        checked("image", text)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_broken_image_is_named_with_its_place() -> None:
    assert refused("image", b64(PNG[:-5])) == "input_data[2]: The image cannot be used: it is cut off."
    assert "0 samples a second" in refused("audio", b64(wav(0, rate=0)))
