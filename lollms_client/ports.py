"""What the drivers can do with a binding, of whatever kind it is: the ports of a client.

A flow may need something of the caller's: a function that finds passages, a file. It asks for it as for a tool, by a
name under which the client has put a function; so flows stay free of effects, and these happen where all others do.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from lollms_client.callbacks import is_async
from lollms_client.documented_ports import open_documented
from lollms_client.documented_results import typed
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.native_binding import NativeBinding
from lollms_core.errors import CallbackFailed, Cancelled, InternalError, InvalidRequest, LollmsError, UnsupportedFeature
from lollms_core.types import Batch, GenerationCall, ToolCall
from lollms_runtime.cancel import Cancel, current_scope
from lollms_runtime.drive import Steps

if TYPE_CHECKING:
    from lollms_runtime.async_drive import Sink

__all__ = ["AsyncBindingPorts", "BindingPorts", "GivenDiscussion", "Tools"]

GivenDiscussion: TypeAlias = tuple[Any, str | None]
"""A caller's own discussion and the message to go on from, for bindings that can only `chat(discussion)`."""

Tools: TypeAlias = Mapping[str, Callable[..., Any]]
"""Functions that a flow may ask for, by name; each is given the arguments of the call and returns a text.

For the asynchronous driver it may be a coroutine function, or return an awaitable, of a text.
"""

_NO_TOOLS: Tools = {}


class BindingPorts:
    """A binding for the synchronous driver."""

    def __init__(
        self, binding: LollmsLLMBinding, discussion: GivenDiscussion | None = None, tools: Tools = _NO_TOOLS
    ) -> None:
        self._binding = binding
        self._discussion = discussion
        self._tools = tools

    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]:
        """Ask the binding's model. See `Ports.open`."""
        if isinstance(self._binding, NativeBinding):
            return self._binding.open(call, cancel)
        return open_documented(self._binding, call, cancel, self._discussion)

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        """What a function of the caller's returns. Raises `CallbackFailed` from what it raises.

        Raises `InvalidRequest` for a coroutine function: nobody would wait for it.
        """
        function = _function(self._tools, call)
        if is_async(function):
            raise _no_coroutines(call)
        cancel.check()
        yield from ()
        try:
            with current_scope(cancel):
                result: Any = function(**call.arguments)
        except Exception as error:
            cancel.check()
            _raise(call, error)
        if inspect.isawaitable(result):
            if callable(close := getattr(result, "close", None)):  # a coroutine that nobody waits for complains
                close()
            raise _no_coroutines(call)
        return _text(call, result)

    def count(self, text: str) -> int:
        """The binding's own count of tokens. Raises `UnsupportedFeature` where it has none."""
        try:
            return self._binding.count_tokens(text)
        except LollmsError:
            raise
        except Exception as error:
            raise typed(error, self._binding) from error


class AsyncBindingPorts:
    """A binding for the asynchronous driver. What is written for threads runs on one, and never on the event loop."""

    def __init__(
        self, binding: LollmsLLMBinding, discussion: GivenDiscussion | None = None, tools: Tools = _NO_TOOLS
    ) -> None:
        self._binding = binding
        self._discussion = discussion
        self._tools = tools

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the binding's model. See `AsyncPorts.open`."""
        if isinstance(self._binding, NativeBinding):
            return self._binding.aopen(call)
        from lollms_runtime.threads import iterate_in_thread

        return iterate_in_thread(lambda cancel: open_documented(self._binding, call, cancel, self._discussion))

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        """What a function of the caller's returns: a coroutine is awaited, all else runs on a thread."""
        function = _function(self._tools, call)
        from lollms_runtime.threads import run_in_thread

        try:
            if is_async(function):
                result = function(**call.arguments)
            else:
                result = await run_in_thread(function, **call.arguments)
            result = await result if inspect.isawaitable(result) else result
        except Exception as error:
            _raise(call, error)
        return _text(call, result)

    async def count(self, text: str) -> int:
        """The binding's own count of tokens. Raises `UnsupportedFeature` where it has none."""
        from lollms_runtime.threads import run_in_thread

        try:
            return await run_in_thread(self._binding.count_tokens, text)
        except LollmsError:
            raise
        except Exception as error:
            raise typed(error, self._binding) from error


def _function(tools: Tools, call: ToolCall) -> Callable[..., Any]:
    if call.name not in tools:
        raise UnsupportedFeature(f"There is nothing here that could run the tool {call.name!r}.", param=call.name)
    return tools[call.name]


def _text(call: ToolCall, result: Any) -> str:
    if not isinstance(result, str):
        raise InternalError(f"The function for {call.name!r} returned {type(result).__name__} in place of a text.")
    return result


def _raise(call: ToolCall, error: Exception) -> NoReturn:
    """Raise what a function raised: errors of ours as they are, but for the stop of something else."""
    if isinstance(error, LollmsError) and not isinstance(error, Cancelled):
        raise error
    words = f"The function for {call.name!r} raised {type(error).__name__}: {error}"
    raise CallbackFailed(words, param=call.name) from error


def _no_coroutines(call: ToolCall) -> InvalidRequest:
    words = f"The function for {call.name!r} is a coroutine function, which only AsyncLollmsClient can wait for."
    return InvalidRequest(words, param=call.name)
