"""Generate text with any model: `LollmsClient`, `AsyncLollmsClient`, and what belongs to them.

Importing this package loads next to nothing; each name loads what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lollms_client.async_client import AsyncLollmsClient as AsyncLollmsClient
    from lollms_client.async_stream import AsyncStream as AsyncStream
    from lollms_client.client import LollmsClient as LollmsClient
    from lollms_client.lollms_llm_binding import LollmsLLMBinding as LollmsLLMBinding
    from lollms_client.lollms_llm_binding import LollmsLLMBindingManager as LollmsLLMBindingManager
    from lollms_client.lollms_types import ELF_COMPLETION_FORMAT as ELF_COMPLETION_FORMAT
    from lollms_client.lollms_types import ELF_GENERATION_FORMAT as ELF_GENERATION_FORMAT
    from lollms_client.lollms_types import MSG_TYPE as MSG_TYPE
    from lollms_client.lollms_types import SENDER_TYPES as SENDER_TYPES
    from lollms_client.lollms_types import SUMMARY_MODE as SUMMARY_MODE
    from lollms_client.lollms_utilities import trace_exception as trace_exception
    from lollms_client.stream import Stream as Stream
    from lollms_runtime.observe import Observer as Observer

_HOMES = {
    "AsyncLollmsClient": "async_client",
    "AsyncStream": "async_stream",
    "ELF_COMPLETION_FORMAT": "lollms_types",
    "ELF_GENERATION_FORMAT": "lollms_types",
    "LollmsClient": "client",
    "LollmsLLMBinding": "lollms_llm_binding",
    "LollmsLLMBindingManager": "lollms_llm_binding",
    "MSG_TYPE": "lollms_types",
    "Observer": "client_base",
    "SENDER_TYPES": "lollms_types",
    "SUMMARY_MODE": "lollms_types",
    "Stream": "stream",
    "trace_exception": "lollms_utilities",
}

__all__ = [  # noqa: RUF022
    "AsyncLollmsClient",
    "AsyncStream",
    "ELF_COMPLETION_FORMAT",
    "ELF_GENERATION_FORMAT",
    "LollmsClient",
    "LollmsLLMBinding",
    "LollmsLLMBindingManager",
    "MSG_TYPE",
    "Observer",
    "SENDER_TYPES",
    "SUMMARY_MODE",
    "Stream",
    "trace_exception",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
