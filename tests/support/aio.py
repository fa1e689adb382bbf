"""All transports behind one face, so that a test is written once and runs over each.

Each call makes a transport, does its work with real sockets, and closes it; an asynchronous one does so in an event
loop of its own. `then` is called while the transport is still open: what the server sees at that time is the doing of
the exchange, not of `close()`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import uvloop

from lollms_core.errors import Cancelled
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport.base import AsyncTransport
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport

__all__ = ["CLIENTS", "Client", "Exchanged"]

T = TypeVar("T")

DEFAULT = Limits()


class Exchanged(NamedTuple):
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunks: int


class Client(Protocol):
    """What a test can do with a transport."""

    def exchange(self, request: HttpRequest, limits: Limits = DEFAULT) -> Exchanged:
        """One whole exchange."""
        ...

    def in_turn(self, requests: Sequence[HttpRequest], limits: Limits = DEFAULT) -> list[Exchanged | Exception]:
        """Several exchanges over one transport."""
        ...

    def at_once(self, requests: Sequence[HttpRequest]) -> list[Exchanged | Exception]:
        """Several exchanges over one transport, at the same time."""
        ...

    def partly(self, request: HttpRequest, pause: float = 0.0) -> tuple[bytes, Exception | None]:
        """What was delivered before an error, and the error; waits so many seconds after the first chunk."""
        ...

    def counted(self, request: HttpRequest, limits: Limits = DEFAULT) -> tuple[int, int, Exception | None]:
        """The bytes that were delivered, the longest chunk, and the error; nothing is kept."""
        ...

    def leave(self, request: HttpRequest, then: Callable[[], None]) -> None:
        """Read one chunk, leave the block, call `then`."""
        ...

    def cancelled(self, request: HttpRequest, when: Callable[[], object], then: Callable[[], None]) -> float:
        """Cancel an exchange from outside once `when` has returned; seconds until it had ended."""
        ...

    def closed(self, request: HttpRequest, when: Callable[[], object]) -> Exception | None:
        """Close the transport once `when` has returned; how the running exchange ended."""
        ...


class SyncClient:
    """The synchronous transport."""

    def exchange(self, request: HttpRequest, limits: Limits = DEFAULT) -> Exchanged:
        result = self.in_turn([request], limits)[0]
        if isinstance(result, Exception):
            raise result
        return result

    def in_turn(self, requests: Sequence[HttpRequest], limits: Limits = DEFAULT) -> list[Exchanged | Exception]:
        transport = HttpTransport(limits)
        try:
            return [self._one(transport, request, Cancel()) for request in requests]
        finally:
            transport.close()

    def at_once(self, requests: Sequence[HttpRequest]) -> list[Exchanged | Exception]:
        transport = HttpTransport()
        results: list[Exchanged | Exception] = [AssertionError("did not run")] * len(requests)

        def work(index: int) -> None:
            results[index] = self._one(transport, requests[index], Cancel())

        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        transport.close()
        return results

    def partly(self, request: HttpRequest, pause: float = 0.0) -> tuple[bytes, Exception | None]:
        transport, got = HttpTransport(), b""
        try:
            with transport.open(request, Cancel()) as response:
                for data in response.chunks():
                    if not got:
                        time.sleep(pause)
                    got += data
        except Exception as error:
            return got, error
        finally:
            transport.close()
        return got, None

    def counted(self, request: HttpRequest, limits: Limits = DEFAULT) -> tuple[int, int, Exception | None]:
        transport, size, longest = HttpTransport(limits), 0, 0
        try:
            with transport.open(request, Cancel()) as response:
                for data in response.chunks():
                    size, longest = size + len(data), max(longest, len(data))
        except Exception as error:
            return size, longest, error
        finally:
            transport.close()
        return size, longest, None

    def leave(self, request: HttpRequest, then: Callable[[], None]) -> None:
        transport = HttpTransport()
        with transport.open(request, Cancel()) as response:
            for data in response.chunks():
                assert data
                break
        then()
        transport.close()

    def cancelled(self, request: HttpRequest, when: Callable[[], object], then: Callable[[], None]) -> float:
        transport, cancel = HttpTransport(), Cancel()
        results: list[Exchanged | Exception] = []
        thread = threading.Thread(target=lambda: results.append(self._one(transport, request, cancel)))
        thread.start()
        when()
        start = time.monotonic()
        cancel.set()
        thread.join()
        seconds = time.monotonic() - start
        assert isinstance(results[0], Cancelled), results
        then()
        transport.close()
        return seconds

    def closed(self, request: HttpRequest, when: Callable[[], object]) -> Exception | None:
        transport = HttpTransport()
        results: list[Exchanged | Exception] = []
        thread = threading.Thread(target=lambda: results.append(self._one(transport, request, Cancel())))
        thread.start()
        when()
        transport.close()
        thread.join()
        return results[0] if isinstance(results[0], Exception) else None

    def _one(self, transport: HttpTransport, request: HttpRequest, cancel: Cancel) -> Exchanged | Exception:
        try:
            with transport.open(request, cancel) as response:
                chunks = list(response.chunks())
                return Exchanged(response.status, dict(response.headers), b"".join(chunks), len(chunks))
        except Exception as error:
            return error


class AsyncClient:
    """An asynchronous transport, on asyncio's own event loop or the server's."""

    def __init__(
        self,
        make: Callable[[Limits | None], AsyncTransport],
        new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._make = make
        self._new_loop = new_loop

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            return runner.run(work)

    def exchange(self, request: HttpRequest, limits: Limits = DEFAULT) -> Exchanged:
        result = self.in_turn([request], limits)[0]
        if isinstance(result, Exception):
            raise result
        return result

    def in_turn(self, requests: Sequence[HttpRequest], limits: Limits = DEFAULT) -> list[Exchanged | Exception]:
        async def work() -> list[Exchanged | Exception]:
            transport = self._make(limits)
            try:
                return [await self._one(transport, request) for request in requests]
            finally:
                await transport.close()

        return self._run(work())

    def at_once(self, requests: Sequence[HttpRequest]) -> list[Exchanged | Exception]:
        async def work() -> list[Exchanged | Exception]:
            transport = self._make(None)
            results = await asyncio.gather(*(self._one(transport, request) for request in requests))
            await transport.close()
            return list(results)

        return self._run(work())

    def partly(self, request: HttpRequest, pause: float = 0.0) -> tuple[bytes, Exception | None]:
        got = b""

        async def work() -> None:
            nonlocal got
            transport = self._make(None)
            try:
                async with transport.open(request) as response:
                    async for data in response.chunks():
                        if not got:
                            await asyncio.sleep(pause)
                        got += data
            finally:
                await transport.close()

        try:
            self._run(work())
        except Exception as error:
            return got, error
        return got, None

    def counted(self, request: HttpRequest, limits: Limits = DEFAULT) -> tuple[int, int, Exception | None]:
        async def work() -> tuple[int, int, Exception | None]:
            transport, size, longest = self._make(limits), 0, 0
            try:
                async with transport.open(request) as response:
                    async for data in response.chunks():
                        size, longest = size + len(data), max(longest, len(data))
            except Exception as error:
                return size, longest, error
            finally:
                await transport.close()
            return size, longest, None

        return self._run(work())

    def leave(self, request: HttpRequest, then: Callable[[], None]) -> None:
        async def work() -> None:
            transport = self._make(None)
            async with transport.open(request) as response:
                async for data in response.chunks():
                    assert data
                    break
            await self._nothing_left_but(asyncio.to_thread(then))
            await transport.close()

        self._run(work())

    def cancelled(self, request: HttpRequest, when: Callable[[], object], then: Callable[[], None]) -> float:
        async def work() -> float:
            transport = self._make(None)
            task = asyncio.create_task(self._one(transport, request))
            await asyncio.to_thread(when)
            start = time.monotonic()
            task.cancel()
            await asyncio.wait([task])
            seconds = time.monotonic() - start
            assert task.cancelled()
            await self._nothing_left_but(asyncio.to_thread(then))
            await transport.close()
            return seconds

        return self._run(work())

    def closed(self, request: HttpRequest, when: Callable[[], object]) -> Exception | None:
        async def work() -> Exception | None:
            transport = self._make(None)
            task = asyncio.create_task(self._one(transport, request))
            await asyncio.to_thread(when)
            await transport.close()
            result = await task
            return result if isinstance(result, Exception) else None

        return self._run(work())

    async def _nothing_left_but(self, step: Awaitable[object]) -> None:
        """Run a step, at the end of which this task must be the only one, or soon so."""
        await step
        deadline = time.monotonic() + 0.25
        while (left := asyncio.all_tasks() - {asyncio.current_task()}) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert not left

    async def _one(self, transport: AsyncTransport, request: HttpRequest) -> Exchanged | Exception:
        try:
            async with transport.open(request) as response:
                chunks = [data async for data in response.chunks()]
                return Exchanged(response.status, dict(response.headers), b"".join(chunks), len(chunks))
        except Exception as error:
            return error


CLIENTS: dict[str, Client] = {
    "threads": SyncClient(),
    "coroutines": AsyncClient(AsyncHttpTransport),
    "coroutines-uvloop": AsyncClient(AsyncHttpTransport, uvloop.new_event_loop),
}
