"""What a list of models says of each: its context, its longest answer, and what it can do, in the words of many.

Most endpoints give a name and no more. What the others add has no common form, so each fact is looked for under all
the names that it is known to have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from lollms_core.errors import ProtocolError
from lollms_core.protocols.base import HttpResponse
from lollms_core.protocols.json_limits import decode_body
from lollms_core.types import ModelInfo

__all__ = ["parse_models"]

_CONTEXT = (
    "context_length",  # OpenRouter, Together
    "context_window",  # Groq
    "max_model_len",  # vLLM, SGLang
    "max_context_length",  # Mistral
    "context_size",  # Novita
    "n_ctx",  # llama.cpp
    "n_ctx_train",
)
_OUTPUT = ("max_output_tokens", "max_completion_tokens")  # Novita; Groq, OpenRouter
_VISION = ("vision", "multimodal")
_TOOLS = ("function_calling", "function-calling", "tools", "tool_use")


class _ModelList(msgspec.Struct):
    data: list[dict[str, Any]]


_model_list = msgspec.json.Decoder(_ModelList | list[dict[str, Any]]).decode


def parse_models(response: HttpResponse) -> list[ModelInfo]:
    """The models of a 2xx answer to `models_request`, in the provider's order; entries without a name are left out.

    The list may be the whole answer, as Together sends it. Raises `ProtocolError`.
    """
    answer = decode_body(_model_list, response.body)
    entries = answer.data if isinstance(answer, _ModelList) else answer
    if not answer:
        raise ProtocolError("The backend sent an empty list instead of its models. Check the address.")
    return [_model(entry) for entry in entries if isinstance(entry.get("id"), str) and entry["id"]]


def _model(entry: dict[str, Any]) -> ModelInfo:
    places = [entry, *_inside(entry, "meta", "top_provider")]
    abilities = [entry.get("capabilities"), entry.get("features"), entry.get("supported_parameters")]
    for meta in (inner for info in _inside(entry, "info") for inner in _inside(info, "meta")):
        abilities.append(meta.get("capabilities"))  # Open WebUI
    inputs = [about.get("input_modalities") for about in (entry, *_inside(entry, "architecture"))]
    return ModelInfo(
        name=entry["id"],
        context_size=_size(places, _CONTEXT),
        max_output_tokens=_size(places, _OUTPUT),
        supports_vision=_has(abilities, *_VISION) or _has(inputs, "image"),
        supports_audio=_has(abilities, "audio") or _has(inputs, "audio"),
        supports_tools=_has(abilities, *_TOOLS),
        details=entry,
    )


def _inside(entry: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    return [inner for name in names if isinstance(inner := entry.get(name), dict)]


def _size(places: Iterable[dict[str, Any]], names: Iterable[str]) -> int | None:
    """The first number of tokens that is stated."""
    sizes = (place.get(name) for place in places for name in names)
    return next((size for size in sizes if type(size) is int and size > 0), None)


def _has(stated: Iterable[object], *names: str) -> bool:
    """Whether a list holds one of the names, or an object says true of one; False also where nothing is stated."""
    for each in stated:
        if isinstance(each, dict) and any(each.get(name) is True for name in names):
            return True
        if isinstance(each, list) and any(name in each for name in names):
            return True
    return False
