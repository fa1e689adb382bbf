"""The bodies of /tokenize, /detokenize, /count_tokens and /embed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lollms_server.api.models.base import Answer, Name, Request, Text

__all__ = [
    "CountTokensRequest",
    "CountTokensResponse",
    "DetokenizeRequest",
    "DetokenizeResponse",
    "EmbedRequest",
    "EmbedResponse",
    "TextRequest",
    "TokenId",
    "TokenizeRequest",
    "TokenizeResponse",
    "UsageInfo",
]

TokenId = Annotated[int, Field(ge=0, le=2**32 - 1)]


class TextRequest(Request):
    """Base of the requests that ask for an instance's tokenizer."""

    text: Text
    binding_name: Name | None = Field(default=None, description="An instance; else the default for text.")
    model_name: Name | None = Field(default=None, description="A model of the instance; else its default.")
    add_bos: bool = Field(default=False, description="Whether the token that begins a text is added.")
    add_eos: bool = Field(default=False, description="Whether the token that ends a text is added.")


class TokenizeRequest(TextRequest):
    """The body of POST /tokenize."""


class CountTokensRequest(TextRequest):
    """The body of POST /count_tokens."""


class TokenizeResponse(Answer):
    """The tokens of a text."""

    tokens: list[int]
    count: int


class CountTokensResponse(Answer):
    """How many tokens a text has."""

    count: int
    exact: bool = Field(description="False when the number is an estimate (an extension).")


class DetokenizeRequest(Request):
    """The body of POST /detokenize."""

    tokens: Annotated[list[TokenId], Field(max_length=4_000_000)]
    binding_name: Name | None = Field(default=None, description="An instance; else the default for text.")
    model_name: Name | None = Field(default=None, description="A model of the instance; else its default.")


class DetokenizeResponse(Answer):
    """The text of tokens."""

    text: str


class EmbedRequest(Request):
    """The body of POST /embed."""

    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    binding_name: Name | None = Field(default=None, description="An instance; else the default for text.")
    model_name: Name | None = Field(default=None, description="A model of the instance; else its default.")


class UsageInfo(Answer):
    """Tokens as the backend counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class EmbedResponse(Answer):
    """One vector for each text, in the order of the texts."""

    embeddings: list[list[float]]
    model_name: str | None
    usage: UsageInfo | None = None
