"""What the client's bindings need of an engine of this machine, whichever it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from lollms_core.types import Batch, Embeddings, GenerationCall, ModelInfo
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.supervisor import State

__all__ = ["LocalEngine", "LocalSettings"]


class LocalSettings(Protocol):
    """The model's name, and how many requests the engine works on at once."""

    @property
    def name(self) -> str: ...

    @property
    def parallel(self) -> int: ...


class LocalEngine(Protocol):
    """One model. `start` returns at once; `ready` is done when it is loaded; `stop` returns when nothing is left."""

    @property
    def settings(self) -> LocalSettings: ...

    @property
    def state(self) -> State: ...

    @property
    def pid(self) -> int | None: ...

    def start(self) -> None: ...

    def ready(self) -> Future[Any]: ...

    def stop(self) -> None: ...

    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]: ...

    def aopen(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]: ...

    def tokenize(self, text: str) -> list[int]: ...

    def detokenize(self, tokens: Sequence[int]) -> str: ...

    def embed(self, texts: Sequence[str]) -> Embeddings: ...

    def model_info(self) -> ModelInfo: ...
