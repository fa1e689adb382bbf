"""How many tokens an image takes. Every model family counts in its own way, and most publish how.

The name of the model decides, wherever it is served; where it says nothing, the provider's usual models do; and where
that is unknown too, the answer is an estimate that is fair for most models of today.

Sources:
  OpenAI    https://developers.openai.com/api/docs/guides/images-vision: tiles of 512 pixels (GPT-4o: 85 + 170 a tile;
            an image of 2048 x 4096 takes 1105) or patches of 32 pixels (1536 at most; 1800 x 2400 gives 1452). For
            models since GPT-5.2 as measured: https://huggingface.co/datasets/JOHNISKING/image-token-cost and
            https://community.openai.com/t/1377015
  Claude    https://platform.claude.com/docs/en/build-with-claude/vision: width x height / 750, scaled to 1568 pixels
            and about 1600 tokens. Since Claude 4.7 patches of 28 pixels, 2576 pixels and 4784 tokens.
  Gemini    https://ai.google.dev/gemini-api/docs/tokens: 258 for up to 384 x 384 pixels, else 258 for each tile; since
            Gemini 3 https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding: 1120
  Mistral   https://mistralai.github.io/mistral-common/usage/images: a token for each patch and one to end each row;
            patches of 16 pixels up to 1024 (Pixtral 12B), of 28 up to 1540 (its successors)
  Llama     https://docs.together.ai/docs/vision-overview: 1601 for each of at most four tiles of 560 pixels
  Qwen-VL   https://huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct: one for each 28 x 28 pixels; 32 x 32 since Qwen3-VL
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

__all__ = ["image_tokens"]

_Rule = Callable[[int, int], int]


def image_tokens(width: int, height: int, provider: str = "", model: str = "") -> int:
    """The tokens that an image of `width` x `height` pixels takes for `model`; an estimate where no rule is known.

    `provider` is a name such as `openai` or `anthropic`. Raises `ValueError` for sizes below one pixel.
    """
    if width < 1 or height < 1:
        raise ValueError(f"An image has at least one pixel, not {width} x {height}.")
    name = model.lower().rpartition("/")[2]
    for pattern, rule in _MODELS:
        if pattern.match(name):
            return rule(width, height)
    return _PROVIDERS.get(provider.lower(), _area)(width, height)


# ---- the ways to count -----------------------------------------------------------------------------------------------


def _fit(width: float, height: float, side: int) -> tuple[float, float]:
    """The size scaled down so that the longer side is `side` pixels at most."""
    factor = min(1.0, side / max(width, height))
    return width * factor, height * factor


def _up(value: float) -> int:
    """Rounded up, where 33.0000000001 is 33."""
    return max(1, math.ceil(value - 1e-6))


def _patches(
    patch: int, *, budget: int | None = None, side: int | None = None, weight: float = 1.0, minimum: int = 1
) -> _Rule:
    """One token for each patch. An image of more than `budget` patches is scaled until whole patches cover it."""

    def count(width: int, height: int) -> int:
        wide, high = (each / patch for each in (_fit(width, height, side) if side else (width, height)))
        if budget is not None and _up(wide) * _up(high) > budget:
            factor = math.sqrt(budget / (wide * high))
            wide, high = wide * factor, high * factor
            trim = min(max(1, math.floor(each)) / each for each in (wide, high))
            wide, high = (min(each * trim, budget) for each in (wide, high))
        return max(minimum, _up(_up(wide) * _up(high) * weight))

    return count


def _tiles(base: int, tile: int) -> _Rule:
    """OpenAI's older way: fit into 2048 pixels, the shorter side into 768, and count squares of 512 pixels."""

    def count(width: int, height: int) -> int:
        wide, high = _fit(width, height, 2048)
        factor = min(1.0, 768 / min(wide, high))
        return base + tile * _up(wide * factor / 512) * _up(high * factor / 512)

    return count


def _rows(patch: int, side: int) -> _Rule:
    """Mistral's: a token for each patch, and one more to end each row."""

    def count(width: int, height: int) -> int:
        wide, high = _fit(width, height, side)
        return (_up(wide / patch) + 1) * _up(high / patch)

    return count


def _gemini(width: int, height: int) -> int:
    if width <= 384 and height <= 384:
        return 258
    unit = min(768, max(256, math.floor(min(width, height) / 1.5)))
    return 258 * _up(width / unit) * _up(height / unit)


def _area(width: int, height: int) -> int:
    wide, high = _fit(width, height, 1568)
    return max(1, min(1600, _up(wide * high / 750)))


def _llama(width: int, height: int) -> int:
    return 1601 * min(2, _up(width / 560)) * min(2, _up(height / 560))


def _always(tokens: int) -> _Rule:
    return lambda width, height: tokens


# ---- which model counts how ------------------------------------------------------------------------------------------

_GPT_4O = _tiles(85, 170)
_GPT_LATEST = _patches(32, weight=1.2)
_CLAUDE_LATEST = _patches(28, budget=4784, side=2576)

_MODELS: tuple[tuple[re.Pattern[str], _Rule], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"gpt-4o-mini", _tiles(2833, 5667)),
        (r"gpt-4\.1-mini|gpt-5-mini", _patches(32, budget=1536, weight=1.62)),
        (r"gpt-4\.1-nano|gpt-5-nano", _patches(32, budget=1536, weight=2.46)),
        (r"o4-mini|codex-mini", _patches(32, budget=1536, weight=1.72)),
        (r"gpt-5\.\d+-(mini|nano)|gpt-5\.[23]", _patches(32, budget=1536, weight=1.2)),
        (r"gpt-5\.4", _patches(32, budget=2500, side=2048, weight=1.2)),
        (r"gpt-5\.5", _patches(32, budget=10_000, side=6000, weight=1.2)),
        (r"gpt-(5\.\d|[6-9])", _GPT_LATEST),
        (r"gpt-5", _tiles(70, 140)),
        (r"o[13](-|$)", _tiles(75, 150)),
        (r"computer-use-preview", _tiles(65, 129)),
        (r"gpt-4|chatgpt-4o", _GPT_4O),
        (r"claude-([a-z]+-)?(4[-.][789]|[5-9])", _CLAUDE_LATEST),
        (r"claude", _area),
        (r"gemini-[3-9]", _always(1120)),
        (r"gemini", _gemini),
        (r"gemma-?[34]", _always(256)),
        (r"pixtral-12b", _rows(16, 1024)),
        (r"pixtral|mistral|ministral|magistral|devstral", _rows(28, 1540)),
        (r"llama-?3\.2", _llama),
        (r"qwen-?2(\.5)?-?vl", _patches(28, minimum=4)),
        (r"qwen-?3", _patches(32, minimum=4)),
        (r"llava", _always(576)),
    )
)

_PROVIDERS: Mapping[str, _Rule] = {
    "openai": _GPT_LATEST,
    "anthropic": _CLAUDE_LATEST,
    "claude": _CLAUDE_LATEST,
    "gemini": _always(1120),
    "google": _always(1120),
    "mistral": _rows(28, 1540),
}
