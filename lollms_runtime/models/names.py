"""What the names of GGUF files say: quantization, parts, companions; and which names a file of ours may have.

Everything here works on text. Names come from a hub or from a URL, so what becomes a file on this machine is checked:
one path segment of harmless characters at a time, which no system reads as something else.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lollms_core.errors import InvalidRequest

__all__ = [
    "SUFFIX",
    "HubName",
    "Part",
    "has_quant",
    "is_companion",
    "is_safe_segment",
    "model_file_name",
    "parse_hub_name",
    "part_of",
    "quant_of",
    "whole_name",
]

SUFFIX = ".gguf"

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=@,()~-]{0,199}\Z")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)", re.IGNORECASE)
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}\Z")
_PREFIXES = ("hf.co/", "huggingface.co/")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\Z")
_QUANT = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_[A-Z]+)*|NVFP4|BF16|FP?16|FP?32))(?=$|[-._/])",
    re.IGNORECASE,
)


def is_safe_segment(text: str) -> bool:
    """Whether a file or folder of this name means the same on every system."""
    return bool(_SEGMENT.match(text)) and not text.endswith(".") and ".." not in text and not _DEVICE.match(text)


def model_file_name(text: str) -> str:
    """The name under which a model is kept: the text, with .gguf if it has not. Raises `InvalidRequest`."""
    name = text if text.lower().endswith(SUFFIX) else text + SUFFIX
    if not is_safe_segment(name):
        shown = "".join(c if c.isprintable() else "?" for c in text)[:80]
        raise InvalidRequest(
            f"{shown!r} cannot be the name of a file here: it may have letters, digits and _.+=@,()~- and begins with "
            "a letter or digit. Choose one with --name.",
            param="name",
        )
    return name


class HubName(NamedTuple):
    """`org/repo`, with the quantization (`org/repo:Q4_K_M`) or the file (`org/repo/dir/file.gguf`) if one was named."""

    repo: str
    quant: str = ""
    file: str = ""


def parse_hub_name(text: str) -> HubName | None:
    """Read `org/repo`, `org/repo:QUANT` or `org/repo/file.gguf`, also after `hf.co/`; None for anything else."""
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    head, colon, quant = text.partition(":")
    segments = head.split("/")
    if len(segments) < 2 or not all(_REPO.match(each) and is_safe_segment(each) for each in segments[:2]):
        return None
    file = "/".join(segments[2:])
    if not all(is_safe_segment(each) for each in segments[2:]):
        return None
    if file and (colon or not file.lower().endswith(SUFFIX)):
        return None
    if colon and not is_safe_segment(quant):
        return None
    return HubName("/".join(segments[:2]), quant, file)


class Part(NamedTuple):
    """One file of a model in several: `first` is the name of the first of them, `number` counts from 1 to `total`."""

    first: str
    number: int
    total: int


def _stem(path: str) -> str:
    return path[: -len(SUFFIX)] if path.lower().endswith(SUFFIX) else path


def part_of(path: str) -> Part | None:
    """Which part of a split model a file is (`name-00002-of-00003.gguf`); None if it is not split."""
    stem = _stem(path)
    found = _PART.search(stem)
    if found is None:
        return None
    number, count = int(found[1]), int(found[2])
    if not 1 <= number <= count:
        return None
    return Part(f"{stem[: found.start()]}-00001-of-{found[2]}{path[len(stem) :]}", number, count)


def whole_name(path: str) -> str:
    """The name of a model: the path without .gguf and without the number of a part."""
    return _PART.sub("", _stem(path))


def quant_of(path: str) -> str:
    """The quantization that a file's name (or the folder it is in) tells, in capitals; "" if none."""
    found = list(_QUANT.finditer(whole_name(path)))
    return found[-1][1].upper() if found else ""


def has_quant(path: str, wanted: str) -> bool:
    """Whether a file is of the quantization, as people write it: any case, and other endings of the name too."""
    name, wanted = whole_name(path).lower(), wanted.lower()
    return quant_of(path).lower() == wanted or name.endswith((f"-{wanted}", f".{wanted}", f"_{wanted}"))


def is_companion(path: str) -> bool:
    """Whether a GGUF file only goes with a model: an image projector, an importance matrix."""
    name = path.rpartition("/")[2].lower()
    return "mmproj" in name or "imatrix" in name
