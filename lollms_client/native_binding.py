"""`NativeBinding`: a binding that turns a call into events itself. All bindings of this library are of this kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from typing_extensions import override

from lollms_client.calls import call_for, split_prompt
from lollms_client.documented_ports import open_documented
from lollms_client.generation import error_result, text_or_error
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.messages import AnyMessage
from lollms_core.errors import LollmsError, UnsupportedFeature
from lollms_core.types import Batch, GenerationCall, ToolCall
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps

__all__ = ["BindingPorts", "NativeBinding"]


class BindingPorts:
    """What the drivers can do with a binding, of whatever kind it is."""

    def __init__(self, binding: LollmsLLMBinding) -> None:
        self._binding = binding

    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]:
        """Ask the binding's model. See `Ports.open`."""
        if isinstance(self._binding, NativeBinding):
            return self._binding.open(call, cancel)
        return open_documented(self._binding, call, cancel)

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        """Raises `UnsupportedFeature`: a plain generation runs no tools."""
        raise UnsupportedFeature(f"There is nothing here that could run the tool {call.name!r}.", param=call.name)
        yield ()

    def count(self, text: str) -> int:
        """The binding's own count of tokens."""
        return self._binding.count_tokens(text)


class NativeBinding(LollmsLLMBinding, ABC):
    """A binding whose one essential method is `open`; the documented methods are made from it."""

    @abstractmethod
    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]:
        """Ask the model: entering starts the call, iterating gives its events, leaving ends it.

        Stops within 250 ms when `cancel` is set, with `Cancelled`. Raises errors of `lollms_core.errors` only.
        """

    @override
    def generate_text(
        self,
        prompt: str,
        images: Sequence[Any] | None = None,
        system_prompt: str = "",
        n_predict: int | None = None,
        stream: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repeat_penalty: float | None = None,
        repeat_last_n: int | None = None,
        seed: int | None = None,
        n_threads: int | None = None,
        ctx_size: int | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        split: bool | None = False,
        user_keyword: str | None = "!@>user:",
        ai_keyword: str | None = "!@>assistant:",
        **kwargs: Any,
    ) -> str | dict[str, Any]:
        """See `LollmsLLMBinding.generate_text`."""
        params = {
            "n_predict": n_predict,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "repeat_last_n": repeat_last_n,
            "seed": seed,
            "n_threads": n_threads,
            "ctx_size": ctx_size,
            **kwargs,
        }
        asked = split_prompt(self, prompt, split, user_keyword, ai_keyword)
        return self._answer(asked, params, stream, streaming_callback, system=system_prompt, images=images)

    @override
    def generate_from_messages(
        self,
        messages: Sequence[AnyMessage],
        stream: bool | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> str | dict[str, Any]:
        """Answer a list of `{role, content}` messages; the rest is as in `generate_text`."""
        return self._answer(messages, kwargs, stream, streaming_callback)

    @override
    def chat(
        self,
        discussion: Any,
        branch_tip_id: str | None = None,
        stream: bool | None = None,
        streaming_callback: Callable[..., Any] | None = None,
        images: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> str | dict[str, Any]:
        """Continue a discussion, from the message `branch_tip_id` if given; the rest is as in `generate_text`."""
        messages = discussion.export("openai_chat", branch_tip_id)
        return self._answer(messages, kwargs, stream, streaming_callback, images=images)

    def _answer(
        self,
        prompt: str | Sequence[AnyMessage],
        params: Mapping[str, Any],
        stream: bool | None,
        callback: Callable[..., Any] | None,
        **rest: Any,
    ) -> str | dict[str, Any]:
        streams = callback is not None if stream is None else stream
        try:
            call = call_for(self, prompt, params=params, stream=streams, **rest)
        except LollmsError as error:
            return error_result(error, callback, raise_errors=False)
        return text_or_error(call, BindingPorts(self), callback)
