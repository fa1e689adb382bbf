"""Wait until a server that already answers has also loaded what lies in its folders."""

from __future__ import annotations

import asyncio

from tests.support.server import Served

__all__ = ["settle"]


def settle(server: Served) -> Served:
    """Return when every personality and every file of functions is loaded or has failed.

    A server does not wait long for them before it answers, and on a busy machine it answers before they are there.
    """
    for manager in (server.services.personalities, server.services.functions):
        asyncio.run_coroutine_threadsafe(manager.settled(), server.loop).result(30)
    return server
