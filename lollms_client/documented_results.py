"""What bindings of third parties say, read: chunks and their kinds, results of every form, and exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.lollms_types import MSG_TYPE
from lollms_core.errors import (
    AuthFailed,
    ConnectFailed,
    LollmsError,
    MissingDependency,
    UnsupportedFeature,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.types import Event, Notice, Progress, TextDelta, ThoughtDelta

__all__ = ["event_of", "not_text", "text_of", "typed"]

_TEXT_KEYS = ("text", "content", "response", "generated_text")


def event_of(text: str, msg_type: Any) -> Event | None:
    """What a binding told its callback, as an event; None for nothing. An unknown kind is a piece of the answer."""
    if not text:
        return None
    try:
        kind = MSG_TYPE(msg_type)
    except ValueError:
        kind = MSG_TYPE.MSG_TYPE_CHUNK
    if kind is MSG_TYPE.MSG_TYPE_CHUNK:
        return TextDelta(text)
    if kind is MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK:
        return ThoughtDelta(text)
    name = kind.name.removeprefix("MSG_TYPE_").lower()
    if name.startswith("step"):
        return Progress(name, text)
    warns = kind in (MSG_TYPE.MSG_TYPE_WARNING, MSG_TYPE.MSG_TYPE_EXCEPTION, MSG_TYPE.MSG_TYPE_ERROR)
    return Notice("warning" if warns else "info", text)


def text_of(result: Any, binding: LollmsLLMBinding, *, spoke: bool) -> str:
    """The text in a binding's result. Raises `UpstreamFailed` for its error dictionaries and for no text at all.

    `spoke` says whether pieces of text came before; then the result may be None.
    """
    if isinstance(result, str):
        return result
    if isinstance(result, (bytes, bytearray, memoryview)):
        try:
            return bytes(result).decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_text(binding) from error
    if isinstance(result, Mapping):
        failed = result.get("error") or ("status" in result and result["status"] in (False, "error"))
        if not failed:
            for key in _TEXT_KEYS:
                if isinstance(text := result.get(key), str):
                    return text
        reason = result.get("error") or result.get("message") or f"it returned {sorted(map(str, result))}"
        raise UpstreamFailed(f"The binding {binding.binding_name!r} failed: {reason}")
    if result is None and spoke:
        return ""
    raise UpstreamFailed(
        f"The binding {binding.binding_name!r} returned {type(result).__name__} where text was expected."
    )


def not_text(binding: LollmsLLMBinding) -> UpstreamFailed:
    """The error for bytes that are no text."""
    return UpstreamFailed(f"The binding {binding.binding_name!r} answered with bytes that are not UTF-8 text.")


def typed(error: BaseException, binding: LollmsLLMBinding) -> LollmsError:
    """The error of a binding as one of ours; the original stays its cause."""
    if isinstance(error, LollmsError):
        return error
    kinds: tuple[tuple[type[BaseException], type[LollmsError]], ...] = (
        (NotImplementedError, UnsupportedFeature),
        (ImportError, MissingDependency),
        (ConnectionError, ConnectFailed),
        (TimeoutError, UpstreamTimeout),
        (PermissionError, AuthFailed),
    )
    kind = next((ours for theirs, ours in kinds if isinstance(error, theirs)), UpstreamFailed)
    result = kind(f"The binding {binding.binding_name!r} failed: {type(error).__name__}: {error}")
    result.__cause__ = error
    return result
