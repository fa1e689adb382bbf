"""What can be asked of a provider beside a generation: its models, what one of them is, embeddings, tokens.

A catalog is a codec's companion and as pure: each question is an exchange, which yields requests and is sent complete
responses. Whoever runs it throws the error of a request into it, so that a catalog can go on without an answer that
it does not need.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias, TypeVar

from typing_extensions import override

from lollms_core.errors import ProtocolError, UnknownModel, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.dialects import Dialect
from lollms_core.protocols.openai import embeddings_request, models_request, parse_embeddings, parse_models
from lollms_core.types import Embeddings, ModelInfo

__all__ = ["Answer", "Catalog", "OpenAICatalog", "as_many", "unknown_model"]

T = TypeVar("T")

_TOKENS = "be asked for the tokens of a text. count_tokens estimates how many there are"

Answer: TypeAlias = Generator[HttpRequest, HttpResponse, T]
"""An exchange that never sleeps."""


class Catalog:
    """The questions of one protocol. The defaults are for a protocol that has no way to ask.

    `about_models` says whether what may be put in is looked up for each model; `modalities` is what the protocol as
    such can carry. Every method raises `ProtocolError` for answers of another form.
    """

    about_models: bool = False
    modalities: tuple[str, ...] = ("text",)

    def ping(self, target: Target) -> HttpRequest:
        """A cheap request that shows whether anybody is there."""
        raise self._cannot("be asked whether it is there")

    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        """The models, in the provider's order."""
        raise self._cannot("list its models")
        yield

    def model(self, name: str, target: Target) -> Answer[ModelInfo]:
        """One model; `UnknownModel` if there is none of that name."""
        for model in (yield from self.models(target)):
            if model.name == name:
                return model
        raise unknown_model(name, target)

    def embed(self, texts: Sequence[str], model: str, target: Target) -> Answer[Embeddings]:
        """One vector for each text."""
        raise self._cannot("embed texts")
        yield

    def tokens(
        self, text: str, model: str, target: Target, add_bos: bool = False, add_eos: bool = False
    ) -> Answer[list[int]]:
        """The tokens of a text, with those that begin and end one where they are wanted."""
        raise self._cannot(_TOKENS)
        yield

    def text(self, tokens: Sequence[int], model: str, target: Target) -> Answer[str]:
        """The text of tokens."""
        raise self._cannot(_TOKENS)
        yield

    def count(
        self, text: str, model: str, target: Target, add_bos: bool = False, add_eos: bool = False
    ) -> Answer[tuple[int, bool]]:
        """How many tokens a text has, and whether that is exact."""
        return len((yield from self.tokens(text, model, target, add_bos, add_eos))), True

    def _cannot(self, what: str) -> UnsupportedFeature:
        return UnsupportedFeature(f"A backend of this protocol cannot {what}.")


class OpenAICatalog(Catalog):
    """What an OpenAI-compatible endpoint tells. It does not say which models can see, so all are assumed to."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.modalities = ("text", "image") if dialect.images else ("text",)

    @override
    def ping(self, target: Target) -> HttpRequest:
        return models_request(target, self._dialect)

    @override
    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        return list(parse_models((yield models_request(target, self._dialect))))

    @override
    def embed(self, texts: Sequence[str], model: str, target: Target) -> Answer[Embeddings]:
        found = parse_embeddings((yield embeddings_request(target, self._dialect, texts, model)))
        return as_many(found, texts)


def as_many(found: Embeddings, texts: Sequence[Any]) -> Embeddings:
    """The embeddings, if there is one for each text. Raises `ProtocolError`."""
    if len(found.vectors) != len(texts):
        raise ProtocolError(f"The backend sent {len(found.vectors)} embeddings for {len(texts)} texts.")
    return found


def unknown_model(name: str, target: Target) -> UnknownModel:
    """The error for a model that a provider does not have."""
    return UnknownModel(
        f"{target.provider or 'The backend'} has no model {name[:200]!r}. Ask for its list of models and choose one.",
        param="model_name",
    )
