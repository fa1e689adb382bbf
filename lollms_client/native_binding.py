"""`NativeBinding`: a binding that turns a call into events itself. All bindings of this library are of this kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from typing_extensions import override

from lollms_client.calls import Asked, split_prompt
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.messages import AnyMessage
from lollms_core.protocols.image_limits import NO_LIMITS, ImageLimits
from lollms_core.types import Batch, GenerationCall
from lollms_runtime.cancel import Cancel

__all__ = ["NativeBinding"]


class NativeBinding(LollmsLLMBinding, ABC):
    """A binding whose one essential method is `open`; the documented methods are made from it."""

    @abstractmethod
    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]:
        """Ask the model: entering starts the call, iterating gives its events, leaving ends it.

        Stops within 250 ms when `cancel` is set, with `Cancelled`. Raises errors of `lollms_core.errors` only.
        """

    def aopen(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """As `open`, for coroutines: cancelling the task stops the call. Unless overridden, `open` runs on a thread."""
        from lollms_runtime.threads import iterate_in_thread

        return iterate_in_thread(lambda cancel: self.open(call, cancel))

    async def aclose(self) -> None:
        """As `close`, for coroutines."""
        from lollms_runtime.threads import run_in_thread

        await run_in_thread(self.close)

    @property
    def image_limits(self) -> ImageLimits:
        """Which images the backend takes; larger ones are made smaller, and other kinds are converted."""
        return NO_LIMITS

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
        from lollms_client.generation import text_or_error

        streams = callback is not None if stream is None else stream
        return text_or_error(Asked(self, prompt, params, stream=streams, **rest), callback)
