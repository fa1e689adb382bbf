"""What the older lollms web UI tells: the names of its models, its mounted personalities, embeddings, tokens.

Its routes answer with status 200 also when they failed; the body says so. It says nothing about a model but its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from typing_extensions import override

from lollms_core.errors import ProtocolError, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.catalog import Answer, Catalog
from lollms_core.protocols.http_errors import secrets_of
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.lollms_webui import reported, webui_request
from lollms_core.types import Embeddings, ModelInfo

__all__ = ["LollmsWebuiCatalog"]

T = TypeVar("T")

_anything = msgspec.json.Decoder().decode


class LollmsWebuiCatalog(Catalog):
    """The catalog of a lollms web UI."""

    modalities = ("text", "image")

    @override
    def ping(self, target: Target) -> HttpRequest:
        return webui_request(target, "/list_models")

    @override
    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        listed = _read((yield self.ping(target)), target)
        if not isinstance(listed, list):
            raise _odd(target, "list of models")
        return [ModelInfo(name, details=about) for name, about in map(_named, listed) if name]

    def personalities(self, target: Target) -> Answer[list[str]]:
        """The names of the mounted personalities; the place of a name in the list is the number that chooses it."""
        found = _read((yield webui_request(target, "/list_mounted_personalities")), target)
        names = found.get("personalities") if isinstance(found, dict) else found
        if not isinstance(names, list):
            raise _odd(target, "list of personalities")
        return [_named(each)[0] for each in names]

    @override
    def embed(self, texts: Sequence[str], model: str, target: Target) -> Answer[Embeddings]:
        """One question for each text; the web UI has one model for this, so `model` must be ""."""
        if model:
            raise UnsupportedFeature("A lollms web UI embeds with its own model; none can be chosen.")
        vectors: list[tuple[float, ...]] = []
        for text in texts:
            answer = _read((yield webui_request(target, "/lollms_embed", {"text": text})), target)
            vector = answer.get("vector") if isinstance(answer, dict) else None
            vectors.append(_as(tuple[float, ...], vector, target, "embedding"))
        return Embeddings(tuple(vectors))

    @override
    def tokens(
        self, text: str, model: str, target: Target, add_bos: bool = False, add_eos: bool = False
    ) -> Answer[list[int]]:
        request = webui_request(target, "/lollms_tokenize", {"prompt": text, "return_named": False})
        answer = _read((yield request), target)
        tokens = answer.get("raw_tokens") if isinstance(answer, dict) else answer
        return _as(list[int], tokens, target, "list of tokens")

    @override
    def text(self, tokens: Sequence[int], model: str, target: Target) -> Answer[str]:
        request = webui_request(target, "/lollms_detokenize", {"tokens": list(tokens), "return_named": False})
        answer = _read((yield request), target)
        return _as(str, answer.get("text") if isinstance(answer, dict) else answer, target, "text")


def _read(response: HttpResponse, target: Target) -> Any:
    """The JSON of an answer. Raises the error that it reports."""
    value = decode_body(_anything, response.body)
    if error := reported(value, target.provider or "The lollms web UI", secrets_of(target)):
        raise error
    return value


def _named(entry: object) -> tuple[str, dict[str, Any]]:
    """The name of a model or personality, and what else is said of it; it may stand alone."""
    if isinstance(entry, dict):
        name = entry.get("model_name") or entry.get("name")
        return (name if isinstance(name, str) else "", entry)
    return (entry if isinstance(entry, str) else "", {})


def _as(kind: Callable[..., T], value: object, target: Target, what: str) -> T:
    try:
        found: T = msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError):
        raise _odd(target, what) from None
    return found


def _odd(target: Target, what: str) -> ProtocolError:
    return ProtocolError(f"{target.provider or 'The lollms web UI'} sent no {what}. Check the address.")
