"""Whatever bytes come as an image or a sound: facts within the limits, or an InvalidRequest. Never anything else."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import InvalidRequest
from lollms_core.safety.media import MAX_CHANNELS, MAX_FRAMES, MAX_PIXELS, check_media, probe_audio, probe_image
from lollms_core.text.binary import sniff
from tests.support.media_files import b64, gif, jpeg, png, png_chunk, png_claiming, wav, webp, webp_animated

WHOLE = [
    png(9, 7, split=5),
    png_claiming(5, 5, png_chunk(b"fcTL", b"\0" * 26)),
    jpeg(17, 9, 70),
    gif(3, 3, 2),
    webp(9, 7),
    webp(9, 7, canvas=(9, 7)),
    webp_animated(9, 7, 2),
    wav(0.001, channels=2),
]
MAGIC = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\xff\0\0\0WEBP", b"RIFF\x24\0\0\0WAVE", b"<svg ", b""]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A whole file with some bytes changed, left out, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 8)))
        data[at:end] = draw(st.binary(max_size=8) | st.just(bytes(data[at:end]) * 2))
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


ANY = mutated() | st.builds(lambda magic, rest: magic + rest, st.sampled_from(MAGIC), st.binary(max_size=200))


@settings(max_examples=400, deadline=None)
@given(ANY)
def test_any_bytes(data: bytes) -> None:
    try:
        facts = probe_image(data)
        assert 0 < facts.width * facts.height <= MAX_PIXELS
        assert 0 < facts.frames <= MAX_FRAMES
        assert 0 < facts.length <= len(data)
        assert facts.mime == sniff(data)
    except InvalidRequest:
        pass
    try:
        sound = probe_audio(data)
        assert 0 < sound.channels <= MAX_CHANNELS
        assert sound.sample_rate > 0
        assert sound.length <= len(data)
    except InvalidRequest:
        pass


TEXT = ANY.map(b64) | st.text(max_size=60) | st.text("ABab01+/-_= \n=", max_size=60) | st.just("data:image/png;base64,")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["image", "audio", "video"]), TEXT, st.none() | st.text(max_size=20) | st.just("audio/pcm"))
def test_any_item(kind: str, text: str, mime: str | None) -> None:
    refusal: InvalidRequest | None = None
    try:
        medium = check_media(kind, text, mime, "input_data[3]", max_bytes=1 << 20)
        assert medium.mime.startswith(f"{kind}/")
        assert base64.b64decode(medium.text) == medium.data
    except InvalidRequest as error:
        refusal = error
    assert refusal is None or (refusal.param == "input_data[3]" and refusal.message.startswith("input_data[3]"))


@settings(max_examples=100, deadline=None)
@given(mutated())
def test_what_is_kept_of_an_image_is_an_image_again(data: bytes) -> None:
    try:
        medium = check_media("image", b64(data), None, "x", max_bytes=1 << 20)
    except InvalidRequest:
        return
    assert check_media("image", medium.text, medium.mime, "x", max_bytes=1 << 20) == medium
