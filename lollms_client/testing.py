"""Test doubles for programs that use `LollmsClient`: no network, no model, the same answer every time.

client = scripted_client(["Paris.", Reply(thoughts="Hm.", text="42"), Refused("Nobody there.")])
assert client.generate_text("What is the capital of France?") == "Paris."
assert client.binding.calls[0].messages[-1].text == "What is the capital of France?"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from threading import Event
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lollms_client.client import LollmsClient
from lollms_client.native_binding import NativeBinding
from lollms_core.testing.scripted import Scripted, ScriptedReply, pieces
from lollms_core.types import Batch, GenerationCall
from lollms_runtime.cancel import Cancel
from lollms_runtime.scripted import AsyncScriptedPorts, Script, ScriptedPorts

if TYPE_CHECKING:
    from lollms_client.async_client import AsyncLollmsClient

__all__ = ["ScriptedBinding", "scripted_async_client", "scripted_client"]


class ScriptedBinding(NativeBinding):
    """A binding that plays back replies; see `lollms_core.testing.scripted` for what a reply can be.

    Attributes: `script` with `calls`, `running` and `left_early`.
    """

    def __init__(
        self,
        replies: Script | Sequence[Scripted] | Callable[[GenerationCall], ScriptedReply],
        *,
        model_name: str = "scripted",
        gates: Mapping[int, Event] | None = None,
        delay: float = 0.0,
    ) -> None:
        """`gates[i]` holds each reply before its batch i until it is set; `delay` is seconds before each batch."""
        super().__init__("scripted")
        self.model_name = model_name
        self._ports = ScriptedPorts(replies, gates=gates, delay=delay)
        self.script = self._ports.script
        self.parallel_calls = 4 if callable(replies) else 1  # a list is used up in the order of the calls
        self._on_a_thread = bool(gates)  # they are events of threads
        self._delay = delay

    @property
    def calls(self) -> list[GenerationCall]:
        """What was asked so far."""
        return self.script.calls

    @override
    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]:
        """Play the next reply."""
        return self._ports.open(call, cancel)

    @override
    def aopen(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Play the next reply to a coroutine."""
        if self._on_a_thread:
            return super().aopen(call)
        return AsyncScriptedPorts(self.script, delay=self._delay).open(call)

    @override
    def tokenize(self, text: str) -> list[Any]:
        """Words stand for tokens."""
        return list(pieces(text))

    @override
    def detokenize(self, tokens: list[Any]) -> str:
        """The words, joined."""
        return "".join(tokens)

    @override
    def list_models(self) -> list[Any]:
        """The one model."""
        return [{"model_name": self.model_name}]


def scripted_client(
    replies: Script | Sequence[Scripted] | Callable[[GenerationCall], ScriptedReply],
    *,
    gates: Mapping[int, Event] | None = None,
    delay: float = 0.0,
    **arguments: Any,
) -> LollmsClient:
    """A `LollmsClient` whose model plays back `replies`, one per call: `str | Reply | Exception`, or lists of batches.

    `gates` and `delay` are those of `ScriptedBinding`; `arguments` go to `LollmsClient`.
    """
    client = LollmsClient(binding_name=None, **arguments)
    client.binding = ScriptedBinding(replies, gates=gates, delay=delay)
    return client


def scripted_async_client(
    replies: Script | Sequence[Scripted] | Callable[[GenerationCall], ScriptedReply],
    *,
    gates: Mapping[int, Event] | None = None,
    delay: float = 0.0,
    **arguments: Any,
) -> AsyncLollmsClient:
    """As `scripted_client`, for coroutines."""
    from lollms_client.async_client import AsyncLollmsClient

    client = AsyncLollmsClient(binding_name=None, **arguments)
    client.binding = ScriptedBinding(replies, gates=gates, delay=delay)
    return client
