"""JSON from strangers: whatever is wrong with it becomes one typed error.

`msgspec` refuses NaN, infinities, lone surrogates and trailing bytes by itself; integers too long for it and nesting
too deep for the C stack are errors of other classes, which are gathered here. Of duplicate keys the last one counts.

Nesting is limited to `Limits.json_depth`. A text of 2 x depth + 1 bytes or fewer cannot be valid and deeper than that,
and one with fewer opening brackets than that cannot either, so that only odd texts are really scanned.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from lollms_core.errors import ProtocolError, ReplyTooLarge
from lollms_core.protocols.base import Limits

__all__ = ["DEPTH", "check_depth", "decode", "decode_body", "decode_lenient"]

T = TypeVar("T")

DEPTH = Limits().json_depth

# Strings, also an unclosed one, and whatever is no bracket; possessive, so that no input costs more than linear time.
_NO_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[^\[\]{}"]++', re.DOTALL)

_anything = msgspec.json.Decoder().decode


def decode(decoder: Callable[[bytes], T], data: bytes, depth: int = DEPTH) -> T:
    """`decoder(data)`, the bound `decode` of a `msgspec.json.Decoder`.

    Raises `ProtocolError` for anything that is not JSON of the decoder's type, `ReplyTooLarge` for JSON nested deeper
    than `depth`.
    """
    if len(data) > 2 * depth + 1:
        check_depth(data, depth)
    try:
        return decoder(data)
    except (ValueError, RecursionError, OverflowError) as error:
        raise ProtocolError(f"The backend sent JSON that cannot be used: {error}") from None


def decode_body(decoder: Callable[[bytes], T], data: bytes, depth: int = DEPTH) -> T:
    """As `decode`, for a whole body: also refuses bytes that are not UTF-8 where the decoder would skip over them."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            raise ProtocolError("The backend sent bytes that are not UTF-8 text.") from None
    return decode(decoder, data.removeprefix(b"\xef\xbb\xbf"), depth)


def decode_lenient(data: bytes) -> object:
    """Any JSON value, or None where `data` is not JSON: for bodies of errors, which may be anything."""
    try:
        return decode_body(_anything, data)
    except ProtocolError:
        return None


def check_depth(data: bytes, depth: int = DEPTH) -> None:
    """Raise `ReplyTooLarge` if brackets are nested deeper than `depth`; those inside strings do not count."""
    if data.count(b"[") + data.count(b"{") <= depth:
        return
    level = 0
    for bracket in _NO_BRACKETS.sub(b"", data):
        if bracket in b"[{":
            level += 1
            if level > depth:
                raise ReplyTooLarge(f"The backend sent JSON nested deeper than {depth} levels.")
        elif bracket in b"]}":
            level -= 1
