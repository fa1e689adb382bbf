"""The few facts of a GGUF file that are needed before an engine loads it.

Read with care, because the file may come from anywhere: every size is checked against a limit, and a file that makes no
sense just gives no facts. Whether it can be loaded is for the engine to find out, in its own process.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

__all__ = ["ModelHeader", "read_header"]

_LONGEST_NAME = 65_535
_LONGEST_TEXT = 1 << 20
_MOST_ENTRIES = 10_000
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # type of a number -> its bytes
_INTEGERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 10: "<Q", 11: "<q"}
_TEXT, _ARRAY = 8, 9


class ModelHeader(msgspec.Struct, frozen=True):
    """`context_size` is the training context in tokens; `pools` says whether the model is made for embeddings;
    `projector` is the kind of a file that turns images into something a model reads.
    """

    architecture: str = ""
    context_size: int | None = None
    pools: bool = False
    projector: str = ""


class _Odd(Exception):
    """The file is not what a GGUF header should be."""


def read_header(path: str | Path) -> ModelHeader:
    """The facts that stand before the tokenizer, where every writer puts them; none for a file that cannot be read."""
    facts: dict[str, int | str] = {}
    try:
        with open(path, "rb") as file:
            _read_facts(file, facts)
    except (OSError, ValueError, struct.error, _Odd):
        pass  # what was understood up to here is still true
    architecture = str(facts.get("general.architecture", ""))
    context = facts.get(f"{architecture}.context_length")
    return ModelHeader(
        architecture,
        context if isinstance(context, int) and context > 0 else None,
        f"{architecture}.pooling_type" in facts,
        str(facts.get("clip.vision.projector_type") or facts.get("clip.projector_type") or ""),
    )


def _read_facts(file: BinaryIO, facts: dict[str, int | str]) -> None:
    magic, version, _, entries = struct.unpack("<4sIQQ", _take(file, 24))
    if magic != b"GGUF" or version not in (2, 3) or entries > _MOST_ENTRIES:
        raise _Odd
    for _ in range(entries):
        name = _text(file, _LONGEST_NAME)
        if name.startswith("tokenizer."):
            return
        (kind,) = struct.unpack("<I", _take(file, 4))
        if kind == _TEXT:
            facts[name] = _text(file, _LONGEST_TEXT)
        elif kind in _INTEGERS:
            (facts[name],) = struct.unpack(_INTEGERS[kind], _take(file, _SIZES[kind]))
        else:
            _skip(file, kind)


def _skip(file: BinaryIO, kind: int) -> None:
    if kind in _SIZES:
        _take(file, _SIZES[kind])
        return
    if kind != _ARRAY:
        raise _Odd
    inner, count = struct.unpack("<IQ", _take(file, 12))
    if count > _LONGEST_TEXT:
        raise _Odd
    if inner in _SIZES:
        _take(file, _SIZES[inner] * count)
    elif inner == _TEXT:
        for _ in range(count):
            _text(file, _LONGEST_TEXT)
    else:
        raise _Odd


def _text(file: BinaryIO, longest: int) -> str:
    (length,) = struct.unpack("<Q", _take(file, 8))
    if length > longest:
        raise _Odd
    return _take(file, length).decode("utf-8", "replace")


def _take(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise _Odd
    return data
