"""Binding types: which folders hold one, and the class that its code gives.

A folder with a card is a type. The code of those that come with the server is simply imported. All other code is tried
in a child process first, whether an instance uses it or not, so that a folder that cannot be used is listed with its
reason, and none can end or stop the server. What passed is imported here when the first instance wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import lollms_server
from lollms_core.errors import ConfigError, LollmsError, StorageError
from lollms_runtime.files import open_to_others, read_text_strict
from lollms_runtime.import_probe import ImportFailed, Prober
from lollms_runtime.third_party import content_digest, import_folder, missing_requirements, places_of_code
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.instances import CARD_NAME, Card, load_card, text_digest
from lollms_server.core.problems import Problem, problem_of

__all__ = ["SHIPPED", "Types", "check_class", "code_digest", "discover"]

_STOP_SECONDS = 5.0
SHIPPED = Path(lollms_server.__file__).resolve().parent / "zoos" / "bindings"
_PACKAGE = "lollms_server.zoos.bindings"
_CHECK = f"{__name__}:check_class"

_log = logging.getLogger(__name__)
T = TypeVar("T")


def discover(folders: Iterable[Path], known: Iterable[Card] = ()) -> tuple[dict[str, Card], list[Problem]]:
    """The cards in folders of bindings, by type name; of two folders with the same type the first counts.

    Of `known` cards those that have not changed are taken as they are, which spares reading them again.
    """
    before = {card.file: card for card in known}
    cards: dict[str, Card] = {}
    problems: list[Problem] = []
    for parent in folders:
        for folder in _subfolders(parent):
            if not (folder / CARD_NAME).is_file():
                problems.append(Problem(folder.name, "it has code but no card; a binding needs both.", CARD_NAME))
                continue
            try:
                card = _card(folder, before.get(folder / CARD_NAME))
            except LollmsError as error:
                problems.append(problem_of(folder.name, error))
                continue
            if card.type_name in cards:
                other = cards[card.type_name].folder
                words = f"{other.parent.name}/{other.name} has the type {card.type_name} already; this one is left out."
                problems.append(Problem(folder.name, words, CARD_NAME))
                continue
            cards[card.type_name] = card
    return cards, problems


def _card(folder: Path, known: Card | None) -> Card:
    if known is not None:
        with contextlib.suppress(StorageError):  # to be told by what follows
            if text_digest(read_text_strict(known.file)) == known.digest:
                return known
    return load_card(folder)


def _subfolders(parent: Path) -> list[Path]:
    """The folders that are meant as bindings: with a card, or with code that lacks one."""
    try:
        return sorted(
            folder
            for folder in parent.iterdir()
            if not folder.name.startswith(("_", "."))
            and ((folder / CARD_NAME).is_file() or (folder / "__init__.py").is_file())
        )
    except OSError:
        return []  # a folder for one's own bindings need not exist


class Types:
    """The types of one discovery. Made on the event loop, on which the trials of their code begin at once.

    `cards` are those whose card is sound; `problems` are the folders that cannot be used, complete after `judged`.
    """

    def __init__(self, cards: Mapping[str, Card], problems: Iterable[Problem], prober: Prober) -> None:
        self.cards = cards
        self.problems = list(problems)
        self._prober = prober
        self._trials = {card.type_name: self._trial(card) for card in cards.values() if not _is_ours(card)}
        for problem in self.problems:
            _log.warning("A binding folder is left out: %s", problem)

    async def judged(self) -> None:
        """Wait until every type has been tried."""
        if trials := list(self._trials.values()):
            await asyncio.wait(trials)

    async def load(self, type_name: str) -> tuple[type[Binding], ModuleType]:
        """The class of a type and the module it lies in. Raises `ConfigError`, and whatever the code raises."""
        card = self.card(type_name)
        if trial := self._trials.get(type_name):
            await asyncio.shield(trial)
        if _is_ours(card):
            module = await asyncio.to_thread(importlib.import_module, f"{_PACKAGE}.{card.folder.name}")
        else:
            installs = self._prober.allow_installs
            module = await _on_a_thread(
                lambda: import_folder(card.folder, allow_installs=installs), self._prober.seconds
            )
        return _class_in(module, card.type_name), module

    def card(self, type_name: str) -> Card:
        """The card of a type. Raises `ConfigError`."""
        if card := self.cards.get(type_name):
            return card
        known = ", ".join(sorted(self.cards))
        broken = ", ".join(sorted({problem.name for problem in self.problems}))
        more = f" Folders that cannot be used: {broken}." if broken else ""
        raise ConfigError(f"bindings_map gives it the type {type_name}, but there are only: {known}.{more}")

    async def stop(self) -> None:
        """End the trials that run, with their processes."""
        for trial in self._trials.values():
            trial.cancel()
        if self._trials:
            await asyncio.wait(self._trials.values(), timeout=_STOP_SECONDS)

    def _trial(self, card: Card) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._try(card))
        task.add_done_callback(lambda done: self._note(card, done))
        return task

    def _note(self, card: Card, trial: asyncio.Task[None]) -> None:
        if trial.cancelled() or (error := trial.exception()) is None:
            return
        self.problems.append(problem_of(card.folder.name, error, card.folder))
        _log.error("The binding folder %s cannot be used: %s", card.folder, error)

    async def _try(self, card: Card) -> None:
        """Raises `ConfigError` when the code of a type cannot be used."""
        await asyncio.to_thread(_check_writers, card)
        try:
            await self._prober.probe(card.folder, check=_CHECK, about=card.type_name)
        except ImportFailed as error:
            raise _explained(error, card) from error


def code_digest(card: Card) -> str:
    """A hash of the code of a type; "" for ours, which does not change while it runs."""
    return "" if _is_ours(card) else content_digest(card.folder)


def check_class(module: ModuleType, type_name: str) -> None:
    """Raises `ConfigError` unless a module has a class for this type that can be made."""
    lacking = sorted(getattr(_class_in(module, type_name), "__abstractmethods__", ()))
    if lacking:
        raise ConfigError(f"its class is abstract: it lacks {', '.join(lacking)}.")


def _class_in(module: ModuleType, type_name: str) -> type[Binding]:
    found = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Binding) and each.__module__.startswith(module.__name__)
    ]
    for each in found:
        if each.binding_type_name == type_name:
            return each
    if not found:
        raise ConfigError("its __init__.py has no Binding class.")
    said = ", ".join(f"{each.__name__} says {each.binding_type_name!r}" for each in found)
    raise ConfigError(f"none of its classes has the binding_type_name {type_name!r} of its card: {said}.")


def _is_ours(card: Card) -> bool:
    return card.folder.parent == SHIPPED


def _check_writers(card: Card) -> None:
    """Code that everybody can write is not run, not even to try it."""
    for place in (card.folder.parent, card.folder, *places_of_code(card.folder)):
        if open_to_others(place) == "everybody can write":
            raise ConfigError(f"{place}: everybody can write here, so the code is not run. Run: chmod o-w '{place}'")


def _explained(error: ImportFailed, card: Card) -> ConfigError:
    """A failed import in terms of the card: the packages it asks for, where those are missing."""
    if error.kind in ("ImportError", "ModuleNotFoundError"):
        with contextlib.suppress(LollmsError):
            if missing := missing_requirements(card.requirements):
                said = error.message
                return ConfigError(f"It needs packages that are not installed: {', '.join(missing)} ({said})")
    return error


async def _on_a_thread(work: Callable[[], T], seconds: float) -> T:
    """Import on a thread of its own: should it never come back, it keeps nobody's place and the process can end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # without an error there is a result

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:
            error = raised if not isinstance(raised, StopIteration) else ConfigError("its import raised StopIteration.")
        except BaseException as raised:  # what would end the server
            error = ConfigError(f"its import raised {type(raised).__name__}.")
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="lollms-import", daemon=True).start()
    try:
        return await asyncio.wait_for(done, seconds)
    except TimeoutError:
        if done.done() and not done.cancelled():
            raise  # it is what the import raised
        raise ConfigError(f"its import did not end within {seconds:g} seconds.") from None
