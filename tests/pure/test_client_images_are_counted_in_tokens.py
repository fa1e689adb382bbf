"""Tokens of images: the examples that providers publish, what was measured, and sizes that make no sense."""

from __future__ import annotations

import io
import sys

import pytest

from lollms_client.images import count_tokens_of
from lollms_core.errors import InvalidRequest
from lollms_core.protocols.image_tokens import image_tokens
from tests.support.media_files import png
from tests.support.pictures import encoded, exif, scene

MODELS = ["", "gpt-4o", "gpt-4.1-mini", "gpt-5", "gpt-5.4", "gpt-5.5", "gpt-6", "claude-3-5-sonnet", "claude-opus-4-7"]
MORE = ["gemini-2.5-pro", "gemini-3-pro", "pixtral-12b", "mistral-small", "llama3.2-vision", "qwen2.5vl:7b", "llava"]


@pytest.mark.parametrize(
    ("size", "model", "tokens"),
    [
        ((1024, 1024), "gpt-4o", 765),
        ((2048, 4096), "gpt-4o", 1105),
        ((1024, 1024), "gpt-4.1-mini", 1659),  # 1024 patches times 1.62
        ((1800, 2400), "gpt-4.1-mini", 2353),  # 1452 patches times 1.62
        ((4000, 1474), "gpt-4.1-mini", 2348),
        ((512, 512), "openai/gpt-5", 210),
        ((256, 256), "gpt-6-astra", 77),
        ((1280, 720), "gpt-6-astra", 1104),
        ((4032, 3024), "gpt-6-astra", 14_364),
        ((4032, 3024), "gpt-5.5", 11_868),
        ((4032, 3024), "gpt-5.4", 2942),
        ((1000, 1000), "claude-3-5-sonnet-latest", 1334),
        ((4000, 3000), "claude-haiku-4-5", 1600),
        ((1920, 1080), "claude-opus-4-7", 2691),
        ((384, 384), "gemini-2.5-flash", 258),
        ((960, 540), "gemini-2.5-flash", 1548),
        ((4000, 3000), "models/gemini-3-pro-preview", 1120),
        ((1024, 1024), "pixtral-12b-2409", 4160),
        ((1540, 1540), "mistral-small-2506", 3080),
        ((559, 559), "llama3.2-vision:11b", 1601),
        ((2000, 2000), "llama3.2-vision:11b", 6404),
        ((280, 280), "qwen2.5vl:7b", 100),
    ],
)
def test_published_and_measured_examples(size: tuple[int, int], model: str, tokens: int) -> None:
    assert image_tokens(*size, model=model) == tokens


def test_the_model_decides_before_the_provider() -> None:
    assert image_tokens(1024, 1024, "openai", "gpt-4o") == image_tokens(1024, 1024, "ollama", "gpt-4o") == 765
    assert image_tokens(4000, 3000, "gemini", "unheard-of") == 1120
    assert image_tokens(750, 100, "", "unheard-of") == 100


@pytest.mark.parametrize("model", MODELS + MORE)
def test_any_size_has_tokens(model: str) -> None:
    for size in ((1, 1), (1, 100_000), (100_000, 1), (6000, 6000), (40_000, 1000)):
        assert image_tokens(*size, model=model) >= 1
    with pytest.raises(ValueError, match="pixel"):
        image_tokens(0, 5, model=model)


def test_an_image_is_counted_from_its_header_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = encoded(scene(1120, 280), "JPEG", exif=exif(6))
    monkeypatch.setitem(sys.modules, "PIL", None)  # counting decodes nothing
    assert count_tokens_of(flat, model="pixtral-large") == (10 + 1) * 40
    assert count_tokens_of(io.BytesIO(png(280, 280)), "ollama", "qwen2.5vl") == 100
    with pytest.raises(InvalidRequest):
        count_tokens_of(b"no image")
