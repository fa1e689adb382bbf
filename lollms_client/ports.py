"""What the drivers can do with a binding, of whatever kind it is: the ports of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from lollms_client.documented_ports import open_documented
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.native_binding import NativeBinding
from lollms_core.errors import UnsupportedFeature
from lollms_core.types import Batch, GenerationCall, ToolCall
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps

if TYPE_CHECKING:
    from lollms_runtime.async_drive import Sink

__all__ = ["AsyncBindingPorts", "BindingPorts", "GivenDiscussion"]

GivenDiscussion: TypeAlias = tuple[Any, str | None]
"""A caller's own discussion and the message to go on from, for bindings that can only `chat(discussion)`."""


class BindingPorts:
    """A binding for the synchronous driver."""

    def __init__(self, binding: LollmsLLMBinding, discussion: GivenDiscussion | None = None) -> None:
        self._binding = binding
        self._discussion = discussion

    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]:
        """Ask the binding's model. See `Ports.open`."""
        if isinstance(self._binding, NativeBinding):
            return self._binding.open(call, cancel)
        return open_documented(self._binding, call, cancel, self._discussion)

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        """Raises `UnsupportedFeature`: a plain generation runs no tools."""
        raise _no_tool(call)
        yield ()

    def count(self, text: str) -> int:
        """The binding's own count of tokens."""
        return self._binding.count_tokens(text)


class AsyncBindingPorts:
    """A binding for the asynchronous driver. What is written for threads runs on one, and never on the event loop."""

    def __init__(self, binding: LollmsLLMBinding, discussion: GivenDiscussion | None = None) -> None:
        self._binding = binding
        self._discussion = discussion

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the binding's model. See `AsyncPorts.open`."""
        if isinstance(self._binding, NativeBinding):
            return self._binding.aopen(call)
        from lollms_runtime.threads import iterate_in_thread

        return iterate_in_thread(lambda cancel: open_documented(self._binding, call, cancel, self._discussion))

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        """Raises `UnsupportedFeature`: a plain generation runs no tools."""
        raise _no_tool(call)

    async def count(self, text: str) -> int:
        """The binding's own count of tokens."""
        from lollms_runtime.threads import run_in_thread

        return await run_in_thread(self._binding.count_tokens, text)


def _no_tool(call: ToolCall) -> UnsupportedFeature:
    return UnsupportedFeature(f"There is nothing here that could run the tool {call.name!r}.", param=call.name)
