"""Requests that are no generations: tokens and embeddings.

They are registered like all others, so that they count in the limits, can be listed and stopped, and keep their binding
from being replaced under them. They stop when their caller leaves. An embedding runs the model and takes its place in
the instance; counting tokens does not, and only counts against its key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from lollms_server.core.bindings import Binding
from lollms_server.core.requests import RequestContext
from lollms_server.core.resources import resources_of
from lollms_server.core.services import Services

__all__ = ["errand"]

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]


@contextlib.asynccontextmanager
async def errand(
    house: Services,
    state: Mapping[str, Any],
    receive: Receive,
    *,
    binding_name: str | None,
    model_name: str | None,
    runs_model: bool,
) -> AsyncIterator[Binding]:
    """`async with errand(...) as binding:` the instance that is asked, for as long as the block lasts.

    `state` is what the guard knows of the request; `runs_model` says that the work needs a place in the instance.
    Raises `InvalidRequest` without an instance or default, `NotFound`, `InstanceUnavailable`, `QueueTimeout`,
    `TooManyRequests`, and the error of a request that was stopped.
    """
    context = RequestContext(
        str(state["request_id"]),
        key=str(state.get("key_id", "-")),
        instance=binding_name or "",
        model=model_name or "",
    )
    with house.registry.registered(context):
        async with _watched(context, receive), context.working():
            context.instance, binding = await house.manager.for_request(binding_name, "ttt")
            context.uses = (binding,)
            context.model = model_name or str(binding.default_model_name or "")
            resources = resources_of(context.instance, binding, context.model) if runs_model else frozenset()
            lease = house.scheduler.lease(
                resources, key=context.key, request_id=context.id, on_position=_position(context)
            )
            async with lease:
                context.position = None
                yield binding


def _position(context: RequestContext) -> Callable[[int], Awaitable[None]]:
    async def moved(position: int) -> None:
        context.position = position

    return moved


@contextlib.asynccontextmanager
async def _watched(context: RequestContext, receive: Receive) -> AsyncIterator[None]:
    """The request is stopped when its caller leaves. Its body must have been read."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        context.cancel("disconnected")

    watch = asyncio.get_running_loop().create_task(wait())
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])
