"""Bindings whose engines run on this machine, each model in a process of its own.

A process starts with the first call, so that making a client costs nothing. It ends with `close()`, when the binding is
dropped, when another model needs its place, and at the latest when the program ends, however it does; the engine itself
sees to the last, and to forked children.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from typing_extensions import override

from lollms_client.engine_pool import EnginePool
from lollms_client.native_binding import NativeBinding
from lollms_core.errors import Cancelled, LollmsError, ModelNotFound
from lollms_core.types import Batch, GenerationCall, Params
from lollms_runtime.cancel import Cancel, current_cancel
from lollms_runtime.models import EMBEDDED, find_model, pulled_models
from lollms_runtime.waiting import result_of

if TYPE_CHECKING:
    from lollms_runtime.engines.local_engine import LocalEngine

__all__ = ["EngineBinding"]

_CEILING = Params(max_tokens=4096)  # where nobody set a limit; an engine would go on until its context is full


class EngineBinding(NativeBinding):
    """A binding over local engines, one for each model that is in use.

    Class attribute: `keeps_models`, whether the models used before stay loaded when `load_model` goes to another.

    Attributes: `model_name`; `models_path`, the folder in which model names are looked up, or None; `max_models`, how
    many models may run at once.
    """

    keeps_models: ClassVar[bool] = False

    def __init__(self, model_name: str | None, models_path: str | Path | None, max_models: int) -> None:
        """Raises `ModelNotFound` when there is no such model. Nothing is started."""
        super().__init__(type(self).binding_name)
        self.models_path = Path(models_path).expanduser() if models_path else None
        self.model_name = str(model_name or EMBEDDED)
        self.max_models = max_models
        self._paths: dict[str, Path] = {}
        self.path_of(None)
        self._pool = EnginePool(max_models)

    @abstractmethod
    def make_engine(self, model: Path) -> LocalEngine:
        """An engine for a model file, not started."""

    def path_of(self, model_name: str | None) -> Path:
        """The file of a model, of the current one unless named. Raises `ModelNotFound`."""
        name = model_name or self.model_name or EMBEDDED
        path = self._paths.get(name)
        if path is None or not path.is_file():  # to look for it again would list all folders, on the event loop as well
            path = self._paths[name] = find_model(name, self.models_path)
        return path

    def engine(self, model_name: str | None = None) -> LocalEngine:
        """The engine of a model, of the current one unless named; it starts with its first use.

        Raises `ModelNotFound`, `ConfigError` for settings that no engine can have, and `Overloaded`.
        """
        with self._using(model_name) as engine:
            return engine

    def prepared(self, call: GenerationCall) -> GenerationCall:
        """The call as the engine gets it: with a limit where it has none."""
        if call.params.max_tokens is not None:
            return call
        return msgspec.structs.replace(call, params=call.params.over(_CEILING))

    @override
    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        """Ask the model, waiting for it to load; see `NativeBinding.open`. Raises `Overloaded`."""
        with self._using(call.model) as engine, engine.open(self.prepared(call), cancel) as batches:
            yield batches

    @override
    @contextlib.asynccontextmanager
    async def aopen(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """As `open`, on the event loop itself; cancelling the task stops the request."""
        async with (
            self._pool.ausing(self.path_of(call.model), self.make_engine) as engine,
            engine.aopen(self.prepared(call)) as batches,
        ):
            yield batches

    @override
    def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text as numbers. Waits for the model to load."""
        with self._using() as engine:
            return engine.tokenize(text)

    @override
    def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens. Waits for the model to load."""
        with self._using() as engine:
            return engine.detokenize(tokens)

    @override
    def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these. `model` names the model.

        Raises `UnsupportedFeature` unless the binding was made with `embedding=True`.
        """
        with self._using(kwargs.get("model") or kwargs.get("model_name")) as engine:
            found = engine.embed([text] if isinstance(text, str) else list(text))
        vectors = [list(vector) for vector in found.vectors]
        return vectors[0] if isinstance(text, str) else vectors

    @override
    def get_model_info(self) -> dict[str, Any]:
        """The current model: `context_size` in tokens, what it supports, its file. Waits for the model to load."""
        with self._using() as engine:
            info = engine.model_info()
        facts = {name: getattr(info, name) for name in info.__struct_fields__ if name not in ("name", "details")}
        return {**super().get_model_info(), "path": str(self.path_of(None)), **facts}

    @override
    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context of one conversation in tokens. Waits for the model to load."""
        with self._using(model_name) as engine:
            return engine.model_info().context_size

    @override
    def load_model(self, model_name: str) -> bool:
        """Use another model, and wait until it is loaded.

        Returns False, and stays with the one before, when there is no such model or it cannot be loaded; the log then
        says why. Where the binding keeps no models, the engines of others are ended first, which frees their memory.
        """
        try:
            path = self.path_of(model_name)
            if not self.keeps_models:
                self._pool.stop_all(keep=path)
            with self._using(model_name) as engine:
                engine.start()  # again, should it have failed before
                loaded = engine.ready()
                with current_cancel().undoing(functools.partial(_give_up, loaded)):
                    result_of(loaded)
        except Cancelled:
            raise
        except LollmsError as error:
            if not isinstance(error, ModelNotFound):
                logging.getLogger("lollms_client").warning("The model %r is not used: %s", model_name, error)
            return False
        self.model_name = model_name
        return True

    def unload_model(self, model_name: str | None = None) -> bool:
        """End the engine of a model, of the current one unless named, also while it answers; its next use starts it.

        Returns whether there was one.
        """
        try:
            return self._pool.stop(self.path_of(model_name))
        except ModelNotFound:
            return False

    def ps(self) -> list[dict[str, Any]]:
        """What runs: a dictionary for each engine that was started.

        `model_name`; `path` of its file; `state` (`loading`, `ready` or `failed`); `pid`, None while it loads; `slots`,
        how many calls it works on at once; `calls`, how many there are now.
        """
        return [
            {
                "model_name": running.engine.settings.name,
                "path": str(path),
                "state": running.engine.state,
                "pid": running.engine.pid,
                "slots": running.engine.settings.parallel,
                "calls": running.calls,
            }
            for path, running in self._pool.all()
            if running.engine.state != "stopped"
        ]

    @override
    def list_models(self) -> list[Any]:
        """The embedded model, the GGUF files of `models_path`, and those that were pulled.

        Each is a dictionary: `model_name`, `path_hint`, `size_gb`. What only goes with a model is left out, and so are
        all but the first file of a split one.
        """
        from lollms_runtime.models.names import is_companion, part_of

        folders = [self.models_path, self.models_path / "gguf"] if self.models_path else []
        files = [path for folder in folders for path in sorted(folder.glob("*.gguf")) if path.is_file()]
        models = [path for path in files if not is_companion(path.name)]
        whole = [path for path in models if (part := part_of(path.name)) is None or part.number == 1]
        found = [_entry(EMBEDDED, find_model(EMBEDDED)), *(_entry(path.name, path) for path in whole)]
        listed = {each["path_hint"] for each in found}
        pulled = [each for each in pulled_models() if str(each.path) not in listed]
        return [*found, *(_entry(each.name, each.path, each.size) for each in pulled)]

    @override
    def close(self) -> None:
        """End the engines. The next call starts them again."""
        self._pool.stop_all()

    def _using(self, model_name: str | None = None) -> contextlib.AbstractContextManager[LocalEngine]:
        return self._pool.using(self.path_of(model_name), self.make_engine)


def _entry(name: str, path: Path, size: int | None = None) -> dict[str, Any]:
    size = path.stat().st_size if size is None else size
    return {"model_name": name, "path_hint": str(path), "size_gb": round(size / 1e9, 3)}


def _give_up(loaded: Future[Any]) -> None:
    loaded.cancel()
