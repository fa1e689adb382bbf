"""`lollms bindings test` asks an instance as the server would: for vectors without a model, for images where it may."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lollms_cli.backend import Backend, choose_backend
from lollms_cli.bindings_subjects import InstanceSubject, LibrarySubject
from lollms_client import LollmsClient
from lollms_core.protocols.base import HttpRequest
from lollms_server.core.bindings import Surroundings
from lollms_server.core.bindings.discovery import SHIPPED, discover
from lollms_server.core.bindings.instances import load_instance
from lollms_server.core.config import load_config
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.zoos.bindings.gemini_binding import GeminiBinding
from lollms_server.zoos.bindings.huggingface_binding import HuggingFaceBinding
from lollms_server.zoos.bindings.openai_binding import OpenAIBinding

MAIN = "security:\n  allowed_api_keys: []\nbindings_map: {}\n"


class Answered:
    """An answer in JSON."""

    status = 200
    headers: ClassVar[Mapping[str, str]] = {"content-type": "application/json"}

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    def hurry(self, seconds: float) -> None:
        """It has ended already."""


class Provider:
    """A transport that keeps what is asked, and answers each question with the same."""

    def __init__(self, said: Any) -> None:
        self.said = said
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[Answered]:
        self.asked.append(request.url)
        yield Answered(json.dumps(self.said).encode())

    async def close(self) -> None:
        """Nothing is open."""


def instance_of(kind: type[Any], folder: Path, provider: Provider, text: str, model: str = "") -> InstanceSubject:
    config = folder / "lollms_configs"
    (config / "bindings").mkdir(parents=True, mode=0o700)
    for file, written in ((config / "main_config.yaml", MAIN), (config / "bindings" / "one.yaml", text)):
        file.write_text(written, encoding="utf-8")
        file.chmod(0o600)
    loaded = load_config(config, environ={})
    card = discover([SHIPPED])[0][kind.binding_type_name]
    instance = load_instance(config / "bindings" / "one.yaml", card)
    binding = kind(dict(instance.settings), ResourceManager())
    transport: Any = provider
    binding.attach(Surroundings(folder, transport))
    return InstanceSubject(binding, instance, loaded, model)


@pytest.mark.parametrize("model", ["", "gemini-2.5-flash"])
def test_vectors_are_asked_for_without_a_model(tmp_path: Path, model: str) -> None:
    provider = Provider({"embeddings": [{"values": [1.0, 2.0]}]})
    text = "default_model: gemini-2.5-pro\ngoogle_api_key: some-key\n"
    subject = instance_of(GeminiBinding, tmp_path, provider, text, model)
    assert asyncio.run(subject.embed("hello")) == [1.0, 2.0]
    (url,) = provider.asked
    assert "embedding" in url and "flash" not in url and "pro" not in url.rpartition("/")[2]


@pytest.mark.parametrize("kind", [OpenAIBinding, HuggingFaceBinding])
def test_where_nobody_knows_of_single_models_an_image_is_tried_and_nobody_asked(tmp_path: Path, kind: type) -> None:
    provider = Provider({})
    assert asyncio.run(instance_of(kind, tmp_path, provider, "default_model: some\n").sees())
    assert not provider.asked


@pytest.mark.parametrize("binding", ["openai", "hugging_face_inference_api"])
def test_a_binding_of_the_library_is_sent_an_image_where_nobody_knows(binding: str) -> None:
    assert asyncio.run(_sees(choose_backend("http://127.0.0.1:9/v1", "some", binding)))


async def _sees(backend: Backend) -> bool:
    with LollmsClient(**backend.arguments) as client:
        assert client.llm is not None
        return await LibrarySubject(client.llm, backend, "some").sees()
