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
    """Replaces registered secrets in texts; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def add(self, *secrets: str) -> None:
        """Register secrets; empty ones are ignored."""
        with self._lock:
            known = self._secrets | {secret for secret in secrets if secret.strip()}
            if known == self._secrets:
                return
            parts: set[str] = set()
            for secret in known:
                if len(secret) < _SHORT:
                    parts.add(rf"(?<!\w){re.escape(secret)}(?!\w)")
                else:
                    parts.update(re.escape(form) for form in _forms(secret))
            self._pattern = re.compile("|".join(sorted(parts, key=len, reverse=True)))
            self._secrets = known

    def clean(self, text: str) -> str:
        """The text with every registered secret replaced by `•••`."""
        pattern = self._pattern
        return pattern.sub(HIDDEN, text) if pattern else text

    def __repr__(self) -> str:
        return f"Scrubber({len(self._secrets)} secrets)"
