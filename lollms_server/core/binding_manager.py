"""Binding types and instances: what is found, what is loaded, and what failed and why.

Nothing here can keep the server from starting. Every instance of `bindings_map` is prepared by a task of its own while
the server already answers: its card and file are read, its code is imported on a thread, its object is made on the
event loop and started. Whoever asks for an instance in the meantime waits for it; one that failed is refused with 503
and the reason stands in the log, while the others serve.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from lollms_core.errors import ConfigError, InstanceUnavailable, InvalidRequest, LollmsError, NotFound
from lollms_runtime.files import open_to_others
from lollms_runtime.third_party import import_folder, missing_requirements
from lollms_server.core.bindings import Binding, ModelState, Surroundings
from lollms_server.core.config import LoadedConfig
from lollms_server.core.instances import CARD_NAME, Card, Instance, find_instance_file, load_card, load_instance
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.scheduler import Scheduler, instance_resource

__all__ = ["SHIPPED", "BindingManager", "Problem", "discover"]

SHIPPED = Path(__file__).resolve().parents[1] / "zoos" / "bindings"
_PACKAGE = "lollms_server.zoos.bindings"
_STOP_SECONDS = 10.0
_CHECK_SECONDS = 30.0

_log = logging.getLogger(__name__)

State = Literal["pending", "loaded", "failed"]


@dataclass(frozen=True)
class Problem:
    """Something that could not be loaded: the name of a folder or an instance, and a sentence."""

    name: str
    reason: str


@dataclass
class _Slot:
    """An instance of `bindings_map` on its way."""

    name: str
    type_name: str
    state: State = "pending"
    binding: Binding | None = None
    instance: Instance | None = None
    reason: str = ""
    settled: asyncio.Event = field(default_factory=asyncio.Event)


def discover(folders: Iterable[Path]) -> tuple[dict[str, Card], list[Problem]]:
    """The cards in folders of bindings, by type name; of two folders with the same type the first counts."""
    cards: dict[str, Card] = {}
    problems: list[Problem] = []
    for parent in folders:
        for folder in _subfolders(parent):
            try:
                card = load_card(folder)
            except LollmsError as error:
                problems.append(Problem(folder.name, error.message))
                continue
            if card.type_name in cards:
                other = cards[card.type_name].folder
                problems.append(Problem(folder.name, f"{folder}: {other} has the type {card.type_name} already."))
                continue
            cards[card.type_name] = card
    return cards, problems


def _subfolders(parent: Path) -> list[Path]:
    try:
        return sorted(folder for folder in parent.iterdir() if (folder / CARD_NAME).is_file())
    except OSError:
        return []  # a folder for one's own bindings need not exist


class BindingManager:
    """The bindings of a running server. Used on the event loop only."""

    def __init__(self, loaded: LoadedConfig, scheduler: Scheduler, resource_manager: ResourceManager) -> None:
        self._loaded = loaded
        self._scheduler = scheduler
        self._resource_manager = resource_manager
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = {name: _Slot(name, kind) for name, kind in loaded.config.bindings_map.items()}
        self.types: Mapping[str, Card] = {}
        self.problems: list[Problem] = []

    def add(self, name: str, binding: Binding) -> None:
        """Add an instance that was made elsewhere; before `start`."""
        slot = _Slot(name, binding.binding_type_name or type(binding).__name__, binding=binding)
        binding.binding_instance_name = binding.binding_instance_name or name
        self._slots[name] = slot

    async def start(self, surroundings: Surroundings) -> None:
        """Find the types and begin to load the instances; returns before they are loaded."""
        folders = self._loaded.folders
        places = [SHIPPED, *(f for f in (folders.example_bindings, folders.bindings) if f is not None and f != SHIPPED)]
        self.types, self.problems = discover(places)
        for problem in self.problems:
            _log.warning("The binding folder %s is left out: %s", problem.name, problem.reason)
        for slot in self._slots.values():
            self._spawn(self._load(slot, surroundings))

    async def stop(self) -> None:
        """Stop every binding; none can hold up the others for more than ten seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        bindings = [slot.binding for slot in self._slots.values() if slot.binding is not None]
        await asyncio.gather(*(_stop(binding) for binding in bindings))

    async def get(self, name: str) -> Binding:
        """The binding of an instance, when it is loaded. Raises `NotFound` and `InstanceUnavailable`."""
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
        if slot.state == "failed" or slot.binding is None:
            raise InstanceUnavailable(
                f"Binding instance {name!r} failed to load; the server's log says why.", param="binding_name"
            )
        return slot.binding

    async def for_request(self, name: str | None, generation_type: str) -> tuple[str, Binding]:
        """The named instance, else the default for a kind of generation; with its name.

        Raises `InvalidRequest` when there is neither, `NotFound` and `InstanceUnavailable`.
        """
        if name is None:
            name = getattr(self._loaded.config.defaults, f"{generation_type}_binding", None)
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
        slot = self._slots.get(name)
        binding = slot.binding if slot is not None and slot.state == "loaded" else None
        return name, binding or await self.get(name)

    def listed(self) -> dict[str, Mapping[str, Any]]:
        """The settings of all instances whose file could be read, without secrets."""
        return {name: shown for name, slot in self._slots.items() if (shown := _public(slot)) is not None}

    def active(self) -> dict[str, Mapping[str, Any]]:
        """The same for the instances that are loaded."""
        return {
            name: shown
            for name, slot in self._slots.items()
            if slot.state == "loaded" and (shown := _public(slot)) is not None
        }

    def failures(self) -> list[Problem]:
        """The instances that failed."""
        return [Problem(slot.name, slot.reason) for slot in self._slots.values() if slot.state == "failed"]

    @property
    def models(self) -> ModelState:
        """How far the models are: loading while any is, else failed if any instance is, else ready."""
        states = [_model_state(slot) for slot in self._slots.values()]
        if "loading" in states:
            return "loading"
        return "failed" if "failed" in states else "ready"

    # ---- loading

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, slot: _Slot, surroundings: Surroundings) -> None:
        try:
            if slot.binding is None:
                slot.binding = await self._make(slot)
            slot.binding.attach(surroundings)
            self._scheduler.set_capacity(instance_resource(slot.name), slot.binding.capacity)
            await slot.binding.start()
        except (Exception, SystemExit) as error:
            slot.state, slot.reason = "failed", _reason(error)
            known = isinstance(error, LollmsError)
            _log.error("Binding instance %r failed to load: %s", slot.name, slot.reason, exc_info=not known)
        else:
            slot.state = "loaded"
            _log.info("Binding instance %r is set up.", slot.name)
            self._spawn(_check(slot.name, slot.binding))
        finally:
            slot.settled.set()

    async def _make(self, slot: _Slot) -> Binding:
        """The object of an instance: settings from its file, code from the folder of its card."""
        card = self.types.get(slot.type_name)
        if card is None:
            known = ", ".join(sorted(self.types))
            raise ConfigError(f"bindings_map gives it the type {slot.type_name}, but there are only: {known}.")
        path = find_instance_file(self._loaded.folders.instances, slot.name)
        instance = load_instance(path, card, self._loaded.scrubber)
        for notice in instance.notices:
            _log.warning("%s", notice)
        installs = self._loaded.config.security.allow_runtime_installs
        module = await asyncio.to_thread(_import, card, installs)
        binding_class = _binding_class(module, card)
        binding = _construct(binding_class, instance, self._resource_manager)
        slot.instance = instance  # not before: what the binding refuses may be what must not be shown
        return binding


def _import(card: Card, allow_installs: bool) -> ModuleType:
    """The module of a card's folder; ours under its own name, others under a name that nothing else has."""
    if card.folder.parent == SHIPPED:
        return importlib.import_module(f"{_PACKAGE}.{card.folder.name}")
    for place in (card.folder.parent, card.folder, *card.folder.rglob("*.py")):
        if open_to_others(place) == "everybody can write":
            raise ConfigError(f"{place}: everybody can write here, so the code is not run. Run: chmod o-w '{place}'")
    try:
        return import_folder(card.folder, allow_installs=allow_installs)
    except ImportError as error:
        if missing := missing_requirements(card.requirements):
            raise ConfigError(f"It needs packages that are not installed: {', '.join(missing)} ({error}).") from error
        raise


def _binding_class(module: ModuleType, card: Card) -> type[Binding]:
    found = [each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, Binding)]
    for each in found:
        if each.binding_type_name == card.type_name and each.__module__.startswith(module.__name__):
            return each
    raise ConfigError(f"{card.folder} has no Binding class whose binding_type_name is {card.type_name!r}.")


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


async def _check(name: str, binding: Binding) -> None:
    """Ask the binding how it is, for the log: its backend may well come up later."""
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            healthy, words = await binding.health_check()
    except Exception as error:
        healthy, words = False, _reason(error)
    if not healthy:
        _log.warning("Binding instance %r is not healthy: %s", name, words)


async def _stop(binding: Binding) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await binding.stop()
    except Exception:
        _log.exception("Binding instance %r did not stop cleanly.", binding.binding_instance_name)


def _reason(error: BaseException) -> str:
    return error.message if isinstance(error, LollmsError) else f"{type(error).__name__}: {error}"


def _public(slot: _Slot) -> Mapping[str, Any] | None:
    if slot.instance is not None:
        return slot.instance.public
    if slot.binding is not None:
        return {"type": slot.type_name, "binding_instance_name": slot.name}
    return None


def _model_state(slot: _Slot) -> ModelState:
    if slot.state == "pending":
        return "loading"
    if slot.state == "failed" or slot.binding is None:
        return "failed"
    return slot.binding.model_state
