"""One instance of `bindings_map` from its file to its end.

A slot begins as pending and becomes loaded or failed, once; a changed instance gets a new slot beside the old one.
Bindings are made and called on the event loop, whoever wrote them; each step has its time, so that one that never
comes back is a failure of that instance alone. A constructor has none: it may want the running loop, so it cannot be
put on a thread, and one that blocks holds up the server; the watchdog then names its line.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

from lollms_core.errors import InstanceUnavailable, LollmsError, ModelLoadFailed
from lollms_server.core.bindings import Binding, ModelState, Surroundings
from lollms_server.core.bindings.discovery import Types, code_digest
from lollms_server.core.bindings.foreign import run_foreign
from lollms_server.core.bindings.instances import Card, Instance, InstanceFiles, load_instance
from lollms_server.core.config import LoadedConfig
from lollms_server.core.problems import Problem, problem_of
from lollms_server.core.resource_manager import ResourceManager

__all__ = ["Maker", "Slot", "stop_binding", "watch_health"]

State = Literal["pending", "loaded", "failed"]

_STOP_SECONDS, _STOP_GRACE = 8.0, 2.0
_CHECK_SECONDS = 30.0
_LOAD_SECONDS = 120.0
_LOOK = 0.05

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Slot:
    """An instance and how it is. `given` ones were made elsewhere; `version` stands for file, card and code.

    `problem` is why it failed; `ailment` what its last health check said, if that failed; `users` how many use it now
    without being registered requests; `capacity` how many requests it takes at once, None for any number; `endless`
    what of its code cannot be stopped.
    """

    name: str
    type_name: str
    given: bool = False
    version: str = ""
    state: State = "pending"
    binding: Binding | None = None
    instance: Instance | None = None
    module: ModuleType | None = None
    problem: Problem | None = None
    ailment: str = ""
    users: int = 0
    capacity: int | None = None
    endless: list[object] = field(default_factory=list)
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model_state(self) -> ModelState:
        """How far its model is; a pending instance is loading."""
        if self.state == "pending":
            return "loading"
        if self.state == "failed" or self.binding is None:
            return "failed"
        return _model_state(self.binding)

    @property
    def works(self) -> bool:
        """Whether it can serve requests, now or when its model is loaded."""
        return self.state == "loaded" and self.model_state != "failed"

    @property
    def is_active(self) -> bool:
        """Whether it works and its last health check did not fail."""
        return self.works and not self.ailment

    @property
    def trouble(self) -> Problem | None:
        """What is wrong with it, if anything is."""
        if self.state == "failed":
            return self.problem
        if self.ailment:
            return Problem(self.name, self.ailment)
        return Problem(self.name, "its model failed.") if self.model_state == "failed" else None

    @property
    def public(self) -> Mapping[str, Any] | None:
        """Its settings without secrets; None while they are not known."""
        if self.instance is not None:
            return self.instance.public
        if self.binding is not None:
            return {"type": self.type_name, "binding_instance_name": self.name}
        return None


class Maker:
    """Makes the bindings of slots, with what all of them share."""

    def __init__(self, loaded: LoadedConfig, resource_manager: ResourceManager) -> None:
        self._loaded = loaded
        self._resource_manager = resource_manager
        self._files = InstanceFiles(loaded.folders.instances)
        # One file at a time: several threads that parse would take the interpreter from the event loop, which already
        # answers while a thousand instances are read.
        self._reading = asyncio.Semaphore()

    def versions(self, wanted: Iterable[tuple[str, str]], types: Types) -> dict[str, str]:
        """The version of each instance, "" of one that cannot be read; to be called on one thread for all of them.

        Their folder is listed anew, for this and for all that is made until the next time.
        """
        self._files = InstanceFiles(self._loaded.folders.instances)
        found = {}
        for name, kind in wanted:
            found[name] = ""
            with contextlib.suppress(LollmsError, OSError):  # it will be met again, and told, when the slot is made
                found[name] = self._version(name, kind, types)
        return found

    def _version(self, name: str, type_name: str, types: Types) -> str:
        """A hash of all that an instance is made of: its file, its type, the card and the code.

        Raises `LollmsError` and OSError.
        """
        card = types.card(type_name)
        file = self._files.find(name)
        state = hashlib.sha256(f"{type_name}\0{card.digest}\0{code_digest(card)}\0{file}\0".encode())
        state.update(file.read_bytes())
        return state.hexdigest()

    async def bring_up(self, slot: Slot, types: Types, surroundings: Surroundings, *, wait: bool = False) -> None:
        """Make, attach and start the binding of a slot; with `wait` its model must be loaded, too.

        The slot is loaded or failed afterwards, and nothing is raised. What failed half-way is stopped.
        """
        try:
            if slot.binding is None:
                await self._make(slot, types)
            await _started(slot, surroundings, wait=wait)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                await stop_binding(slot)
                raise
            await self._failed(slot, error, types)  # nobody asked for it
        except (Exception, SystemExit) as error:
            await self._failed(slot, error, types)
        else:
            slot.state = "loaded"
            _log.info("Binding instance %r is set up.", slot.name)
        finally:
            slot.settled.set()

    async def _failed(self, slot: Slot, error: BaseException, types: Types) -> None:
        card = types.cards.get(slot.type_name)
        slot.problem = problem_of(slot.name, error, card.folder if card is not None else None)
        slot.state = "failed"
        known = isinstance(error, LollmsError)
        said = error if known else slot.problem
        _log.error("Binding instance %r failed to load: %s", slot.name, said, exc_info=not known)
        await stop_binding(slot)

    async def _make(self, slot: Slot, types: Types) -> None:
        """The object of an instance: settings from its file, code from the folder of its card."""
        card = types.card(slot.type_name)
        async with self._reading:
            instance = await asyncio.to_thread(self._read, slot, card, types)
        for notice in instance.notices:
            _log.warning("%s", notice)
        binding_class, slot.module = await types.load(slot.type_name)
        slot.binding = _construct(binding_class, instance, self._resource_manager)
        slot.instance = instance  # not before: what the binding refuses may be what must not be shown

    def _read(self, slot: Slot, card: Card, types: Types) -> Instance:
        slot.version = slot.version or self._version(slot.name, slot.type_name, types)
        return load_instance(self._files.find(slot.name), card, self._loaded.scrubber)


def _construct(binding_class: type[Binding], instance: Instance, resource_manager: ResourceManager) -> Binding:
    """Make the object with the arguments that its constructor accepts; what it forgets to set is set here."""
    parameters = inspect.signature(binding_class).parameters
    given: dict[str, Any] = {"config": dict(instance.settings), "resource_manager": resource_manager}
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) or set(given) <= set(parameters):
        binding = binding_class(**given)
    elif named := {name: value for name, value in given.items() if name in parameters}:
        binding = binding_class(**named)
    else:
        binding = binding_class(*list(given.values())[: len(parameters)])
    if not hasattr(binding, "config"):
        binding.config = given["config"]
    binding.resource_manager = binding.resource_manager or resource_manager
    binding.binding_instance_name = binding.binding_instance_name or instance.name
    binding.default_model_name = binding.default_model_name or instance.settings.get("default_model")
    return binding


async def _started(slot: Slot, surroundings: Surroundings, *, wait: bool) -> None:
    """Attach and start a binding. Raises what it raises, and `ModelLoadFailed` when its model is waited for in vain."""
    binding = slot.binding
    if binding is None:
        raise InstanceUnavailable("There is no binding to start.")
    binding.attach(surroundings)
    limit = asyncio.timeout(_LOAD_SECONDS)
    try:
        async with limit:
            await binding.start()
            while wait and _model_state(binding) == "loading":
                await asyncio.sleep(_LOOK)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise ModelLoadFailed(f"It was not ready within {_LOAD_SECONDS:g} seconds.") from error
    if wait and _model_state(binding) == "failed":
        _, words = await _health(binding)
        raise ModelLoadFailed(words)
    slot.capacity = binding.capacity


def _model_state(binding: Binding) -> ModelState:
    """How far the model is; a binding that cannot say so has none that could be used."""
    try:
        state = binding.model_state
    except Exception:
        return "failed"
    return state if state in ("loading", "ready") else "failed"


async def watch_health(slot: Slot, pause: float) -> None:
    """Ask a loaded binding how it is, as soon as its model is loaded or not; and again after `pause` seconds while it
    is not well: its backend may come up later."""
    binding = slot.binding
    if binding is None:
        return
    while _model_state(binding) == "loading":
        await asyncio.sleep(_LOOK)
    while True:
        healthy, words = await _health(binding)
        before, slot.ailment = slot.ailment, "" if healthy else words
        if healthy:
            if before:
                _log.info("Binding instance %r is healthy again.", slot.name)
            return
        if words != before:
            _log.warning("Binding instance %r is not healthy: %s", slot.name, words)
        await asyncio.sleep(pause)


async def _health(binding: Binding) -> tuple[bool, str]:
    """What its health check says; the words are never empty when it is not well."""
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            said: Any = binding.health_check()
            if inspect.isawaitable(said):
                said = await said
    except Exception as error:
        words = error.message if isinstance(error, LollmsError) else f"{type(error).__name__}: {error}"
        return False, words or "its health check failed."
    healthy, words = said if isinstance(said, tuple) and len(said) == 2 else (said, "")
    return bool(healthy), str(words) or "its health check failed."


async def stop_binding(slot: Slot) -> None:
    """Stop the binding of a slot, within ten seconds, and let go of it. Nothing is raised."""
    binding, slot.binding = slot.binding, None
    if binding is None:
        return
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await run_foreign(binding.stop, slot.name, _STOP_GRACE, slot.endless)
    except Exception:
        _log.exception("Binding instance %r did not stop cleanly.", slot.name)
