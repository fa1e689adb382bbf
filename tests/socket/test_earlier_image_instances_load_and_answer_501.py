"""Instance files of types that make images load as they are, and requests to them are refused with 501."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw_http import Answer, ask
from tests.support.server import Served, running_server

SAFETY = {
    f"safety_setting_{name}": "BLOCK_ONLY_HIGH"
    for name in ("harassment", "hate_speech", "sexually_explicit", "dangerous_content")
}
INSTANCES = {
    "pictures": {
        "__version__": "0.1.0",
        "type": "dalle_binding",
        "binding_instance_name": "pictures",
        "default_model": "dall-e-3",
        "api_key": "k-secret",
        "base_url": None,
        "model": "dall-e-3",
        "default_size": "1792x1024",
        "default_quality": "hd",
        "default_style": "natural",
    },
    "imagen": {
        "__version__": "0.1.0",
        "type": "gemini_image_binding",
        "google_api_key": "k-secret",
        "default_number_of_images": 2,
        "default_aspect_ratio": "16:9",
        **SAFETY,
    },
    "local": {
        "__version__": "0.2.0",
        "type": "diffusers_binding",
        "default_model": "sdxl",
        "device": "cpu",
        "use_fp16": False,
        "lora_paths": ["a.safetensors"],
        "default_strength": 0.5,
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    config = {
        "bindings_map": {name: each["type"] for name, each in INSTANCES.items()},
        "defaults": {"tti_binding": "pictures"},
    }
    with running_server(None, config, INSTANCES) as running:
        running.wait_until(lambda: running.services.manager.models == "ready", 20)
        yield running


def generate(server: Served, **more: Any) -> Answer:
    items = [{"type": "text", "role": "user_prompt", "data": "a cat"}]
    body = {"input_data": items, "generation_type": "tti", **more}
    return ask(server.port, "POST", "/api/v1/generate", body, server.headers)


@pytest.mark.parametrize("name", INSTANCES)
def test_a_request_is_refused_in_words(server: Served, name: str) -> None:
    reply = generate(server, binding_name=name)
    assert reply.status == 501
    assert str(INSTANCES[name]["type"]) in reply.json()["detail"]


def test_the_default_for_images_may_be_one_of_them(server: Served) -> None:
    assert generate(server).status == 501


def test_their_settings_are_listed_without_keys(server: Served) -> None:
    listed = ask(server.port, "GET", "/api/v1/list_active_bindings", None, server.headers)
    assert listed.status == 200
    assert b"k-secret" not in listed.body
    assert b"1792x1024" in listed.body
