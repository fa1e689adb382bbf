"""The completion format as callers give it."""

from __future__ import annotations

from lollms_client.lollms_types import ELF_COMPLETION_FORMAT
from lollms_core.errors import InvalidRequest

__all__ = ["completion_format"]


def completion_format(given: object) -> ELF_COMPLETION_FORMAT:
    """A member of `ELF_COMPLETION_FORMAT` from a member, its name or its number; None is Chat.

    Raises `InvalidRequest` for anything else.
    """
    if given is None:
        return ELF_COMPLETION_FORMAT.Chat
    if isinstance(given, ELF_COMPLETION_FORMAT):
        return given
    if isinstance(given, str):
        return ELF_COMPLETION_FORMAT.from_string(given)
    for member in ELF_COMPLETION_FORMAT:
        if given == member.value and not isinstance(given, bool):
            return member
    raise InvalidRequest(
        f"default_completion_format is {given!r}; it must be one of ELF_COMPLETION_FORMAT, or its name.",
        param="default_completion_format",
    )
