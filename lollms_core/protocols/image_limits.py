"""Which images a backend takes: what providers publish, each with its source.

A limit stands here only where somebody says so. Kinds matter most: an image of another kind is refused by every
provider, and in words that help nobody. Sizes above a limit are refused as well; sizes below it are scaled by the
provider itself, as it sees fit for its model, so nothing is made smaller than it has to be.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = [
    "GENERIC_IMAGES",
    "LLAMACPP_IMAGES",
    "NO_LIMITS",
    "OPENAI_IMAGES",
    "PUBLISHED",
    "SERVER_IMAGES",
    "ImageLimits",
]

_PNG, _JPEG, _GIF, _WEBP = "image/png", "image/jpeg", "image/gif", "image/webp"


class ImageLimits(msgspec.Struct, frozen=True):
    """The largest image that a backend takes, and the kinds; None and () mean that nothing is known.

    `max_bytes` is the encoded size, `max_side` the longer side in pixels, `max_pixels` width times height; `kinds` are
    media types such as `image/png`. `animated` says whether an image may have more than one frame.
    """

    max_bytes: int | None = None
    max_side: int | None = None
    max_pixels: int | None = None
    kinds: tuple[str, ...] = ()
    animated: bool = True


NO_LIMITS = ImageLimits()

GENERIC_IMAGES = ImageLimits(kinds=(_PNG, _JPEG), animated=False)
"""What every server that looks at images can read, for an endpoint that nobody knows."""

OPENAI_IMAGES = ImageLimits(max_bytes=20_000_000, kinds=(_PNG, _JPEG, _WEBP, _GIF), animated=False)
"""https://developers.openai.com/api/docs/guides/images-vision: PNG, JPEG, WebP, GIF that does not move; the limit for
one image was 20 MB, and that for all of a request is 50 MB."""

LLAMACPP_IMAGES = ImageLimits(kinds=(_PNG, _JPEG, _GIF), animated=False)
"""llama.cpp decodes with stb_image, which knows no WebP and gives the first frame of a GIF
(https://github.com/ggml-org/llama.cpp/discussions/15542, https://github.com/cline/cline/issues/8977)."""

SERVER_IMAGES = ImageLimits(max_pixels=40_000_000, kinds=(_PNG, _JPEG, _WEBP, _GIF))
"""A lollms server takes these kinds and passes them on; it knows its backends, and their limits."""

PUBLISHED: Mapping[str, ImageLimits] = {
    "openai": OPENAI_IMAGES,
    "llamacpp": LLAMACPP_IMAGES,
    "lollms": SERVER_IMAGES,
    # WebP came in May 2025 and was lost again for a time: https://github.com/ollama/ollama/pull/10653 and /pull/17755
    "ollama": GENERIC_IMAGES,
    # https://platform.claude.com/docs/en/build-with-claude/vision: 8000 x 8000 pixels; 5 MiB, of the Base64 text
    # (https://github.com/anthropics/claude-code/issues/14887), so three quarters of that in bytes
    "anthropic": ImageLimits(5 * 2**20 * 3 // 4, 8000, None, (_PNG, _JPEG, _GIF, _WEBP), animated=False),
    # https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding: 7 MB inline
    "gemini": ImageLimits(7_000_000, None, None, (_PNG, _JPEG, _WEBP), animated=False),
    # https://console.groq.com/docs/vision: a request with images in Base64 has 4 MB at most
    "groq": ImageLimits(2_900_000, None, None, (_PNG, _JPEG), animated=False),
    # https://scaleway.com/en/docs/managed-inference/reference-content/pixtral-12b-2409: of GIF a single frame
    "mistral": ImageLimits(None, None, None, (_PNG, _JPEG, _WEBP, _GIF), animated=False),
    # https://docs.x.ai/docs/guides/image-understanding: 20 MiB, JPEG or PNG
    "grok": ImageLimits(20 * 2**20, None, None, (_PNG, _JPEG), animated=False),
    # https://docs.perplexity.ai/docs/sonar/media: 50 MB in Base64, so three quarters of that in bytes
    "perplexity": ImageLimits(50_000_000 * 3 // 4, None, None, (_PNG, _JPEG, _WEBP, _GIF), animated=False),
    # https://openrouter.ai/docs/guides/overview/multimodal/images: four kinds; the limits are those of who answers
    "open_router": ImageLimits(None, None, None, (_PNG, _JPEG, _WEBP, _GIF), animated=False),
}
"""What is published, by the name of the provider's dialect."""
