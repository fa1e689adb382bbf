"""What Hugging Face tells of models: the router lists those that chat, with each provider's terms; an endpoint
describes the one that it serves. Both embed with the feature-extraction task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.catalog import Answer, Catalog, as_many, unknown_model
from lollms_core.protocols.huggingface import chat_base, is_router, task_post, task_url
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.openai import parse_models
from lollms_core.protocols.outgoing import headers_for
from lollms_core.types import Embeddings, ModelInfo

__all__ = ["EMBEDDER", "HuggingFaceCatalog"]

EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
"""Embeds where nobody names a model: those that the router lists only chat."""

_POLICIES = ("fastest", "cheapest", "preferred")  # what may stand for a provider behind a model's name
_SIZES = ("max_total_tokens", "max_input_tokens", "max_input_length")


class _Info(msgspec.Struct):
    """What an endpoint says of itself; text generation has `max_total_tokens`, embeddings only the input's size."""

    model_id: str


_info = msgspec.json.Decoder(_Info).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_vectors = msgspec.json.Decoder(tuple[tuple[float, ...], ...]).decode
_vector = msgspec.json.Decoder(tuple[float, ...]).decode


class HuggingFaceCatalog(Catalog):
    """The catalog of the router, or of an endpoint. Without `chat`, models are given texts alone."""

    def __init__(self, *, chat: bool = True) -> None:
        self.modalities = ("text", "image") if chat else ("text",)
        self._chat = chat

    @override
    def ping(self, target: Target) -> HttpRequest:
        base = target.base_url
        return _get(target, f"{base.removesuffix('/v1')}/health" if not is_router(base) else _list(target))

    @override
    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        if is_router(target.base_url):
            return [_of_providers(model) for model in parse_models((yield _get(target, _list(target))))]
        if target.base_url.endswith(("/hf-inference", "/models")):
            raise UnsupportedFeature("Hugging Face has no list of the models at this address. Name the one to ask.")
        try:
            return [_served((yield _get(target, f"{target.base_url.removesuffix('/v1')}/info")))]
        except InvalidRequest:  # it is served by something else, which may have a list
            return list(parse_models((yield _get(target, _list(target)))))

    @override
    def model(self, name: str, target: Target) -> Answer[ModelInfo]:
        """One model; with `name:provider` as that provider serves it. An endpoint has one, whatever it is called.

        The router lists models that chat; of others nothing is known but the name.
        """
        models = yield from self.models(target)
        if not is_router(target.base_url) and len(models) == 1:
            return msgspec.structs.replace(models[0], name=name or models[0].name)
        plain, _, who = name.partition(":")
        for model in models:
            if model.name == name:
                return model
            if model.name == plain and who and (found := _of_providers(model, who)).details.get("providers"):
                return msgspec.structs.replace(found, name=name)
        if name and not self._chat and is_router(target.base_url):
            return ModelInfo(name)
        raise unknown_model(name, target)

    @override
    def embed(self, texts: Sequence[str], model: str, target: Target) -> Answer[Embeddings]:
        """One vector for each text. Raises `UnsupportedFeature` for a model that has one for each token."""
        name = model or target.model
        url = task_url(target.base_url, name, "feature-extraction")
        response = yield task_post(target, url, {"inputs": list(texts)})
        if _depth(response.body) > 2:
            raise UnsupportedFeature(
                f"The model {name[:200]!r} gives a vector for each token instead of one for each text. Name one that "
                f"embeds texts, such as {EMBEDDER}."
            )
        if _depth(response.body) == 1 and len(texts) == 1:
            return Embeddings((decode_body(_vector, response.body),), name)
        return as_many(Embeddings(decode_body(_vectors, response.body), name), texts)


def _depth(body: bytes) -> int:
    """How many lists a body begins with."""
    begin = b"".join(body[:100].split())
    return len(begin) - len(begin.lstrip(b"["))


def _get(target: Target, url: str) -> HttpRequest:
    headers = headers_for(target, "application/json", "authorization")
    return HttpRequest("GET", url, headers, b"", target.timeouts, target.verify_tls)


def _list(target: Target) -> str:
    return f"{chat_base(target.base_url, target.model)}/models"


def _served(response: HttpResponse) -> ModelInfo:
    """The model of an endpoint, from what it says of itself. Raises `ProtocolError`."""
    name = decode_body(_info, response.body).model_id
    details = decode_body(_object, response.body)
    sizes = [details.get(size) for size in _SIZES]
    return ModelInfo(name, next((size for size in sizes if type(size) is int and size > 0), None), details=details)


def _of_providers(model: ModelInfo, who: str = "") -> ModelInfo:
    """A model as those serve it who may be asked: one provider, or any that is live.

    The context is the smallest of them, because the router chooses who answers.
    """
    listed = model.details.get("providers")
    every = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if who and who not in _POLICIES:
        asked = [each for each in every if each.get("provider") == who]
    else:
        asked = [each for each in every if each.get("status") in (None, "live")] or every
    sizes = [size for each in asked if type(size := each.get("context_length")) is int and size > 0]
    return msgspec.structs.replace(
        model,
        context_size=min(sizes, default=model.context_size),
        supports_tools=any(each.get("supports_tools") is True for each in asked) if every else model.supports_tools,
        details={**model.details, "providers": asked},
    )
