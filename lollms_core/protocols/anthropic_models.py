"""What Anthropic's models take, by their generation: how much they write, how they are told to think, what tunes them.

The names say line and version (`claude-opus-4-6`, earlier `claude-3-5-sonnet-20241022`), and the version decides. So a
model that is newer than this file is treated as the newest one here. Requests need this because `max_tokens` must be
sent, and because `thinking` and the sampling parameters are refused in the wrong form.

Sources: https://platform.claude.com/docs/en/about-claude/models/overview and the pages of single models (sizes),
https://platform.claude.com/docs/en/build-with-claude/thinking (thinking, sampling),
https://platform.claude.com/docs/en/build-with-claude/structured-outputs.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

__all__ = ["UNKNOWN", "ModelProfile", "profile_of"]


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes.

    `max_output` is the largest `max_tokens`; `context` the size of the context, None where it is not known (both in
    tokens). `thinking`: `none`, with a `budget`, `either`, or as it sees fit (`adaptive`); `thinks` says when it does:
    `asked`, `unless` told not to, or `always`. `hides` is whether it keeps its thoughts to itself unless asked to show
    them. `sampling`: `free`, `one` of temperature and top_p, or `none`. `efforts`: whether it can be told how hard to
    try; `schemas`: whether answers can be held to one.
    """

    max_output: int
    context: int | None
    thinking: Literal["none", "budget", "either", "adaptive"] = "none"
    thinks: Literal["asked", "unless", "always"] = "asked"
    hides: bool = False
    sampling: Literal["free", "one", "none"] = "free"
    efforts: bool = False
    schemas: bool = True


UNKNOWN = ModelProfile(max_output=4096, context=None, thinking="budget")
"""A model of somebody else who speaks this protocol: the smallest ceiling of all, and the protocol's older form."""

_FIRST = ModelProfile(max_output=4096, context=200_000, schemas=False)
_V3_5 = msgspec.structs.replace(_FIRST, max_output=8192)
_V3_7 = msgspec.structs.replace(_FIRST, max_output=64_000, thinking="budget")
_OPUS_4 = msgspec.structs.replace(_V3_7, max_output=32_000)
_V4_1 = msgspec.structs.replace(_OPUS_4, sampling="one", schemas=True)
_V4_5 = msgspec.structs.replace(_V4_1, max_output=64_000)
_OPUS_4_5 = msgspec.structs.replace(_V4_5, efforts=True)
_V4_6 = msgspec.structs.replace(_OPUS_4_5, max_output=128_000, context=1_000_000, thinking="either")
_V4_7 = msgspec.structs.replace(_V4_6, thinking="adaptive", hides=True, sampling="none")
_V5 = msgspec.structs.replace(_V4_7, thinks="unless")
_ALWAYS = msgspec.structs.replace(_V4_7, thinks="always")

_SINCE: tuple[tuple[tuple[int, int], str, ModelProfile], ...] = (
    ((5, 5), "opus", _ALWAYS),
    ((5, 0), "fable", _ALWAYS),
    ((5, 0), "mythos", _ALWAYS),
    ((5, 0), "", _V5),
    ((4, 7), "", _V4_7),
    ((4, 6), "", _V4_6),
    ((4, 5), "opus", _OPUS_4_5),
    ((4, 5), "", _V4_5),
    ((4, 1), "", _V4_1),
    ((4, 0), "opus", _OPUS_4),
    ((3, 7), "", _V3_7),
    ((3, 5), "", _V3_5),
    ((0, 0), "", _FIRST),
)
"""From which version on, of which line ("": of all)."""

_NAME = re.compile(
    r"claude-(?:(?P<line>opus|sonnet|haiku|fable|mythos|instant)-)?v?(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?(?!\d)"
    r"(?:-(?P<old>opus|sonnet|haiku))?"
)


def profile_of(model: str) -> ModelProfile:
    """What a model takes, by its name, also with the prefix or suffix of whoever resells it."""
    name = model.lower()
    if "claude-mythos-preview" in name:
        return _ALWAYS
    found = _NAME.search(name)
    if found is None:
        return UNKNOWN
    version = (int(found["major"]), int(found["minor"] or 0))
    line = found["line"] or found["old"] or ""
    return next(profile for since, of, profile in _SINCE if version >= since and of in ("", line))
