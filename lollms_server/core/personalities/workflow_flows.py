"""Flows for scripts: work of several model calls, each with a lease of its own like every other call of a script.

The flow itself holds nothing between its calls. Of the calls that it makes at once no more are begun than the instance
and the graphics card have places, so that none of them waits in the queue behind another of the same script until its
time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from typing_extensions import override

from lollms_core.errors import (
    CallbackFailed,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    UnsupportedFeature,
    WorkflowFailed,
)
from lollms_core.flows.base import Flow
from lollms_core.text.tokens import estimate
from lollms_core.types import Batch, GenerationCall, Reply, ToolCall
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.observe import LogObserver, Observer, Observers
from lollms_server.core.bindings import Binding
from lollms_server.core.personalities.workflow_calls import Calls
from lollms_server.core.requests import LOG
from lollms_server.core.resources import resources_of
from lollms_server.core.scheduler import GPU

__all__ = ["ScriptTool", "places_of", "run_flow"]

T = TypeVar("T")

_AT_ONCE = 4
"""How many calls of one flow run at once where nothing sets a limit."""

_log = logging.getLogger(__name__)


class ScriptTool(NamedTuple):
    """A function of a script that a flow may ask for; it gets the arguments of the call by place.

    It may be a coroutine function. `text` makes a text of what it returns, for the flow.
    """

    function: Callable[..., Any]
    text: Callable[[Any], str] = str


def places_of(calls: Calls, instance: str, binding: Binding, model: str) -> int:
    """How many calls of one flow may run at once: as many as the instance and the graphics card have places for."""
    limits = [binding.capacity]
    if GPU in resources_of(instance, binding, model):
        limits.append(calls.house.scheduler.capacity(GPU))
    return min((limit for limit in limits if limit is not None), default=_AT_ONCE)


async def run_flow(
    calls: Calls, instance: str, model: str, flow: Flow[T], tools: Mapping[str, ScriptTool] | None = None
) -> T:
    """The result of a flow that asks one instance; to be awaited by the script, from whichever loop it runs in.

    The caller of the request sees how the calls get on, and the steps of the flow. All ends with the request. Raises
    what the flow raises, ValueError for what it refuses before it has asked anything, and `WorkflowFailed` where a
    function of `tools` fails.
    """
    home = asyncio.get_running_loop()

    async def done() -> T:
        binding = await calls.binding(instance)
        ports = _FlowPorts(calls, instance, binding, model, tools or {}, home)
        try:
            result = await adrive(flow, ports, calls.show, Observers((LogObserver(LOG), _Adding(calls))))
            reply = result if isinstance(result, Reply) else getattr(result, "reply", None)
            if isinstance(reply, Reply):
                calls.note(reply)
            return result
        except InvalidRequest as error:
            if ports.has_asked or isinstance(error, ContextTooLong):
                raise
            raise ValueError(error.message) from error  # the arguments, which are the script's
        except CallbackFailed as error:
            raise _failed(error) from error

    async def running() -> T:
        return await calls.run(done())

    return await calls.here(running())


class _Adding(Observer):
    """Adds what every call has cost to the request that it was made for."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @override
    def finished(self, call: GenerationCall, reply: Reply) -> None:
        self._calls.add(reply, call.model)


class _FlowPorts:
    """The ports of the async driver for one flow of a script; `home` is the loop that the script runs in.

    `has_asked`: whether the binding was asked anything, so that what it refuses is not the script's own fault.
    """

    def __init__(
        self,
        calls: Calls,
        instance: str,
        binding: Binding,
        model: str,
        tools: Mapping[str, ScriptTool],
        home: asyncio.AbstractEventLoop,
    ) -> None:
        self._calls = calls
        self._instance = instance
        self._binding = binding
        self._model = model
        self._tools = tools
        self._home = home
        self.has_asked = False
        self._places = asyncio.Semaphore(places_of(calls, instance, binding, model))

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """Ask, as soon as there is a place."""
        self.has_asked = True
        about = self._calls.about(self._instance, call)
        async with (
            self._places,
            self._calls.leased(self._instance, call, about) as binding,
            binding.open(call) as batches,
        ):
            yield batches

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        """What a function of the script returns. A coroutine runs in the script's own loop, all else on a thread."""
        if call.name not in self._tools:
            raise UnsupportedFeature(f"The script gives no function for {call.name!r}.", param=call.name)
        tool = self._tools[call.name]
        function = functools.partial(tool.function, *call.arguments.values())
        try:
            if inspect.iscoroutinefunction(tool.function):
                result = await self._at_home(function)
            else:
                threads = self._calls.house.personalities.threads
                result = await threads.run(f"personality {self._calls.context.personality!r}", function)
                if inspect.isawaitable(result):
                    result = await self._at_home(functools.partial(_itself, result))
            return tool.text(result)
        except LollmsError:
            raise
        except (Exception, SystemExit) as error:
            raise _failed(error) from error

    async def _at_home(self, function: Callable[[], Awaitable[Any]]) -> Any:
        async def awaited() -> Any:
            try:
                return await function()
            except SystemExit as error:  # which would end the loop that the task runs in
                raise _failed(error) from error

        if self._home is asyncio.get_running_loop():
            return await awaited()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(awaited(), self._home))

    async def count(self, text: str) -> int:
        """The tokens of a text; an estimate where counting would wait for the card that the script holds itself."""
        if self._calls.has_card and GPU in resources_of(self._instance, self._binding, self._model):
            return estimate(text)
        try:
            return (await self._binding.token_count(text, self._model or None)).count
        except InvalidRequest:
            self.has_asked = True  # it is about the request, whose model it may be
            raise


def _failed(error: BaseException) -> WorkflowFailed:
    """What the caller is told of a function that failed, or found what nobody can read: its words are for the log."""
    _log.error("A function of a script failed.", exc_info=error)
    return WorkflowFailed("A function of the script failed; the server's log says why.")


def _itself(result: Awaitable[Any]) -> Awaitable[Any]:
    return result
