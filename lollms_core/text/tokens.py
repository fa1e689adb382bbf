"""How many tokens a text has, roughly, where nobody can say exactly.

All tokenizers of today's models cut a text in pieces first (words with the space before them, numbers, signs, line
ends) and then each piece in the parts that stand in their vocabulary. The pieces can be counted without a vocabulary;
how many parts a piece has depends on how often its script was seen when the vocabulary was made. So each kind of piece
has a rate here: the parts of a piece, and the letters after which there is one more.

The rates lie between those of two known vocabularies, one of 200,000 entries (o200k) and one of 100,000 that knows
little but English (cl100k), because the model's own is not known where this is needed. How far off that is: English,
French, Spanish, code and JSON within 20 % of both. In other languages the two differ by up to a factor of three, and
the estimate is at least three quarters of the smaller count and at most five quarters of the larger. Text that is no
language can be further off: of Base64 and other long rows of letters it counts half, of random words a quarter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["estimate"]

_PART = 1 << 16  # characters looked at in one go, so that a thread that estimates leaves room for others


class _Rate(NamedTuple):
    """What each match of a pattern counts."""

    pattern: re.Pattern[str]
    tokens: float


_ASCII = (
    _Rate(re.compile(r"[A-Za-z]+"), 1.0),
    _Rate(re.compile(r"[A-Za-z]{7}"), 0.35),
    _Rate(re.compile(r"[A-Za-z]{20}"), 5.0),
    _Rate(re.compile(r"[0-9]{1,3}"), 1.0),
    _Rate(re.compile(r"[!-/:-@\[-`{-~]{1,3}"), 0.95),
    _Rate(re.compile(r"[^\S ]\s{0,15}|[ ]{2,16}"), 0.8),
    _Rate(re.compile(r" (?=[0-9])"), 0.8),
    _Rate(re.compile(r"[\x00-\x08\x0e-\x1f\x7f]"), 1.0),
)
_OTHERS = (
    _Rate(re.compile(r"[\u00aa\u00b5\u00ba\u00c0-\u024f]"), 0.8),  # Latin letters with marks
    _Rate(re.compile(r"[\u1e00-\u1eff]"), 0.4),  # more of them; most are Vietnamese
    _Rate(re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{1,2}"), 1.0),  # Greek
    _Rate(re.compile(r"[\u0400-\u052f]{1,3}"), 1.0),  # Cyrillic
    _Rate(re.compile(r"[\u0530-\u058f\u10a0-\u10ff\u1200-\u139f]"), 1.2),  # Armenian, Georgian, Ethiopic
    _Rate(re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]{1,2}"), 1.0),  # Hebrew, Arabic and its relatives
    _Rate(re.compile(r"[\u0900-\u0dff]"), 0.6),  # the scripts of India
    _Rate(re.compile(r"[\u0e00-\u109f\u1780-\u17ff]"), 0.7),  # Thai, Lao, Tibetan, Burmese, Khmer
    _Rate(re.compile(r"[\u3040-\u30ff]"), 0.85),  # Kana
    _Rate(re.compile(r"[\u3400-\u9fff\uf900-\ufaff]"), 1.05),  # Chinese characters
    _Rate(re.compile(r"[\uac00-\ud7af\u1100-\u11ff\u3130-\u318f]"), 0.95),  # Hangul
    _Rate(re.compile(r"[\u2000-\u303f\ufe30-\ufe4f\uff00-\uffef]"), 0.9),  # signs
    _Rate(re.compile(r"[\U00010000-\U0010ffff]"), 2.0),  # pictures, and rare scripts
    _Rate(re.compile(r"[\u0250-\u036f\u1000-\u1cff\ua000-\uabff\ud800-\uf8ff]"), 1.5),  # all else
)


def estimate(text: str) -> int:
    """About how many tokens a text has: 0 for none, else at least 1; never more than its bytes in UTF-8.

    The time it takes grows with the length of the text, at about 100 ms for a million characters.
    """
    if not text:
        return 0
    return max(1, round(sum(map(_tokens, _parts(text)))))


def _parts(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PART):
        yield text[start : start + _PART]


def _tokens(part: str) -> float:
    rates = _ASCII if part.isascii() else (*_ASCII, *_OTHERS)
    return sum(len(rate.pattern.findall(part)) * rate.tokens for rate in rates)
