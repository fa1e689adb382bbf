"""The keys that open this server.

Only SHA-256 digests are kept. A presented key is hashed and its digest compared with every known one, in constant
time and without stopping at a match, so that time tells nothing about which key was close. A digest of a 256-bit
random key needs no salt and no slow hash: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

__all__ = ["KeyRing", "hashed", "key_id"]

_PREFIX = "sha256:"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def hashed(key: str) -> str:
    """The form in which a key stands in the configuration: `sha256:<64 hex digits>`."""
    return _PREFIX + _digest(key.encode()).hex()


def key_id(digest: bytes) -> str:
    """A short name for a key in logs, made from the digest of its digest: it gives nothing of either away."""
    return hashlib.sha256(digest).hexdigest()[:8]


class KeyRing:
    """The allowed keys, each plain text or `sha256:<hex>`; without any, no key is required.

    Whether keys are required is decided once: taking the last key away later locks the server, it never opens it.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._keys = self._read(allowed)
        self._ids = frozenset(name for _, name in self._keys)
        self.required = bool(self._keys)

    @staticmethod
    def _read(allowed: Iterable[str]) -> tuple[tuple[bytes, str], ...]:
        digests = []
        for key in allowed:
            digest = bytes.fromhex(key[len(_PREFIX) :]) if key.startswith(_PREFIX) else _digest(key.encode())
            if len(digest) != hashlib.sha256().digest_size:
                raise ValueError("a hashed key must have 64 hex digits")
            if digest not in digests:
                digests.append(digest)
        return tuple((digest, key_id(digest)) for digest in digests)

    def check(self, presented: bytes) -> str | None:
        """The id of the key that was presented (the header's bytes), or None when it is not allowed."""
        digest = _digest(presented)
        found = None
        for known, name in self._keys:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def allows(self, name: str) -> bool:
        """Whether the key of this id is still allowed; without required keys nobody needs one."""
        return not self.required or name in self._ids

    def replace(self, allowed: Iterable[str]) -> frozenset[str]:
        """Allow exactly these keys from now on, as after SIGHUP; returns the ids of the keys taken away."""
        before = self._ids
        self._keys = self._read(allowed)
        self._ids = frozenset(name for _, name in self._keys)
        return before - self._ids

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys)"
