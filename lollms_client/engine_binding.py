"""Bindings whose engine runs on this machine, in a process of its own.

The process starts with the first call, so that making a client costs nothing. It ends with `close()`, when the binding
is dropped, and at the latest when the program ends, however it does; the engine itself sees to the last two, and to
forked children.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from lollms_client.native_binding import NativeBinding
from lollms_core.errors import InvalidRequest, ModelNotFound
from lollms_core.types import Batch, GenerationCall, ModelInfo, Params
from lollms_runtime.cancel import Cancel
from lollms_runtime.models import EMBEDDED, find_model

if TYPE_CHECKING:
    from lollms_runtime.engines.llamacpp import LlamaCppEngine
    from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings

__all__ = ["EngineBinding", "LlamaCppBinding"]

_CEILING = 4096  # tokens of an answer when nobody set a limit; an engine would go on until its context is full


class EngineBinding(NativeBinding):
    """A binding over local engines, one for each model that is in use.

    Attributes: `model_name`; `models_path`, the folder in which model names are looked up, or None.
    """

    def __init__(self, model_name: str | None, models_path: str | Path | None) -> None:
        """Raises `ModelNotFound` when there is no such model. Nothing is started."""
        super().__init__(type(self).binding_name)
        self.models_path = Path(models_path).expanduser() if models_path else None
        self.model_name = str(model_name or EMBEDDED)
        find_model(self.model_name, self.models_path)
        self._lock = threading.Lock()
        self._engines: dict[Path, LlamaCppEngine] = {}
        weakref.finalize(self, _stop_all, self._engines)

    @abstractmethod
    def make_engine(self, model: Path) -> LlamaCppEngine:
        """An engine for a model file, not started."""

    def engine(self, model_name: str | None = None) -> LlamaCppEngine:
        """The engine of a model, of the current one unless named; it starts with its first use.

        Raises `ModelNotFound`, and `ConfigError` for settings that no engine can have.
        """
        path = find_model(model_name or self.model_name or EMBEDDED, self.models_path)
        with self._lock:
            if path not in self._engines:
                self._engines[path] = self.make_engine(path)
            return self._engines[path]

    @override
    def open(self, call: GenerationCall, cancel: Cancel) -> contextlib.AbstractContextManager[Iterator[Batch]]:
        """Ask the model, waiting for it to load; see `NativeBinding.open`."""
        if call.params.max_tokens is None:
            params = msgspec.structs.replace(call.params, max_tokens=_CEILING)
            call = msgspec.structs.replace(call, params=params)
        return self.engine(call.model).open(call, cancel)

    @override
    def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text as numbers. Waits for the model to load."""
        return self.engine().tokenize(text)

    @override
    def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens. Waits for the model to load."""
        return self.engine().detokenize(tokens)

    @override
    def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these.

        Raises `UnsupportedFeature` unless the binding was made with `embedding=True`.
        """
        found = self.engine().embed([text] if isinstance(text, str) else list(text))
        vectors = [list(vector) for vector in found.vectors]
        return vectors[0] if isinstance(text, str) else vectors

    @override
    def get_model_info(self) -> dict[str, Any]:
        """The current model: `context_size` in tokens, what it supports, its file. Waits for the model to load."""
        info = self._info(None)
        facts = {name: getattr(info, name) for name in info.__struct_fields__ if name not in ("name", "details")}
        path = find_model(self.model_name or EMBEDDED, self.models_path)
        return {**super().get_model_info(), "path": str(path), **facts}

    @override
    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context of one conversation in tokens. Waits for the model to load."""
        return self._info(model_name).context_size

    @override
    def load_model(self, model_name: str) -> bool:
        """Use another model and end the engines of those before. Returns False when there is no such model."""
        try:
            path = find_model(model_name, self.models_path)
        except ModelNotFound:
            return False
        self.model_name = model_name
        self._stop(keep=path)
        return True

    @override
    def list_models(self) -> list[Any]:
        """The embedded model and the GGUF files of `models_path`: `model_name`, `path_hint`, `size_gb`."""
        folders = [self.models_path, self.models_path / "gguf"] if self.models_path else []
        files = [path for folder in folders for path in sorted(folder.glob("*.gguf")) if path.is_file()]
        found = [(EMBEDDED, find_model(EMBEDDED)), *((path.name, path) for path in files)]
        return [
            {"model_name": name, "path_hint": str(path), "size_gb": round(path.stat().st_size / 1e9, 3)}
            for name, path in found
        ]

    @override
    def close(self) -> None:
        """End the engines. The next call starts them again."""
        self._stop()

    def _info(self, model_name: str | None) -> ModelInfo:
        return self.engine(model_name).model_info()

    def _stop(self, keep: Path | None = None) -> None:
        with self._lock:
            ending = [self._engines.pop(path) for path in tuple(self._engines) if path != keep]
        for engine in ending:
            engine.stop()


def _stop_all(engines: dict[Path, LlamaCppEngine]) -> None:
    while engines:
        engines.popitem()[1].stop()


class LlamaCppBinding(EngineBinding):
    """GGUF models on this machine, run by llama.cpp."""

    binding_name = "pythonllamacpp"

    def __init__(
        self,
        model_name: str | None = None,
        models_path: str | Path | None = None,
        model_path: str | Path | None = None,
        n_ctx: int | None = None,
        n_gpu_layers: int | None = None,
        n_threads: int | None = None,
        seed: int | None = None,
        chat_format: str | None = None,
        clip_model_path: str | Path | None = None,
        embedding: bool = False,
        parallel: int | None = None,
        server_path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """`model_name` or `model_path` is the path of a GGUF file, a name in `models_path`, or `lollms-nano`.

        `n_ctx` is the context of one conversation in tokens, `n_gpu_layers` -1 means as many as fit, `seed` -1 means a
        different one each time; `chat_format` is llama.cpp's name of a chat template instead of the model's own;
        `clip_model_path` the file with which a model sees images; `embedding` allows `embed`; `parallel` is how many
        calls are worked on at once; `server_path` a `llama-server` program to run instead of the built-in engine.
        `config` may hold the same settings.

        Raises `ModelNotFound`, `UnsupportedFeature` for an unknown chat format, `InvalidRequest` for a setting of a
        wrong type, `ConfigError` for one out of bounds.
        """
        given = {
            "n_ctx": n_ctx,
            "n_gpu_layers": n_gpu_layers,
            "n_threads": n_threads,
            "seed": seed,
            "chat_format": chat_format,
            "clip_model_path": clip_model_path,
            "embedding": embedding,
            "parallel": parallel,
            "server_path": server_path,
        }
        if unknown := sorted(set(config or {}) - set(given)):
            raise InvalidRequest(f"config has {', '.join(unknown)}; there are {', '.join(given)}.", param=unknown[0])
        super().__init__(model_name or (str(model_path) if model_path else None), models_path)
        settings = {**given, **(config or {})}
        for name in ("n_ctx", "n_gpu_layers", "n_threads", "seed", "parallel"):
            value = settings[name]
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise InvalidRequest(f"{name} is {value!r}; it must be a whole number.", param=name)
        self._given = settings
        self._settings_for(find_model(self.model_name or EMBEDDED, self.models_path))

    @override
    def make_engine(self, model: Path) -> LlamaCppEngine:
        """An engine with the settings of this binding, not started."""
        from lollms_runtime.engines.llamacpp import LlamaCppEngine

        return LlamaCppEngine(self._settings_for(model))

    @override
    def open(self, call: GenerationCall, cancel: Cancel) -> contextlib.AbstractContextManager[Iterator[Batch]]:
        """Ask the model, with the seed of this binding where the call has none; see `EngineBinding.open`."""
        seed = self._given["seed"]
        if seed is not None and seed >= 0:
            params = call.params.over(Params(seed=seed))
            call = msgspec.structs.replace(call, params=params)
        return super().open(call, cancel)

    def _settings_for(self, model: Path) -> LlamaCppSettings:
        from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings

        given = self._given
        projector, program = given["clip_model_path"], given["server_path"]
        more = {} if given["parallel"] is None else {"parallel": given["parallel"]}
        return LlamaCppSettings(
            model=model,
            alias=EMBEDDED if model == find_model(EMBEDDED) else "",
            context_size=given["n_ctx"] or None,
            threads=given["n_threads"] or None,
            gpu_layers=-1 if given["n_gpu_layers"] is None else given["n_gpu_layers"],
            chat_format=given["chat_format"] or None,
            embedding=bool(given["embedding"]),
            image_projector=find_model(str(projector), self.models_path) if projector else None,
            server_path=Path(program) if program else None,
            **more,
        )
