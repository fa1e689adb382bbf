"""The few request headers that decide anything, picked up in one pass.

A header that stands twice becomes `TWICE`, a value that no check accepts: two values would let one part of a system
look at the first and another at the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["TWICE", "Seen", "find", "read"]

TWICE: Final = b"\0twice"


class Seen(NamedTuple):
    """The raw value of each header, None where it is absent, `TWICE` where it is repeated."""

    host: bytes | None
    origin: bytes | None
    fetch_site: bytes | None
    fetch_mode: bytes | None
    key: bytes | None
    request_id: bytes | None
    content_type: bytes | None
    content_length: bytes | None
    transfer_encoding: bytes | None


_INDEX: Final[dict[bytes, int]] = {
    b"host": 0,
    b"origin": 1,
    b"sec-fetch-site": 2,
    b"sec-fetch-mode": 3,
    b"x-api-key": 4,
    b"x-request-id": 5,
    b"content-type": 6,
    b"content-length": 7,
    b"transfer-encoding": 8,
}


def read(headers: Iterable[tuple[bytes, bytes]]) -> Seen:
    """Pick the headers out of an ASGI header list, whose names are lower case."""
    values: list[bytes | None] = [None] * 9
    index_of = _INDEX.get
    for name, value in headers:
        index = index_of(name)
        if index is not None:
            values[index] = value if values[index] is None else TWICE
    return tuple.__new__(Seen, values)  # `Seen(*values)` takes five times as long


def find(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The first value of a header that is seldom needed."""
    return next((value for name, value in headers if name == wanted), None)
