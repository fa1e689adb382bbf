"""What a provider gets of an image: upright, of a kind that it reads, small enough, and as it was where it fits."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from typing_extensions import override

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import InvalidRequest
from lollms_core.protocols.image_limits import ImageLimits
from lollms_core.types import Reply
from tests.support.chaos import ChaosServer
from tests.support.media_files import png, webp
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import answering
from tests.support.pictures import RED, decoded, encoded, exif, scene, stored_as

LYING = encoded(stored_as(scene(64, 48), 6), "PNG", exif=exif(6, place=True))
FITS = png(9, 7)


@pytest.fixture
def openai() -> Iterator[ChaosServer]:
    with ChaosServer() as chaos:
        chaos.add("openai", answering)
        yield chaos


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer() as server:
        assert isinstance(server, OllamaServer)
        yield server


def seen_by_openai(chaos: ChaosServer) -> list[bytes]:
    """The images of the last request."""
    content = chaos.requests[-1].json()["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


def seen_by_ollama(server: OllamaServer) -> list[bytes]:
    asked = [request for request in server.requests if request.path.endswith("/api/chat")]
    return [base64.b64decode(image) for image in asked[-1].json()["messages"][-1]["images"]]


def is_upright(data: bytes) -> bool:
    image = decoded(data)
    pixel: Any = image.convert("RGB").getpixel((2, 2))
    return image.size == (64, 48) and pixel == RED and b"SECRET" not in data


def receipt_of(reply: Reply) -> dict[str, str]:
    return {item.name: item.reason for item in reply.receipt}


def test_openai_gets_it_upright_and_what_fits_untouched(openai: ChaosServer) -> None:
    with LollmsClient("openai", openai.url("openai"), model_name="one") as client:
        reply = client.complete("Look", images=[FITS, LYING])
    untouched, turned = seen_by_openai(openai)
    assert untouched == FITS
    assert is_upright(turned)
    assert list(receipt_of(reply)) == ["images[1]"]
    assert "orientation 6" in receipt_of(reply)["images[1]"]


def test_ollama_gets_kinds_that_it_reads(ollama: OllamaServer) -> None:
    films = encoded(scene(64, 48), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48), "blue")])
    with LollmsClient("ollama", ollama.origin, model_name="llava") as client:
        reply = client.complete("Look", images=[FITS, LYING, webp(8, 8), films])
    untouched, turned, converted, frame = seen_by_ollama(ollama)
    assert untouched == FITS
    assert is_upright(turned)
    assert converted.startswith(b"\x89PNG")
    assert is_upright(frame)
    assert list(receipt_of(reply)) == ["images[1]", "images[2]", "images[3]"]


def test_a_limit_of_the_provider_is_kept(openai: ChaosServer) -> None:
    from lollms_client.llm_bindings.openai import OpenAIBinding

    class Small(OpenAIBinding):
        @property
        @override
        def image_limits(self) -> ImageLimits:
            return ImageLimits(max_bytes=30_000, max_side=100, kinds=("image/jpeg", "image/png"))

    with LollmsClient(binding_name=None) as client:
        client.binding = Small(openai.url("openai"), "one")
        reply = client.complete("Look", images=scene(400, 300))
    (image,) = seen_by_openai(openai)
    assert decoded(image).size == (100, 75)
    assert len(image) <= 30_000
    assert "from 400 x 300 to 100 x 75" in receipt_of(reply)["images[0]"]


def test_images_of_messages_arrive_too(openai: ChaosServer) -> None:
    url = f"data:image/png;base64,{base64.b64encode(LYING).decode()}"
    turns = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]}
    ]
    with LollmsClient("openai", openai.url("openai"), model_name="one") as client:
        reply = client.complete(turns)
    assert is_upright(seen_by_openai(openai)[0])
    assert list(receipt_of(reply)) == ["messages[0].images[0]"]


def test_nothing_is_sent_of_an_image_that_cannot_be_used(openai: ChaosServer) -> None:
    with LollmsClient("openai", openai.url("openai"), model_name="one") as client:
        with pytest.raises(InvalidRequest, match=r"images\[1\]"):
            client.complete("Look", images=[FITS, FITS[:-4]])
    assert openai.requests == []


class Watched(io.BytesIO):
    """A file that says which thread read it."""

    readers: list[int]

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        self.readers.append(threading.get_ident())
        return super().read(size)


def test_no_image_is_read_or_decoded_on_the_event_loop(openai: ChaosServer) -> None:
    file = Watched(LYING)
    file.readers = []

    async def work() -> Reply:
        async with AsyncLollmsClient("openai", openai.url("openai"), model_name="one") as client:
            return await client.complete("Look", images=[file])

    reply = asyncio.run(work())
    assert file.readers
    assert threading.get_ident() not in file.readers
    assert is_upright(seen_by_openai(openai)[0])
    assert "orientation 6" in receipt_of(reply)["images[0]"]
