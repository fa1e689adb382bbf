"""A binding outside of a server: made from settings, given a transport, and stopped in the end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

from lollms_core.fold import ReplyFold
from lollms_core.types import Batch, GenerationCall, Message, Reply
from lollms_server.core.bindings import Binding, Surroundings
from lollms_server.core.bindings.http import HttpBinding

__all__ = ["attached", "reply_of", "said"]

B = TypeVar("B", bound=HttpBinding)


@contextlib.asynccontextmanager
async def attached(kind: type[B], **config: Any) -> AsyncIterator[B]:
    """A binding of that class with these settings."""
    surroundings = Surroundings(Path("models"))
    whole = {"type": kind.binding_type_name, "binding_instance_name": "main", **config}
    binding = kind(whole, None)  # type: ignore[arg-type]  HTTP bindings need no card
    binding.attach(surroundings)
    try:
        await binding.start()
        yield binding
        await binding.stop()
    finally:
        await surroundings.close()


def said(text: str, model: str = "", stream: bool = True, **more: Any) -> GenerationCall:
    """A call with one turn."""
    return GenerationCall((Message.user(text),), model, stream=stream, **more)


async def reply_of(binding: Binding, call: GenerationCall) -> Reply:
    """The folded answer to a call."""
    fold = ReplyFold()
    batches: list[Batch] = []
    async with binding.open(call) as answer:
        async for batch in answer:
            batches.append(batch)
            fold.add(batch)
    return fold.done()
