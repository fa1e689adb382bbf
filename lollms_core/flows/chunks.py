"""Chunks: a long text in pieces that each have at most so many tokens, by the exact count of the model.

Where a piece may end is chosen with an estimate, which is corrected by every exact count, and then the piece itself is
counted. So a chunk costs about one count, and one more for its overlap with the one before; where the estimate was far
off, two or three. Chunks are positions: nothing of the text is copied but the piece that is being counted.
"""

from __future__ import annotations

import msgspec

from lollms_core.errors import Cancelled, InvalidRequest, LollmsError
from lollms_core.flows.base import Flow, count
from lollms_core.text.chunking import cut_at, next_cut, start_at
from lollms_core.text.tokens import estimate

__all__ = ["Chunk", "Chunks", "Measure", "check_sizes", "chunked", "cut_to"]

_NEARLY = 0.97  # of what fits: how much is aimed at, since an estimate is never quite right
_PERHAPS = 1.1  # times what may fit: how much is counted when it is all that is left of the text,
_WHOLE = 2.0  # and when it is the whole text: then nothing is known of it yet, and it matters whether it is one chunk
_MORE = 1.2  # how much longer a chunk could be before it is worth another count
_FIRST = 3  # characters of a token, before anything is known
_TELLING = 32  # tokens from which a count hardly ever is what we estimate, unless it is an estimate itself


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a text: from the character `start` up to `end`, of `tokens` tokens."""

    start: int
    end: int
    tokens: int

    def of(self, text: str) -> str:
        """The piece itself."""
        return text[self.start : self.end]


class Chunks(msgspec.Struct, frozen=True):
    """The pieces of a text in order; `exact` is False where their tokens are estimates."""

    parts: tuple[Chunk, ...]
    exact: bool = True


class Measure:
    """Counts the tokens of texts: exactly where the backend can, else by the estimate, and then it asks no more.

    Many a binding gives an estimate where it cannot count, and it is ours; so two such counts at the beginning are
    taken for what they are. What is wrong with a backend that fails to count, its model's first call will say.

    Attributes: `exact`; `factor`, how many tokens an estimated one has shown to be.
    """

    def __init__(self) -> None:
        self.exact = True
        self.factor = 1.0
        self._alike: int | None = 0  # counts that were our estimate; None when one was not

    def tokens(self, text: str) -> Flow[int]:
        """How many tokens a text has. Costs one count."""
        if not text:
            return 0
        guessed = estimate(text)
        if not self.exact:
            return max(1, round(guessed * self.factor))
        try:
            counted = yield from count(text)
        except Cancelled:
            raise
        except LollmsError:
            self.exact = False
            return max(1, round(guessed * self.factor))
        self.factor = min(max(counted / guessed, 0.001), 1000.0)
        if self._alike is not None and guessed >= _TELLING:
            self._alike = self._alike + 1 if counted == guessed else None
            self.exact = self._alike != 2
        return counted

    def guess(self, text: str) -> int:
        """About how many tokens a text has, by what exact counts have shown. Costs nothing."""
        return round(estimate(text) * self.factor)


def chunked(text: str, size: int, overlap: int = 0, measure: Measure | None = None) -> Flow[Chunks]:
    """The pieces of a text, each of at most `size` tokens, cut where sections, lines, sentences or words end.

    Together they have every character; a text without any has none. Each begins at most `overlap` tokens before the end
    of the one before, at the beginning of a sentence where there is one, and ends behind it. What a chunk has is
    counted for its own text; where the backend cannot count, it is an estimate, and `exact` is False.

    `measure` may be one that has counted before. Costs one to three counts for a chunk, no call of the model. Raises
    `InvalidRequest` for a size that does not hold one character, and for an overlap that is not smaller than the size.
    """
    check_sizes(size, overlap)
    measure = measure or Measure()
    parts: list[Chunk] = []
    start = end = 0
    while end < len(text):
        part = yield from _Piece(text, start, end, size, measure).found()
        if part is None:  # nothing new fits behind the overlap
            start = end
            continue
        parts.append(part)
        end = part.end
        start = yield from _back(text, part, overlap, measure)
    return Chunks(tuple(parts), measure.exact)


def cut_to(text: str, most: int, measure: Measure, before: str = "") -> Flow[str]:
    """The beginning of a text that has at most `most` tokens, together with what stands before it.

    "" where nothing of it fits. Costs one count where it is short enough, else mostly two or three.
    """
    while text and (tokens := (yield from measure.tokens(before + text))) > most:
        length = min(int(len(text) * max(most, 0) * _NEARLY / tokens), len(text) - 1)
        end = cut_at(text, 0, length) if length > 0 else 0
        text = text[:end] if end < len(text) else ""
    return text


def check_sizes(
    size: int, overlap: int, size_name: str = "chunk_size_tokens", overlap_name: str = "overlap_tokens"
) -> None:
    """Raises `InvalidRequest` for sizes that no text can be cut with, under the names that the caller knows."""
    for name, value in ((size_name, size), (overlap_name, overlap)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidRequest(f"{name} is {value!r}; it must be a whole number.", param=name)
    if size < 1:
        raise InvalidRequest(f"{size_name} is {size}; a chunk needs at least 1 token.", param=size_name)
    if not 0 <= overlap < size:
        raise InvalidRequest(
            f"{overlap_name} is {overlap}; it must not be negative, and smaller than {size_name}, which is {size}.",
            param=overlap_name,
        )


class _Piece:
    """One chunk on its way: from `start`, to a place behind `after`."""

    def __init__(self, text: str, start: int, after: int, size: int, measure: Measure) -> None:
        self._text = text
        self._start = start
        self._after = after
        self._size = size
        self._measure = measure

    def found(self) -> Flow[Chunk | None]:
        """The chunk; None where nothing behind `after` fits, so that it must begin later."""
        text, start, size = self._text, self._start, self._size
        best: Chunk | None = None
        high, tries = self._first(), 0
        while True:
            end = cut_at(text, self._after, max(high, self._after + 1))
            if best is not None and end <= best.end:
                return best
            tokens = yield from self._measure.tokens(text[start:end])
            tries += 1
            fits = start + int((end - start) * size * _NEARLY / max(tokens, 1))
            if tokens <= size:
                best = Chunk(start, end, tokens)
                if end == len(text) or tries > 2 or fits - start < (high - start) * _MORE:
                    return best
                high = fits
            elif best is not None:
                return best
            elif end == next_cut(text, self._after):
                if start == self._after:
                    raise self._too_small(tokens)
                return None
            else:
                high = min(fits, end - 1) if tries < 3 else self._after + (end - self._after) // 2

    def _first(self) -> int:
        """Where the chunk may end, by the estimate."""
        text, start, size = self._text, self._start, self._size
        length = max(1, int(_FIRST * size / self._measure.factor))
        for _ in range(2):
            tokens = max(estimate(text[start : start + length]) * self._measure.factor, 0.5)
            if start + length >= len(text) and tokens <= size * _NEARLY:
                return len(text)
            length = max(1, int(min(length, len(text) - start) * size * _NEARLY / tokens))
        perhaps = _PERHAPS if start else _WHOLE
        return len(text) if len(text) - start <= length * perhaps else start + length

    def _too_small(self, tokens: int) -> InvalidRequest:
        return InvalidRequest(
            f"Chunks of {self._size} tokens are too small: one character of the text has {tokens}.",
            param="chunk_size_tokens",
        )


def _back(text: str, part: Chunk, overlap: int, measure: Measure) -> Flow[int]:
    """Where the chunk after a chunk begins."""
    if not overlap or part.end == len(text):
        return part.end
    length = int((part.end - part.start) * overlap * _NEARLY / max(part.tokens, 1))
    for _ in range(3):
        place = start_at(text, max(part.start + 1, part.end - length), part.end)
        if place <= part.start or place >= part.end:
            break
        tokens = yield from measure.tokens(text[place : part.end])
        if tokens <= overlap:
            return place
        length = int((part.end - place) * overlap * 0.8 / tokens)
    return part.end
