"""A local model with a projector gets the images of a call through the client, in each of its forms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_core.errors import UnsupportedFeature
from tests.support.media_files import png, webp
from tests.support.tiny_gguf import write_random_llama
from tests.support.tiny_projector import write_random_projector

pytestmark = [pytest.mark.group("engine"), pytest.mark.group("gguf")]

WIDTH = 128
RED, GREEN = png(16, 16, (250, 10, 10)), png(16, 16, (10, 250, 10))
ASKED: dict[str, Any] = {"n_predict": 8, "temperature": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    write_random_llama(path / "text.gguf", layers=2, width=WIDTH, feed_forward=256)
    write_random_projector(path / "mmproj-text.gguf", width=WIDTH)
    return path


def arguments(folder: Path) -> dict[str, Any]:
    config = {"clip_model_path": "mmproj-text", "n_ctx": 1024, "n_threads": 1}
    return {"models_path": folder, "model_name": "text", "llm_binding_config": config}


@pytest.fixture(scope="module", params=["pythonllamacpp", "llamacpp"])
def client(folder: Path, request: pytest.FixtureRequest) -> Iterator[LollmsClient]:
    with LollmsClient(request.param, **arguments(folder)) as made:
        made.generate_text("Hi", n_predict=1)  # its threads belong to no test
        yield made


def test_other_images_give_other_answers_and_the_same_one_the_same(client: LollmsClient, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    forms: list[Any] = [str(tmp_path / "red.png"), RED]
    red = [client.generate_with_images("What?", images=[form], **ASKED) for form in forms]
    assert isinstance(red[0], str) and red[0] == red[1]
    assert red[0] != client.generate_with_images("What?", images=[GREEN], **ASKED)
    assert red[0] != client.generate_text("What?", **ASKED)
    assert client.get_model_info()["supports_vision"]


def test_a_kind_that_llama_cpp_cannot_read_is_converted(client: LollmsClient) -> None:
    reply = client.complete("What?", images=[webp(16, 16, (250, 10, 10))], **ASKED)
    assert reply.text == client.complete("What?", images=[RED], **ASKED).text
    assert [each.name for each in reply.receipt] == ["images[0]"]


def test_a_coroutine_shows_the_same_image(client: LollmsClient, folder: Path) -> None:
    async def ask() -> Any:
        asking = AsyncLollmsClient("pythonllamacpp", **arguments(folder))
        try:
            return await asking.generate_text("What?", images=[RED], **ASKED)
        finally:
            await asking.close()

    assert asyncio.run(ask()) == client.generate_text("What?", images=[RED], **ASKED)


def test_a_model_without_a_projector_refuses_them(folder: Path) -> None:
    with (
        LollmsClient("pythonllamacpp", models_path=folder, model_name="text") as client,
        pytest.raises(UnsupportedFeature, match="image"),
    ):
        client.complete("What?", images=[RED])
