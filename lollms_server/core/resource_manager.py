"""The documented `ResourceManager`: what a binding uses to ask for the graphics card. It is a face of the scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lollms_server.core.requests import CURRENT
from lollms_server.core.scheduler import GPU, Lease, Scheduler, gpu_capacity

__all__ = ["ResourceManager"]


class ResourceManager:
    """Limits how many tasks use the graphics card at once.

    `config` has the keys `gpu_strategy` (`semaphore`, `simple_lock` or `none`), `gpu_limit` and `queue_timeout`
    (seconds). The server gives its own `scheduler`; without one the manager stands alone.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, scheduler: Scheduler | None = None) -> None:
        given = dict(config or {})
        self.gpu_strategy = str(given.get("gpu_strategy", "semaphore"))
        self.gpu_limit = int(given.get("gpu_limit", 1))
        self.queue_timeout = float(given.get("queue_timeout", 120))
        self._scheduler = scheduler or Scheduler(queue_timeout=self.queue_timeout)
        self._scheduler.set_capacity(GPU, gpu_capacity(self.gpu_strategy, self.gpu_limit))

    def acquire_gpu_resource(self, task_name: str = "unnamed_task") -> Lease:
        """`async with resource_manager.acquire_gpu_resource():` waits for the card and holds it inside the block.

        A request that the server has already given the card passes at once. Raises `QueueTimeout`; what the block
        itself raises passes unchanged.
        """
        context = CURRENT.get()
        request_id = context.id if context is not None else task_name
        return self._scheduler.lease([GPU], key=context.key if context is not None else "", request_id=request_id)

    def get_status(self) -> dict[str, Any]:
        """The strategy, its limit, and how many tasks hold the card or wait for it."""
        status = self._scheduler.status()
        return {
            "gpu_strategy": self.gpu_strategy,
            "gpu_limit": self._scheduler.capacity(GPU),
            "queue_timeout": self.queue_timeout,
            "active_gpu_tasks": status.in_use.get(GPU, 0),
            "waiting_gpu_tasks": self._scheduler.waiting_for(GPU),
        }
