"""Keeping secrets and terminal tricks out of texts that people read.

A `Scrubber` knows every secret the process has loaded and replaces it in logs and error texts, whatever form it took
on the way: as it is, URL-encoded, escaped for JSON, in Base64 (alone or inside a longer value, such as a `Basic`
header), or in hexadecimal. It is an object that is handed around; nothing here is global.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus

__all__ = ["HIDDEN", "Scrubber", "escape_controls"]

HIDDEN = "•••"
_SHORT = 8
"""A shorter secret is hidden only where it stands alone: as part of other words it would blacken every text."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_controls(text: str, keep: str = "") -> str:
    r"""Write control characters, line separators, direction overrides and lone surrogates as `\x1b` or `\u202e`.

    A terminal or a log then shows them instead of obeying them. Characters in `keep` stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text

    def written(match: re.Match[str]) -> str:
        character = match.group()
        if character in keep:
            return character
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return _CONTROLS.sub(written, text)


def _base64_cores(secret: bytes) -> set[str]:
    """The characters that a secret becomes inside longer Base64, for each of the three ways it can be aligned."""
    cores: set[str] = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret).decode("ascii").rstrip("=")
        first = (offset * 8 + 5) // 6
        whole = (offset + len(secret)) * 8 // 6
        core = encoded[first:whole]
        cores.update((core, core.replace("+", "-").replace("/", "_")))
    return cores


def _escaped(text: str) -> set[str]:
    """The text as it stands inside JSON and inside a Python literal."""
    return {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}


def _forms(secret: str) -> set[str]:
    """All spellings of a secret that are worth looking for; escapes may have been applied twice."""
    raw = secret.encode("utf-8", "surrogatepass")
    once = _escaped(secret)
    forms = {secret, *once, *(twice for form in once for twice in _escaped(form))}
    forms.update((quote(secret, safe="", errors="replace"), quote(secret, errors="replace")))
    forms.update((quote_plus(secret, errors="replace"), raw.hex(), raw.hex().upper()))
    if len(raw) >= _SHORT:
        forms |= _base64_cores(raw)
    return forms


class Scrubber:
    """Replaces registered secrets in texts; safe to use from any thread.

    A thousand secrets cost a text no more than one does: the pattern only knows which characters each of the first
    places of a secret may have, and where it matches, what stands there is looked up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._forms: set[str] = set()  # of the long ones
        self._lengths: dict[str, tuple[int, ...]] = {}  # of the forms that begin so, the longest first
        self._places: list[set[str]] = [set() for _ in range(_SHORT)]  # the characters there of the long ones
        self._firsts: set[str] = set()  # the first characters of the short ones
        self._pattern: re.Pattern[str] | None = None

    def add(self, *secrets: str) -> None:
        """Register secrets; empty ones are ignored."""
        with self._lock:
            before = self._count()
            for secret in secrets:
                if secret.strip() and secret not in self._secrets:
                    self._secrets.add(secret)
                    self._add(secret)
            if self._count() != before:
                self._pattern = self._beginning()

    def _add(self, secret: str) -> None:
        if len(secret) < _SHORT:
            self._firsts.add(secret[0])
            return
        for form in _forms(secret):
            begin = form[:_SHORT]
            for place, character in zip(self._places, begin, strict=True):
                place.add(character)
            self._forms.add(form)
            self._lengths[begin] = tuple(sorted({*self._lengths.get(begin, ()), len(form)}, reverse=True))

    def _count(self) -> int:
        return sum(map(len, self._places)) + len(self._firsts)

    def _beginning(self) -> re.Pattern[str]:
        """Matches wherever a secret could begin."""
        ways = []
        if self._forms:
            ways.append("".join(map(_one_of, self._places)))
        if self._firsts:
            ways.append(rf"(?<!\w){_one_of(self._firsts)}")
        return re.compile("|".join(ways))

    def clean(self, text: str) -> str:
        """The text with every registered secret replaced by `•••`."""
        if (pattern := self._pattern) is None or (match := pattern.search(text)) is None:
            return text
        parts: list[str] = []
        done = 0
        while match is not None:
            start = match.start()
            end = self._end(text, start)
            if end > start:
                parts += (text[done:start], HIDDEN)
                done = end
            match = pattern.search(text, max(end, start + 1))
        return "".join((*parts, text[done:])) if parts else text

    def _end(self, text: str, start: int) -> int:
        """Where the secret ends that begins at `start`; `start` itself when there is none."""
        for length in self._lengths.get(text[start : start + _SHORT], ()):
            if text[start : start + length] in self._forms:
                return start + length
        if not self._firsts or (start and _is_word(text[start - 1])):
            return start
        for end in range(start + _SHORT - 1, start, -1):
            if text[start:end] in self._secrets and not _is_word(text[end : end + 1]):
                return end
        return start

    def __repr__(self) -> str:
        return f"Scrubber({len(self._secrets)} secrets)"


def _one_of(characters: set[str]) -> str:
    return f"[{''.join(map(re.escape, sorted(characters)))}]"


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
