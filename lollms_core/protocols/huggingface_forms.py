"""The two ways in which Hugging Face's models are asked, by their names: `chat`, and `instruct` for text generation."""

from __future__ import annotations

from lollms_core.errors import ConfigError
from lollms_core.protocols.base import Codec
from lollms_core.protocols.huggingface import HuggingFaceCodec, TextTaskCodec, is_router
from lollms_core.protocols.huggingface_catalog import EMBEDDER, HuggingFaceCatalog
from lollms_core.protocols.prompt_tools import with_prompt_tools

__all__ = ["embedder_at", "huggingface_form"]


def huggingface_form(name: object) -> tuple[Codec, HuggingFaceCatalog]:
    """Codec and catalog of a completion format; None is chat. Raises `ConfigError` for any other name."""
    form = str(name or "chat").lower()
    if form == "chat":
        return HuggingFaceCodec(), HuggingFaceCatalog()
    if form == "instruct":
        return with_prompt_tools(TextTaskCodec()), HuggingFaceCatalog(chat=False)
    raise ConfigError(f"completion_format is {form[:50]!r}; it must be chat or instruct.")


def embedder_at(base_url: str) -> str | None:
    """The model that embeds where none is named: those that the router lists only chat, an endpoint has its own."""
    return EMBEDDER if is_router(base_url) else None
