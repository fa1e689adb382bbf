"""A presented key is compared with every known one by compare_digest, and keys never appear anywhere."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from lollms_server.core.keyring import KeyRing, hashed, key_id

KEYS = [f"key-number-{number}-{'x' * 20}" for number in range(7)]


@pytest.mark.parametrize("presented", [*KEYS, "wrong", ""])
def test_every_key_is_compared_with_no_early_exit(monkeypatch: pytest.MonkeyPatch, presented: str) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def watched(known: bytes, digest: bytes) -> bool:
        compared.append(known)
        assert digest == hashlib.sha256(presented.encode()).digest()
        return real(known, digest)

    ring = KeyRing([*KEYS[:3], *(hashed(key) for key in KEYS[3:])])
    monkeypatch.setattr("lollms_server.core.keyring.hmac.compare_digest", watched)
    assert (ring.check(presented.encode()) is not None) == (presented in KEYS)
    assert compared == [hashlib.sha256(key.encode()).digest() for key in KEYS]


def test_the_name_of_a_key_gives_nothing_of_it_away() -> None:
    ring = KeyRing(KEYS)
    for key in KEYS:
        digest = hashlib.sha256(key.encode()).digest()
        name = ring.check(key.encode())
        assert name == key_id(digest)
        assert name not in digest.hex()
        assert name not in key
    assert "key-number" not in repr(ring)


def test_a_hash_is_not_a_key() -> None:
    ring = KeyRing([hashed(KEYS[0])])
    assert ring.check(KEYS[0].encode())
    for other in (hashed(KEYS[0]), hashed(KEYS[0])[7:], KEYS[0] + " ", KEYS[0].upper(), KEYS[0][:-1]):
        assert ring.check(other.encode()) is None


def test_taking_the_last_key_away_locks_the_server() -> None:
    ring = KeyRing(KEYS[:2])
    first = ring.check(KEYS[0].encode())
    assert ring.replace(KEYS[1:3]) == {first}
    assert ring.check(KEYS[0].encode()) is None
    assert ring.check(KEYS[2].encode())
    ring.replace([])
    assert ring.required
    assert ring.check(KEYS[2].encode()) is None


def test_without_keys_none_is_required() -> None:
    ring = KeyRing([])
    assert not ring.required
    assert ring.check(b"") is None


@pytest.mark.parametrize("bad", ["sha256:", "sha256:12", "sha256:" + "g" * 64, "sha256:" + "0" * 66])
def test_a_malformed_hash_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        KeyRing([bad])
