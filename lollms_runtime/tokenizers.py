"""Exact tokenizers that are on this machine already, by the name of a model.

The vocabularies of OpenAI's models come with the package `bpe-openai` (the extra `tokenizers`), so nothing is asked of
any network, now or at first use. Where the package is missing, or the model is none of OpenAI's, there is no tokenizer,
and the caller decides what to do without.

The package takes texts of a limited size and keeps Python's lock while it works. So a text is cut in pieces before it
gets there, only where no token can reach across: behind a letter or digit and before a space or sign. All patterns by
which these vocabularies cut a text into words end a word there and look no further back.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from lollms_core.errors import InvalidRequest

__all__ = ["OfflineTokenizers", "Tokenizer", "vocabulary_of"]

_PIECE = 50_000  # characters; in UTF-8 never more than the tokens that the package accepts
_LONGEST = 900_000
_CUT = re.compile(r"(?<=[^\W_])(?=[ \t\r\n!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~\u3001\u3002\uff01\uff0c\uff1f])")
_VOCABULARIES = (
    ("o200k_base", r"(?:chat|ft:)?gpt-(?:4o|4\.1|4\.5|[5-9](?![0-9])).*|o[1-9](?:-.*)?|gpt-oss\b.*"),
    ("cl100k_base", r"(?:ft:)?(?:gpt-4|gpt-3\.5|gpt-35)(?:-.*|:.*)?|text-embedding-(?:ada-002|3-.*)"),
)
_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in _VOCABULARIES)


class Tokenizer(Protocol):
    """One vocabulary. Special tokens have no spelling: their names in a text are plain text."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text. Raises `InvalidRequest` for a text it cannot take."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; bytes that are no text become U+FFFD. Raises `InvalidRequest` for unknown tokens."""

    def count(self, text: str) -> int:
        """How many tokens a text has; takes less memory than `encode`."""


def vocabulary_of(model: str) -> str | None:
    """The vocabulary of a model of OpenAI's; None for all others."""
    name = model.strip().lower()
    return next((vocabulary for vocabulary, pattern in _PATTERNS if pattern.fullmatch(name)), None)


class OfflineTokenizers:
    """Loads each vocabulary once, when it is first wanted. Safe to use from any thread; loading takes half a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, Tokenizer | None] = {}

    def for_model(self, model: str) -> Tokenizer | None:
        """The tokenizer of a model; None when it is not known or its package is not installed."""
        vocabulary = vocabulary_of(model)
        if vocabulary is None:
            return None
        with self._lock:
            if vocabulary not in self._loaded:
                self._loaded[vocabulary] = _load(vocabulary)
            return self._loaded[vocabulary]


def _load(vocabulary: str) -> Tokenizer | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it reads its files in an old way
        try:
            import bpe_openai
        except ImportError:
            return None
        return _BpeTokenizer(bpe_openai.get_encoding(vocabulary))


class _BpeTokenizer:
    """A vocabulary of bpe-openai."""

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = []
        for piece in _pieces(text):
            tokens += self._encode(piece)
        return tokens

    def count(self, text: str) -> int:
        return sum(len(self._encode(piece)) for piece in _pieces(text))

    def decode(self, tokens: Sequence[int]) -> str:
        if any(token < 0 for token in tokens):
            raise InvalidRequest("Tokens are not negative.", param="tokens")
        try:
            return str(self._encoding.decode(tokens))
        except KeyError as error:
            raise InvalidRequest(f"The model {self._encoding.name} knows no such token.", param="tokens") from error

    def _encode(self, piece: str) -> list[int]:
        try:
            return list(self._encoding.encode_ordinary(piece))
        except ValueError as error:  # also the package's own error for too many tokens
            raise _too_long(len(piece)) from error


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that can be looked at one by one. Raises `InvalidRequest` when a word is too long for that."""
    start = 0
    while len(text) - start > _PIECE:
        cut = _CUT.search(text, start + _PIECE // 2, start + _LONGEST)
        if cut is None:
            break
        yield text[start : cut.start()]
        start = cut.start()
    if len(text) - start > _LONGEST:
        raise _too_long(len(text) - start)
    yield text[start:]


def _too_long(length: int) -> InvalidRequest:
    return InvalidRequest(
        f"The text has {length} characters without a break between words, more than the tokenizer takes.", param="text"
    )
