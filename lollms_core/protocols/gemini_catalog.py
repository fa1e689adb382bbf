"""What the Gemini API tells beside answers: its models, page by page, with their limits; tokens, counted exactly; and
embeddings.

It does not say which models can see or call tools, so all that answer are taken to; a model that cannot refuses in
words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, ProtocolError, UnknownModel
from lollms_core.protocols.base import HttpRequest, Target
from lollms_core.protocols.catalog import Answer, Catalog, as_many, unknown_model
from lollms_core.protocols.gemini import gemini_request, model_path
from lollms_core.protocols.gemini_reader import usage_of
from lollms_core.protocols.json_limits import decode_body
from lollms_core.types import Embeddings, ModelInfo, Usage

__all__ = ["EMBEDDER", "GeminiCatalog"]

EMBEDDER = "gemini-embedding-001"
"""The model that embeds where none is named."""

_PAGE = 1000  # models, the most that Google gives at once
_MOST_PAGES = 50
_MOST_TEXTS = 100  # in one request
_METHODS = frozenset({"generateContent", "embedContent", "batchEmbedContents"})


class _Models(msgspec.Struct, rename="camel"):
    models: list[dict[str, Any]] | None = None
    next_page_token: str | None = None


class _Vector(msgspec.Struct, rename="camel"):
    values: tuple[float, ...]


class _Vectors(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: msgspec.Raw = msgspec.Raw(b"null")


class _Count(msgspec.Struct, rename="camel"):
    total_tokens: int = 0  # a count of nothing is left out


_one = msgspec.json.Decoder(dict[str, Any]).decode
_page = msgspec.json.Decoder(_Models).decode
_vectors = msgspec.json.Decoder(_Vectors).decode
_count = msgspec.json.Decoder(_Count).decode


class GeminiCatalog(Catalog):
    """The catalog of the Gemini API."""

    modalities = ("text", "image")

    @override
    def ping(self, target: Target) -> HttpRequest:
        return gemini_request(target, "/models?pageSize=1")

    @override
    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        """The models that answer or embed; those that only draw or film are left out."""
        found: list[ModelInfo] = []
        token, seen = "", set[str]()
        for _ in range(_MOST_PAGES):
            more = f"&pageToken={quote(token, safe='')}" if token else ""
            page = decode_body(_page, (yield gemini_request(target, f"/models?pageSize={_PAGE}{more}")).body)
            found += [model for entry in page.models or () if (model := _model(entry)) is not None and _of_use(model)]
            token = page.next_page_token or ""
            if not token or token in seen:
                break
            seen.add(token)
        return found

    @override
    def model(self, name: str, target: Target) -> Answer[ModelInfo]:
        name = name or target.model
        try:
            found = _model(decode_body(_one, (yield gemini_request(target, f"/{model_path(name, target)}")).body))
        except UnknownModel as error:
            raise unknown_model(name, target) from error
        if found is None:
            raise ProtocolError("The backend described a model without its name.")
        return found

    @override
    def embed(self, texts: Sequence[str], model: str, target: Target) -> Answer[Embeddings]:
        path, named = model_path(model, target), model_path(model, target, plain=True)
        vectors: list[tuple[float, ...]] = []
        usage: Usage | None = None
        for some in _batches(texts):
            asked = [{"model": named, "content": {"parts": [{"text": text}]}} for text in some]
            answer = yield gemini_request(target, f"/{path}:batchEmbedContents", {"requests": asked})
            reply = decode_body(_vectors, answer.body)
            part = as_many(Embeddings(tuple(each.values for each in reply.embeddings)), some)
            vectors += part.vectors
            counted = usage_of(reply.usage_metadata)
            usage = counted if usage is None else usage + counted
        return Embeddings(tuple(vectors), _plain_name(named), usage)

    @override
    def count(
        self, text: str, model: str, target: Target, add_bos: bool = False, add_eos: bool = False
    ) -> Answer[tuple[int, bool]]:
        """How many tokens a text has as Google counts, which is exact. Tokens at begin and end are not its business."""
        if not text:
            return 0, True  # which Google refuses to count
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        answer = yield gemini_request(target, f"/{model_path(model, target)}:countTokens", body)
        counted = decode_body(_count, answer.body).total_tokens
        if counted < 0:
            raise ProtocolError("The backend counted fewer than no tokens.")
        return counted, True


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    if not texts:
        raise InvalidRequest("There is no text to embed.", param="input")
    return (texts[at : at + _MOST_TEXTS] for at in range(0, len(texts), _MOST_TEXTS))


def _plain_name(name: str) -> str:
    return name.removeprefix("models/")


def _of_use(model: ModelInfo) -> bool:
    methods = model.details.get("supportedGenerationMethods")
    return not isinstance(methods, list) or any(method in _METHODS for method in methods if isinstance(method, str))


def _model(entry: dict[str, Any]) -> ModelInfo | None:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        return None
    methods = entry.get("supportedGenerationMethods")
    answers = isinstance(methods, list) and "generateContent" in methods
    return ModelInfo(
        name=_plain_name(name),
        context_size=_size(entry.get("inputTokenLimit")),
        max_output_tokens=_size(entry.get("outputTokenLimit")),
        supports_vision=answers,
        supports_tools=answers,
        details={key: value for key, value in entry.items() if key != "name"},
    )


def _size(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 2**62 else None
