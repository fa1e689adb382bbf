"""Running the script of a personality in the place of a model.

For the rest of the server a script is one more source of events. Inside it is code of somebody else, which may return
any documented form, raise anything, never end, or go on after it was told to stop. So it runs in a task of its own
under a supervisor: the supervisor ends in time whatever the script does, takes the script's model calls with it, and
turns what went wrong into `WorkflowFailed`. What the script says itself in an exception is for the log alone; errors of
the model calls it makes keep their class, because they are about the caller's request.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from lollms_core.errors import LollmsError, TotalTimeout, WorkflowFailed
from lollms_core.types import Batch, Done, Event, GenerationCall, Item, Output
from lollms_runtime.async_drive import AsyncStream, Sink
from lollms_server.core.asked import Asked
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.answers import AnswerReader, output_items
from lollms_server.core.personalities.personality import Personality
from lollms_server.core.personalities.workflow_bindings import (
    ScriptBinding,
    ScriptBindings,
    ScriptFunctions,
    ScriptResources,
)
from lollms_server.core.personalities.workflow_calls import Calls
from lollms_server.core.requests import RequestContext

if TYPE_CHECKING:
    from lollms_server.core.services import Services

__all__ = ["Workflow"]

_GRACE = 1.0
_TIMES = 4
_MOST = 64 << 20  # of output in one request, as JSON
_END = object()

_log = logging.getLogger(__name__)


class Workflow:
    """A scripted personality at work on one request, which goes to `binding` where the script asks no other."""

    def __init__(
        self,
        personality: Personality,
        asked: Asked,
        context: RequestContext,
        house: Services,
        instance: str,
        binding: Binding,
    ) -> None:
        self.personality = personality
        self.asked = asked
        self.context = context
        self.house = house
        self.instance = instance
        self.binding = binding

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """Run the script on a call; leaving the block ends it. The batches are what it says, and how its calls get on.

        The iterator raises `WorkflowFailed`, `TotalTimeout`, and the errors of the calls that the script makes.
        """
        personalities = self.house.personalities
        function = await personalities.workflow_of(self.personality)
        with personalities.using(self.personality):
            async with AsyncStream(_Run(self, call, function).supervise) as batches:
                yield batches


class _Run:
    """One run of a script."""

    def __init__(self, workflow: Workflow, call: GenerationCall, function: Callable[..., Any]) -> None:
        self._flow = workflow
        self._call = call
        self._function = function
        self._name = f"personality {workflow.personality.name!r}"
        self._threads = workflow.house.personalities.threads
        self._reader = AnswerReader(call.model)
        self._size = 0
        self._over = False

    async def supervise(self, sink: Sink) -> None:
        """Run the script to its end, to its limit, or until this is cancelled."""
        flow = self._flow
        limit = flow.house.loaded.config.limits.workflow_timeout
        calls = Calls(self._call, flow.instance, flow.binding, flow.context, flow.house, sink)
        task = asyncio.get_running_loop().create_task(self._script(calls, sink))
        try:
            done, _ = await asyncio.wait([task], timeout=limit)
            if not done:
                raise TotalTimeout(f"The script of {self._name} took longer than {limit:g} s and was stopped.")
            await task
        finally:
            self._over = True
            await self._end(task, calls)

    async def _end(self, task: asyncio.Task[None], calls: Calls) -> None:
        task.cancel()
        await calls.close()
        for _ in range(_TIMES):  # it may have taken the first one for something else
            _, busy = await asyncio.wait([task], timeout=_GRACE / _TIMES)
            if not busy:
                break
            task.cancel()
        if task.done():
            _forget(task)
            return
        _log.warning("The script of %s goes on although it was told to stop.", self._name)
        left = self._flow.house.personalities.left_behind
        left.add(task)
        task.add_done_callback(left.discard)
        task.add_done_callback(_forget)

    async def _script(self, calls: Calls, sink: Sink) -> None:
        """The script, with every way to end it as an error of ours."""
        try:
            await self._answer(calls, sink)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._over or task is None or task.cancelling():
                raise
            raise self._failed(error) from error  # nobody asked for it
        except LollmsError:
            raise
        except (Exception, SystemExit) as error:
            if (known := _of_ours(error)) is not None:
                raise known from error
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> WorkflowFailed:
        _log.error("The script of %s failed.", self._name, exc_info=error)
        return WorkflowFailed(f"The script of {self._name} failed; the server's log says why.")

    async def _answer(self, calls: Calls, sink: Sink) -> None:
        result = await self._started(calls)
        if hasattr(result, "__aiter__"):
            async with contextlib.aclosing(result) if hasattr(result, "aclose") else contextlib.nullcontext():
                async for chunk in result:
                    await self._show(sink, self._piece, chunk)
        elif isinstance(result, Iterator):
            await self._pulled(result, sink)
        else:
            await self._show(sink, self._whole, result)
        await sink([_counted(event, calls) for event in self._reader.end()])

    async def _started(self, calls: Calls) -> Any:
        """What `run_workflow` gives back: a result, or a generator that has not begun."""
        arguments = self._arguments(calls)
        if inspect.iscoroutinefunction(self._function) or inspect.isasyncgenfunction(self._function):
            result = self._function(*arguments)
        else:
            result = await self._threads.run(self._name, self._function, *arguments)
        return await result if inspect.isawaitable(result) else result

    async def _pulled(self, result: Iterator[Any], sink: Sink) -> None:
        """The chunks of a plain generator, each made on a thread."""
        try:
            while (chunk := await self._threads.run(self._name, next, result, _END)) is not _END:
                await self._show(sink, self._piece, chunk)
        finally:
            self._threads.run_alone(self._name, lambda: _closed(result))

    async def _show(self, sink: Sink, read: Callable[[Any], list[Event]], given: Any) -> None:
        if self._over:
            raise asyncio.CancelledError("the request has ended")
        try:
            events = read(given)
            self._size += len(msgspec.json.encode(events))
        except WorkflowFailed:
            raise
        except Exception as error:
            _log.error("What the script of %s gives cannot be sent: %s", self._name, error, exc_info=error)
            raise WorkflowFailed(
                f"The script of {self._name} gave something that is no documented form of output; "
                "the server's log says more."
            ) from error
        if self._reader.failure is not None:
            raise WorkflowFailed(f"The script of {self._name} reported an error; the server's log has its words.")
        if self._size > _MOST:
            raise WorkflowFailed(f"The script of {self._name} gave more than {_MOST >> 20} MiB and was stopped.")
        if events:
            await sink(events)

    def _piece(self, chunk: Any) -> list[Event]:
        """The events of a chunk."""
        if hasattr(chunk, "model_dump"):
            chunk = chunk.model_dump()
        if not isinstance(chunk, Mapping):
            return self._reader.feed(chunk)
        if chunk.get("type") == "error":
            raise WorkflowFailed(
                str(chunk.get("content") or chunk.get("data") or f"The script of {self._name} failed.")
            )
        if chunk.get("type") == "final":
            content, errors = _split(chunk.get("content"))
            return [*self._reader.feed({**chunk, "content": content}), *errors]
        if "content" not in chunk and "data" in chunk:
            return self._whole(chunk)
        return self._reader.feed(chunk)

    def _whole(self, result: Any) -> list[Event]:
        """The events of a whole result."""
        if result is None:
            raise TypeError("it returned nothing")
        items, errors = _split(result)
        return [*self._reader.whole(items), *errors]

    def _arguments(self, calls: Calls) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The prompt, the parameters and the context, as documented."""
        flow, house = self._flow, self._flow.house
        asked, context = flow.asked, flow.context
        prompts = (item.data for item in asked.input_data if item.type == "text" and item.role == "user_prompt")
        info = {
            "request_id": context.id,
            "generation_type": asked.generation_type,
            "personality": flow.personality.name,
            "functions": list(context.functions),
            "binding_instance_name": flow.instance,
            "model_name": self._call.model,
        }
        surroundings = {
            "request": asked,
            "input_data": list(asked.input_data),
            "personality": flow.personality,
            "binding": ScriptBinding(calls, flow.instance, flow.binding),
            "function_manager": ScriptFunctions(calls),
            "binding_manager": ScriptBindings(calls),
            "resource_manager": ScriptResources(calls),
            "config": house.loaded.config,
            "request_info": info,
        }
        return next(prompts, ""), _parameters(self._call), surroundings


def _closed(result: Iterator[Any]) -> None:
    """End a generator; one whose thread is still inside of it ends when that lets go of it."""
    with contextlib.suppress(AttributeError, ValueError):
        result.close()  # type: ignore[attr-defined]


def _parameters(call: GenerationCall) -> dict[str, Any]:
    """The parameters that somebody set, under their documented names, and the system message."""
    params = {**call.params.given(), **call.params.extra}
    if "stop" in params:
        params["stop"] = list(params["stop"])
    if "ctx_size" in params:
        params["context_size"] = params.pop("ctx_size")
    if system := "\n\n".join(m.text for m in call.messages if m.role == "system" and m.text):
        params["system_message"] = system
    return params


def _split(result: Any) -> tuple[list[dict[str, Any]], list[Event]]:
    """The items of a result, and those that tell of an error as an event of their own: they are output, too."""
    items = output_items(result)
    errors = [item for item in items if item["type"] == "error"]
    if not errors:
        return items, []
    said = (Item("error", str(item["data"]), metadata=item.get("metadata") or {}) for item in errors)
    return [item for item in items if item["type"] != "error"], [Output(tuple(said))]


def _counted(event: Event, calls: Calls) -> Event:
    """The end of the answer with the tokens and the receipts of all calls, and a model where none was asked for."""
    if not isinstance(event, Done):
        return event
    return msgspec.structs.replace(
        event,
        usage=calls.usage or event.usage,
        model=event.model or calls.model,
        receipt=calls.receipt + event.receipt,
    )


def _of_ours(error: BaseException) -> LollmsError | None:
    """The error of a model call that a group of exceptions holds."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := _of_ours(each)) is not None), None)
    return error if isinstance(error, LollmsError) else None


def _forget(task: asyncio.Task[None]) -> None:
    """Look at how a task ended, so that nobody is warned that nobody did."""
    if not task.cancelled():
        task.exception()
