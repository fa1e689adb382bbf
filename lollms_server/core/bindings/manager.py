"""Binding types and instances: what is found, what is loaded, and what failed and why.

Nothing here can keep the server from starting. Every instance of `bindings_map` is prepared by a task of its own while
the server already answers: its card and file are read, its code is tried and imported, its object is made and started.
Whoever asks for an instance in the meantime waits for it; one that failed is refused with 503 and the reason stands in
the log, while the others serve.

A reload compares each instance with what it was made of: file, card and code. What is the same stays the same object.
What has changed is made anew beside the old one, until its model is loaded; only then do new requests get it, all
changes at once. The old one is stopped when no request uses it any more. A new version that fails replaces nothing that
works.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lollms_core.errors import InstanceUnavailable, InvalidRequest, NotFound
from lollms_runtime.import_probe import Prober
from lollms_runtime.third_party import forget
from lollms_server.core.bindings import Binding, ModelState, Surroundings
from lollms_server.core.bindings.discovery import SHIPPED, Types, discover
from lollms_server.core.bindings.instances import Card
from lollms_server.core.bindings.slots import Maker, Slot, stop_binding, watch_health
from lollms_server.core.config import LoadedConfig
from lollms_server.core.problems import Problem, ReloadReport
from lollms_server.core.requests import Registry
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.scheduler import Scheduler, instance_resource
from lollms_server.core.settings import DefaultsPart, MainConfig

__all__ = ["SHIPPED", "BindingManager", "Problem", "discover"]

_RECHECK_SECONDS = 15.0
_LOOK = 0.05
_STOP_SECONDS = 10.0

_log = logging.getLogger(__name__)
T = TypeVar("T")


class BindingManager:
    """The bindings of a running server. Used on the event loop only.

    With a `registry` a binding that was replaced is not stopped under a running request. `recheck` is the number of
    seconds after which an instance that is not healthy is asked again.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        scheduler: Scheduler,
        resource_manager: ResourceManager,
        *,
        registry: Registry | None = None,
        prober: Prober | None = None,
        recheck: float = _RECHECK_SECONDS,
    ) -> None:
        security, limits = loaded.config.security, loaded.config.limits
        self._loaded = loaded
        self._scheduler = scheduler
        self._registry = registry
        self._recheck = recheck
        self._prober = prober or Prober(limits.import_timeout, allow_installs=security.allow_runtime_installs)
        self._maker = Maker(loaded, resource_manager)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watches: dict[Slot, asyncio.Task[None]] = {}
        self._alive: set[Slot] = set()
        self._turn = asyncio.Lock()
        self._surroundings: Surroundings | None = None
        self._types: Types | None = None
        self._defaults = loaded.config.defaults
        self._slots = {name: Slot(name, kind) for name, kind in loaded.config.bindings_map.items()}
        self.types: Mapping[str, Card] = {}

    def add(self, name: str, binding: Binding) -> None:
        """Add an instance that was made elsewhere; before `start`."""
        kind = binding.binding_type_name or type(binding).__name__
        binding.binding_instance_name = binding.binding_instance_name or name
        self._slots[name] = Slot(name, kind, given=True, binding=binding)

    async def start(self, surroundings: Surroundings) -> None:
        """Find the types and begin to load the instances; returns before they are loaded."""
        self._surroundings = surroundings
        self._types = Types(*discover(self._places()), self._prober)
        self.types = self._types.cards
        for slot in self._slots.values():
            self._alive.add(slot)
            self._spawn(self._load(slot, self._types, surroundings))

    async def stop(self) -> None:
        """Stop every binding; none can hold up the others for more than ten seconds."""
        if self._types is not None:
            await self._types.stop()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:  # the start or the health check of a binding may not hear of it
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        await asyncio.gather(*(stop_binding(slot) for slot in self._alive))
        for slot in self._alive:
            if slot.module is not None:
                forget(slot.module)
        self._alive.clear()

    # ---- for requests

    async def get(self, name: str) -> Binding:
        """The binding of an instance, when it is loaded. Raises `NotFound` and `InstanceUnavailable`."""
        return _binding_of(await self._settled(name))

    def peek(self, name: str) -> Binding | None:
        """The binding of an instance that is loaded, whatever its last health check said; else None."""
        slot = self._slots.get(name)
        return slot.binding if slot is not None and slot.state == "loaded" else None

    @contextlib.asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Binding]:
        """The same for work that is no registered request: a reload does not stop the binding inside of the block."""
        slot = await self._settled(name)
        binding = _binding_of(slot)
        slot.users += 1
        try:
            yield binding
        finally:
            slot.users -= 1

    async def for_request(self, name: str | None, generation_type: str) -> tuple[str, Binding]:
        """The named instance, else the default for a kind of generation; with its name.

        Raises `InvalidRequest` when there is neither, `NotFound` and `InstanceUnavailable`.
        """
        if name is None:
            name = getattr(self._defaults, f"{generation_type}_binding", None)
        if name is None and generation_type != "ttt":
            raise InvalidRequest(
                f"There is no default binding for {generation_type}, and this version serves text (ttt) only.",
                param="generation_type",
            )
        if name is None:
            raise InvalidRequest(
                f"There is no default binding for {generation_type}: give binding_name, or set "
                f"defaults.{generation_type}_binding in the server's configuration.",
                param="binding_name",
            )
        return name, self.peek(name) or await self.get(name)

    async def _settled(self, name: str) -> Slot:
        slot = self._slots.get(name)
        if slot is None:
            raise NotFound(f"Binding instance {name!r} not found.", param="binding_name")
        if slot.state == "pending":
            try:
                async with asyncio.timeout(self._loaded.config.resource_manager.queue_timeout):
                    await slot.settled.wait()
            except TimeoutError as error:
                raise InstanceUnavailable(
                    f"Binding instance {name!r} is still loading; try again later.", retry_after=5.0
                ) from error
        return slot

    # ---- for listings

    @property
    def defaults(self) -> DefaultsPart:
        """The defaults as the last reload found them."""
        return self._defaults

    def listed(self) -> dict[str, Mapping[str, Any]]:
        """The settings of all instances whose file could be read, without secrets."""
        return {name: shown for name, slot in self._slots.items() if (shown := slot.public) is not None}

    def active(self) -> dict[str, Mapping[str, Any]]:
        """The same for the instances that are loaded and whose last health check did not fail."""
        return {
            name: shown for name, slot in self._slots.items() if slot.is_active and (shown := slot.public) is not None
        }

    def failures(self) -> list[Problem]:
        """The instances that failed."""
        return [slot.problem for slot in self._slots.values() if slot.state == "failed" and slot.problem is not None]

    @property
    def problems(self) -> Sequence[Problem]:
        """The folders of types that cannot be used, and the instances that failed or are not well."""
        folders = self._types.problems if self._types is not None else []
        return [*folders, *(trouble for slot in self._slots.values() if (trouble := slot.trouble) is not None)]

    @property
    def models(self) -> ModelState:
        """How far the models are: loading while any is, else failed if any instance is, else ready."""
        states = [slot.model_state for slot in self._slots.values()]
        if "loading" in states:
            return "loading"
        return "failed" if "failed" in states else "ready"

    # ---- loading

    async def _load(self, slot: Slot, types: Types, surroundings: Surroundings) -> None:
        await self._maker.bring_up(slot, types, surroundings)
        if slot.state == "loaded":
            self._serve(slot)

    def _serve(self, slot: Slot) -> None:
        """A slot that is loaded takes requests from now on."""
        self._scheduler.set_capacity(instance_resource(slot.name), slot.capacity)
        watch = self._watches[slot] = self._spawn(watch_health(slot, self._recheck))
        watch.add_done_callback(lambda _: self._watches.pop(slot, None))

    def _places(self) -> list[Path]:
        folders = self._loaded.folders
        return [SHIPPED, *(f for f in (folders.example_bindings, folders.bindings) if f is not None and f != SHIPPED)]

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- loading again

    async def reload(self, config: MainConfig) -> ReloadReport:
        """Take up what has changed: types, instances, `bindings_map` and `defaults`; one reload at a time.

        It goes on to its end when the caller leaves. Raises `InstanceUnavailable` when the server stops meanwhile.
        """
        task = self._spawn(self._reload_in_turn(config))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise InstanceUnavailable("The server is stopping; nothing was reloaded.") from None
            raise

    async def _reload_in_turn(self, config: MainConfig) -> ReloadReport:
        async with self._turn:
            before, surroundings = self._types, self._surroundings
            if before is None or surroundings is None:
                raise InstanceUnavailable("The server is starting; nothing was reloaded.", retry_after=1.0)
            await asyncio.gather(*(slot.settled.wait() for slot in self._slots.values()), before.judged())
            types = Types(*await asyncio.to_thread(discover, self._places(), before.cards.values()), self._prober)
            try:
                await types.judged()
                wanted = [item for item in config.bindings_map.items() if not self._is_given(item[0])]
                versions = await asyncio.to_thread(self._maker.versions, wanted, types)
                renewed = (self._renewed(*item, versions[item[0]], types, surroundings) for item in wanted)
                fresh = await asyncio.gather(*renewed)
            except BaseException:
                await types.stop()
                raise
            return self._swap(config, types, {name: new for (name, _), new in zip(wanted, fresh, strict=True)})

    def _is_given(self, name: str) -> bool:
        slot = self._slots.get(name)
        return slot is not None and slot.given

    async def _renewed(
        self, name: str, kind: str, version: str, types: Types, surroundings: Surroundings
    ) -> Slot | None:
        """A new slot for an instance, loaded or failed; None when the one there is can stay as it is."""
        new, old = Slot(name, kind), self._slots.get(name)
        new.version = version
        if old is not None and old.works and new.version == old.version:
            return None
        self._alive.add(new)
        await self._maker.bring_up(new, types, surroundings, wait=True)
        return new

    def _swap(self, config: MainConfig, types: Types, fresh: Mapping[str, Slot | None]) -> ReloadReport:
        """Let new requests have what was made; the rest goes when it is not used any more."""
        report = ReloadReport(failed=list(types.problems))
        slots = {name: slot for name, slot in self._slots.items() if slot.given}
        report.kept.extend(slots)
        for name, new in fresh.items():
            old = self._slots.get(name)
            if new is not None and new.problem is not None:
                report.failed.append(new.problem)
            if old is not None and (new is None or (new.state == "failed" and old.works)):
                slots[name] = old
                report.kept.append(name)
            elif new is not None:
                slots[name] = new
                if new.state == "loaded":
                    report.loaded.append(name)
        started = [new for new in fresh.values() if new is not None]
        gone = [slot for slot in (*self._slots.values(), *started) if slots.get(slot.name) is not slot]
        # A folder whose card became unreadable is still the type of instances that go on.
        broken = {problem.name for problem in types.problems}
        kept = {name: card for name, card in self.types.items() if card.folder.name in broken}
        self._slots, self._types, self._defaults = slots, types, config.defaults
        self.types = {**kept, **types.cards}
        for slot in started:
            if slot.state == "loaded":
                self._serve(slot)
        for slot in gone:
            if slot.name not in slots:
                self._scheduler.set_capacity(instance_resource(slot.name), None)
            self._spawn(self._retire(slot))
        return report

    async def _retire(self, slot: Slot) -> None:
        """Stop a binding that new requests do not get, once the last one that did is over."""
        if watch := self._watches.get(slot):
            watch.cancel()
        clock = asyncio.get_running_loop().time
        until = clock() + self._loaded.config.limits.workflow_timeout
        while self._is_used(slot) and clock() < until:
            await asyncio.sleep(_LOOK)
        await stop_binding(slot)
        async with self._turn:  # nobody imports now
            self._alive.discard(slot)
            module, slot.module = slot.module, None
            if module is not None and all(other.module is not module for other in self._alive):
                forget(module)

    def _is_used(self, slot: Slot) -> bool:
        registered = self._registry is not None and self._registry.is_used(slot.binding)
        return slot.users > 0 or registered


def _binding_of(slot: Slot) -> Binding:
    if slot.state == "failed" or slot.binding is None:
        raise InstanceUnavailable(
            f"Binding instance {slot.name!r} failed to load; the server's log says why.", param="binding_name"
        )
    return slot.binding
