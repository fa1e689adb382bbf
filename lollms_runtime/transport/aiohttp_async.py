"""The asynchronous transport: aiohttp's connections, with a clock of our own (see `aiohttp_session`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lollms_core.errors import InvalidRequest
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.transport.wire import TlsContexts

if TYPE_CHECKING:
    from lollms_runtime.transport.aiohttp_exchange import Exchange
    from lollms_runtime.transport.aiohttp_session import Session

__all__ = ["AiohttpTransport"]


class AiohttpTransport:
    """HTTP for the coroutines of one event loop, that of the first request; after `close()`, of the next one's.

    `close()` ends the exchanges that are running and closes all connections; the object can be used again.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._session: Session | None = None
        self._exchange: type[Exchange] | None = None
        self._tls = TlsContexts()

    def open(self, request: HttpRequest) -> Exchange:
        """See `AsyncTransport.open`; also raises `InvalidRequest` for an address or header that cannot be sent."""
        if self._session is None or self._exchange is None:
            from lollms_runtime.transport.aiohttp_exchange import Exchange
            from lollms_runtime.transport.aiohttp_session import Session

            self._session, self._exchange = Session(asyncio.get_running_loop()), Exchange
        elif asyncio.current_task(self._session.loop) is None:  # to ask which loop runs is a system call in Python 3.11
            raise InvalidRequest(
                "This client was used in another event loop. Make one client for each event loop, or close it before "
                "the next loop uses it."
            )
        tls = self._tls.get(request.verify_tls, request.url) if request.url.startswith("https:") else None
        return self._exchange(self._session, request, self._limits, tls)

    async def close(self) -> None:
        """End what is running and close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
