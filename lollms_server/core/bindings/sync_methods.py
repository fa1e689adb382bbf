"""Methods of third-party bindings made safe to call, also in another form than the documented one.

Most methods of a binding are documented as `async def`. Many a writer forgets it, and the method still works when it is
called: to everybody else it gives something to be awaited, and runs on a thread, because a method without `await` can
only block. Inside of its own package, and on its own thread, it stays what its writer wrote, so that what calls it
there without `await` is right.

No method can end the event loop with `SystemExit`. The few that are documented without `async` are asked while a
request is checked, and get a whole fence: whatever they raise is an error of ours, and so is an answer of the wrong
kind.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any

from lollms_core.errors import EngineError, LollmsError
from lollms_server.core.bindings.foreign import OneAtATime, awaited, in_pieces, typed_error

if TYPE_CHECKING:
    from lollms_server.core.bindings import Binding

__all__ = ["accept_other_forms", "threads_of"]

_OURS = "lollms_server."
_ASYNC = (
    "list_available_models",
    "load_model",
    "unload_model",
    "generate",
    "get_model_info",
    "tokenize",
    "detokenize",
    "count_tokens",
    "embed",
    "health_check",
    "start",
    "stop",
)


def accept_other_forms(binding: type[Binding]) -> None:
    """Make the methods that somebody else wrote for this class, or for a part of it, callable in the documented way."""
    for name in _ASYNC:
        if (function := _foreign(binding, name)) is not None:
            setattr(binding, name, (_surviving if _is_async(function) else _awaitable)(function))
    stream = _foreign(binding, "generate_stream")
    if stream is not None and not _is_async(stream):
        binding.generate_stream = _iterable(stream)  # type: ignore[method-assign]
    for name, check in _CHECKS.items():
        if (function := _foreign(binding, name)) is not None:
            setattr(binding, name, _fenced(function, check))


def _foreign(binding: type[Binding], name: str) -> FunctionType | None:
    """The method of this name if it is neither ours nor wrapped already, in which case it is ours, too."""
    function = inspect.getattr_static(binding, name)
    if not isinstance(function, FunctionType) or str(function.__globals__.get("__name__")).startswith(_OURS):
        return None
    return function


def _is_async(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(function)
    return inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)


# ---- documented with async -----------------------------------------------------------------------------------------


def _surviving(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method itself; but what would end the event loop is an error, whoever awaits it."""

    @functools.wraps(function)
    async def method(self: Binding, *given: Any, **named: Any) -> Any:
        try:
            return await awaited(function(self, *given, **named))
        except (SystemExit, KeyboardInterrupt) as error:
            raise typed_error(self.binding_instance_name, error) from error

    return method


def _awaitable(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(self: Binding, *given: Any, **named: Any) -> Any:
        if _is_at_home(function, sys._getframe(1)):
            return function(self, *given, **named)
        return _on_thread(self, function, given, named)

    return method


async def _on_thread(self: Binding, function: Callable[..., Any], given: Any, named: Any) -> Any:
    try:
        return await awaited(await threads_of(self).run(functools.partial(function, self, *given, **named)))
    except (SystemExit, KeyboardInterrupt) as error:
        raise typed_error(self.binding_instance_name, error) from error


def _iterable(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(self: Binding, *given: Any, **named: Any) -> Any:
        if _is_at_home(function, sys._getframe(1)):
            return function(self, *given, **named)
        return pieces(self, given, named)

    async def pieces(self: Binding, given: Any, named: Any) -> AsyncIterator[Any]:
        result = await _on_thread(self, function, given, named)
        async for piece in in_pieces(result, threads_of(self)):
            yield piece

    return method


def _is_at_home(function: Callable[..., Any], caller: FrameType) -> bool:
    """Whether the writer's own code calls: from his package, or on a thread without an event loop."""
    home = str(function.__globals__.get("__name__", "")).partition(".")[0]
    if str(caller.f_globals.get("__name__", "")).partition(".")[0] == home:
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def threads_of(binding: Binding) -> OneAtATime:
    """The threads of a binding's blocking methods."""
    if binding._threads is None:
        binding._threads = OneAtATime()
    return binding._threads


# ---- documented without --------------------------------------------------------------------------------------------


def _names(given: Any) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Sequence | set | frozenset):
        raise TypeError("a list of names is documented")
    return [str(each) for each in given]


def _settings(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError("a dictionary is documented")
    return dict(given)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "get_supported_input_modalities": _names,
    "get_supported_output_modalities": _names,
    "supports_input_role": bool,
    "get_resource_requirements": _settings,
}


def _fenced(function: Callable[..., Any], check: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(self: Binding, *given: Any, **named: Any) -> Any:
        try:
            result = function(self, *given, **named)
            if inspect.iscoroutine(result):
                result.close()
                raise EngineError(f"{function.__name__} is documented without async.")
            return check(result)
        except LollmsError:
            raise
        except BaseException as error:
            raise typed_error(self.binding_instance_name, error) from error

    return method
