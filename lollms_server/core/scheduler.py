"""The scheduler: one queue in front of every device and every instance.

A request asks for all the resources it needs at once and gets all of them or waits: nothing is held while waiting, so
two requests cannot wait for each other. Waiting is first come, first served per resource: a request may start before
an earlier one only if it needs nothing that the earlier one needs. A binding that asks for a device in the middle of
its work (`resource_manager.acquire_gpu_resource()`) does hold something while it waits; this is safe because resources
have one order, instances before devices, a nested request that goes against the order is refused as a defect, and those
who already hold something are served before those who do not.

Everything happens on one event loop, so there are no locks: state changes only between two awaits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Literal

import msgspec

from lollms_core.errors import InternalError, QueueTimeout, TooManyRequests

__all__ = ["GPU", "Lease", "Position", "Scheduler", "Status", "Waiting", "gpu_capacity", "instance_resource"]

GPU = "device:gpu"

Position = Callable[[int], Awaitable[None]]
"""Awaited with the number of requests that wait before this one, first when it is queued, then at each change."""

_HELD: ContextVar[Lease | None] = ContextVar("lollms_lease", default=None)


def instance_resource(name: str) -> str:
    """The resource that stands for the places in a binding instance."""
    return f"instance:{name}"


def gpu_capacity(strategy: Literal["semaphore", "simple_lock", "none"] | str, limit: int) -> int | None:
    """How many requests may use the graphics card at once under a documented `gpu_strategy`; None for any number."""
    if strategy == "none":
        return None
    return 1 if strategy == "simple_lock" else max(1, limit)


class Waiting(msgspec.Struct, frozen=True):
    """A queued request as others see it. `position` counts those that wait before it."""

    request_id: str
    position: int


class Status(msgspec.Struct, frozen=True):
    """The whole scheduler at one moment: places taken per resource, and the queue in order."""

    in_use: Mapping[str, int]
    waiting: tuple[Waiting, ...]


class Lease:
    """The resources of one request, held from `__aenter__` to `__aexit__`. Made by `Scheduler.lease`."""

    __slots__ = (
        "_changed",
        "_on_position",
        "_outer",
        "_scheduler",
        "_since",
        "_token",
        "active",
        "key",
        "request_id",
        "resources",
    )

    def __init__(
        self, scheduler: Scheduler, resources: frozenset[str], key: str, request_id: str, on_position: Position | None
    ) -> None:
        self._scheduler = scheduler
        self._on_position = on_position
        self._changed: asyncio.Event | None = None
        self._outer: Lease | None = None
        self._token: Token[Lease | None] | None = None
        self._since = 0.0
        self.active = False
        self.resources = resources
        self.key = key
        self.request_id = request_id

    @property
    def nested(self) -> bool:
        """Whether the same request already holds another lease."""
        return self._outer is not None

    @property
    def holds_something(self) -> bool:
        """Whether this lease, or one around it, holds anything now; one that does not is no reason to go first."""
        lease: Lease | None = self
        while lease is not None:
            if lease.active and lease.resources:
                return True
            lease = lease._outer
        return False

    def holds(self, resource: str) -> bool:
        """Whether this lease, or one around it, holds the resource now."""
        lease: Lease | None = self
        while lease is not None:
            if lease.active and resource in lease.resources:
                return True
            lease = lease._outer
        return False

    async def __aenter__(self) -> Lease:
        """Wait for the resources. Raises `QueueTimeout`, and `TooManyRequests` if there is no room to wait."""
        outer = _HELD.get()
        if outer is not None and outer._scheduler is self._scheduler and outer.holds_something:
            self._nest(outer)
        scheduler = self._scheduler
        scheduler._admit(self)
        if not self.active:
            try:
                await self._wait()
            except BaseException:
                scheduler._leave(self)
                raise
        self._since = time.monotonic()
        self._token = _HELD.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _HELD.reset(self._token)
            self._token = None
        self._scheduler._leave(self, time.monotonic() - self._since)

    def _nest(self, outer: Lease) -> None:
        self._outer = outer
        self.request_id = self.request_id or outer.request_id
        missing = frozenset(name for name in self.resources if not outer.holds(name))
        held: Lease | None = outer
        while held is not None and missing:
            if held.resources and max(map(_rank, held.resources)) >= min(map(_rank, missing)):
                names = ", ".join(sorted(missing))
                raise InternalError(f"A lease on {names} was asked for inside one that must come after it.")
            held = held._outer
        self.resources = missing

    async def _wait(self) -> None:
        scheduler, said = self._scheduler, -1
        changed = self._changed = asyncio.Event()
        limit = asyncio.timeout(scheduler.queue_timeout)
        try:
            async with limit:
                while not self.active:
                    changed.clear()
                    if self._on_position is not None and (position := scheduler._position(self)) != said:
                        said = position
                        await self._on_position(position)
                        continue  # the grant may have come while the position was being sent
                    await changed.wait()
        except TimeoutError as error:
            if not limit.expired():
                raise
            if self.active:
                return
            seconds = f"{scheduler.queue_timeout:g}"
            raise QueueTimeout(
                f"No place became free within {seconds} s. Try again later, or raise resource_manager.queue_timeout.",
                request_id=self.request_id,
            ) from error

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()


class Scheduler:
    """Hands out leases. `capacities` gives the places of each resource; a name without an entry has no limit.

    `queue_timeout` seconds is how long a request may wait; `queue_bound` how many may wait; `key_bound` how many
    requests one key may have, waiting and running.
    """

    def __init__(
        self,
        capacities: Mapping[str, int | None] | None = None,
        *,
        queue_timeout: float = 120.0,
        queue_bound: int = 512,
        key_bound: int = 1024,
    ) -> None:
        self.queue_timeout = queue_timeout
        self._queue_bound = queue_bound
        self._key_bound = key_bound
        self._capacity: dict[str, int] = {}
        self._in_use: Counter[str] = Counter()
        self._keys: dict[str, int] = {}
        self._queue: dict[Lease, None] = {}
        self._nested: dict[Lease, None] = {}
        self._mean_hold = 1.0
        for name, places in (capacities or {}).items():
            self.set_capacity(name, places)

    def set_capacity(self, resource: str, places: int | None) -> None:
        """Give a resource its number of places; None removes the limit."""
        if places is None:
            self._capacity.pop(resource, None)
        else:
            self._capacity[resource] = max(1, places)
        self._grant()

    def capacity(self, resource: str) -> int | None:
        """The places of a resource; None where it has no limit."""
        return self._capacity.get(resource)

    def lease(
        self,
        resources: Collection[str],
        *,
        key: str = "",
        request_id: str = "",
        on_position: Position | None = None,
    ) -> Lease:
        """`async with scheduler.lease([...])`: all resources, together. See `Lease.__aenter__` for what it raises."""
        return Lease(self, frozenset(resources), key, request_id, on_position)

    def status(self) -> Status:
        """What is held and who waits."""
        waiting = tuple(Waiting(lease.request_id, self._position(lease)) for lease in self._line())
        return Status({name: count for name, count in self._in_use.items() if count}, waiting)

    def waiting_for(self, resource: str) -> int:
        """How many requests wait for a resource, alone or with others."""
        return sum(resource in lease.resources for lease in self._line())

    @property
    def idle(self) -> bool:
        """Whether nothing is held and nobody waits."""
        return not self._queue and not self._nested and not any(self._in_use.values()) and not self._keys

    # The rest is for `Lease`.

    def _line(self) -> Iterator[Lease]:
        """Those who wait, in the order in which they are served."""
        yield from self._nested
        yield from self._queue

    def _admit(self, lease: Lease) -> None:
        """Grant at once, or queue. A nested lease belongs to a request that was counted and admitted before."""
        nested = lease.nested
        line = self._nested if nested else self._queue
        count = 0 if nested else self._keys.get(lease.key, 0)
        if count >= self._key_bound:
            raise self._too_many(f"This key already has {self._key_bound} requests running or waiting")
        if not lease.resources:
            lease.active = True
        elif self._fits(lease) and self._passes(lease, line if nested else self._line()):
            self._take(lease)
        elif len(self._queue) >= self._queue_bound and not nested:
            raise self._too_many(f"{len(self._queue)} requests are waiting already")
        else:
            line[lease] = None
        if not nested:
            self._keys[lease.key] = count + 1

    def _too_many(self, why: str) -> TooManyRequests:
        seconds = min(60, max(1, round(self._mean_hold)))
        return TooManyRequests(f"{why}; try again in {seconds} s.", retry_after=float(seconds))

    def _passes(self, lease: Lease, before: Iterable[Lease]) -> bool:
        """Whether a lease needs nothing that one before it waits for."""
        return all(lease.resources.isdisjoint(other.resources) for other in before)

    def _fits(self, lease: Lease) -> bool:
        return all(self._in_use[name] < self._capacity.get(name, 1 << 62) for name in lease.resources)

    def _take(self, lease: Lease) -> None:
        lease.active = True
        for name in lease.resources:
            self._in_use[name] += 1

    def _leave(self, lease: Lease, held: float | None = None) -> None:
        """Give back whatever the lease has: its places, its place in the queue, its count of the key."""
        if lease.active:
            lease.active = False
            for name in lease.resources:
                self._in_use[name] -= 1
        nested = lease.nested
        waited = self._nested if nested else self._queue
        if lease in waited:
            del waited[lease]
            self._moved()
        if not nested:
            count = self._keys[lease.key] - 1
            if count > 0:
                self._keys[lease.key] = count
            else:
                del self._keys[lease.key]
        if held is not None:
            self._mean_hold += (held - self._mean_hold) * 0.1
        if self._queue or self._nested:
            self._grant()

    def _grant(self) -> None:
        """Start every waiting request that can run without passing one that waits for the same thing."""
        blocked: set[str] = set()
        started: list[Lease] = []
        for lease in self._line():
            if blocked.isdisjoint(lease.resources) and self._fits(lease):
                self._take(lease)
                started.append(lease)
            else:
                blocked |= lease.resources
        for lease in started:
            del (self._nested if lease.nested else self._queue)[lease]
            lease._wake()
        if started:
            self._moved()

    def _moved(self) -> None:
        """Let those who want to know look at their position again."""
        for lease in self._queue:
            if lease._on_position is not None:
                lease._wake()

    def _position(self, lease: Lease) -> int:
        before = 0
        for other in self._line():
            if other is lease:
                break
            before += not lease.resources.isdisjoint(other.resources)
        return before


def _rank(resource: str) -> int:
    """Instances come before devices."""
    return 1 if resource.startswith("device:") else 0
