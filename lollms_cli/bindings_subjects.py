"""What `lollms bindings test` tries: a binding of the library, an instance of a running server, or one loaded here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from lollms_core.errors import LollmsError, MissingDependency, ModelLoadFailed, UnsupportedFeature, UpstreamError
from lollms_core.types import Batch, GenerationCall

if TYPE_CHECKING:
    from lollms_cli.backend import Backend
    from lollms_client.lollms_llm_binding import LollmsLLMBinding
    from lollms_server.core.bindings import Binding
    from lollms_server.core.bindings.instances import Card, Instance
    from lollms_server.core.config import LoadedConfig

__all__ = ["InstanceSubject", "LibrarySubject", "loaded_here"]


class LibrarySubject:
    """A binding of the library; an instance of a running server is asked through one, too."""

    def __init__(self, binding: LollmsLLMBinding, backend: Backend, model: str) -> None:
        from lollms_client.http_binding import HttpBinding
        from lollms_runtime.secrets import Scrubber

        self._binding = binding
        self._backend = backend
        self._scrubber = Scrubber()
        self.model = model or binding.model_name or ""
        self.has_key: bool | None = None
        if isinstance(binding, HttpBinding):
            key = binding.find_key()
            self._scrubber.add(key)
            if not backend.is_server:
                self.has_key = bool(key)

    async def models(self) -> list[str]:
        """The names of the models, as the binding lists them."""
        from lollms_runtime.threads import run_in_thread

        with _typed():
            found = await run_in_thread(self._binding.list_models)
            return [str(each.get("model_name") or "") if isinstance(each, dict) else str(each) for each in found]

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the model."""
        from lollms_client.ports import AsyncBindingPorts

        return _typed_block(AsyncBindingPorts(self._binding).open(call))

    async def sees(self) -> bool:
        """Whether the model may see: the binding says so, or takes images where nobody knows of single models.

        A server knows that of its instances and says it when it is sent an image, before anybody else is asked.
        """
        from lollms_client.http_binding import HttpBinding
        from lollms_runtime.threads import run_in_thread

        if self._backend.is_server:
            return True
        if isinstance(self._binding, HttpBinding) and not self._binding.catalog.about_models:
            return "image" in self._binding.catalog.modalities
        if self.model:
            self._binding.model_name = self.model
        with _typed():
            return (await run_in_thread(self._binding.get_model_info)).get("supports_vision") is True

    async def embed(self, text: str) -> Sequence[float]:
        """The vector of a text."""
        from lollms_runtime.threads import run_in_thread

        with _typed():
            return list(await run_in_thread(self._binding.embed, text))

    async def count(self, text: str) -> tuple[int, bool]:
        """How many tokens a text has; exact where the binding has its tokens, or its provider says so."""
        from lollms_runtime.threads import run_in_thread

        with _typed():
            return await run_in_thread(self._count, text)

    def _count(self, text: str) -> tuple[int, bool]:
        from lollms_client.asking import ask
        from lollms_client.http_binding import HttpBinding

        with contextlib.suppress(UnsupportedFeature, MissingDependency):
            return len(self._binding.tokenize(text)), True
        if isinstance(self._binding, HttpBinding) and not self._backend.is_server:
            with contextlib.suppress(UnsupportedFeature):
                binding = self._binding
                return ask(binding.catalog.count(text, self.model, binding.target), binding.fetch)
        return self._binding.count_tokens(text), False

    def in_words(self, error: LollmsError) -> str:
        """An error in words of the command line."""
        from lollms_cli.backend import in_words_of_the_command

        return self._scrubber.clean(str(in_words_of_the_command(error, self._backend)) or error.code)


class InstanceSubject:
    """An instance that was loaded in this process."""

    def __init__(self, binding: Binding, instance: Instance, loaded: LoadedConfig, model: str) -> None:
        self._binding = binding
        self._scrubber = loaded.scrubber
        self.model = model or str(binding.default_model_name or "")
        secrets = [instance.settings.get(path[0]) for path in instance.secret_paths if len(path) == 1]
        self.has_key: bool | None = any(secrets) if secrets else None

    async def models(self) -> list[str]:
        """The names of the models, as the instance lists them."""
        with _typed():
            return [str(each.get("name") or "") for each in await self._binding.list_available_models()]

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the model."""
        return _typed_block(self._binding.open(call))

    async def sees(self) -> bool:
        """Whether the server would hand an image to the model."""
        with _typed():
            return "image" in await self._binding.get_model_input_modalities(self.model)

    async def embed(self, text: str) -> Sequence[float]:
        """The vector of a text, as the server asks where nobody names a model: the one that answers may not embed."""
        with _typed():
            return list((await self._binding.embed([text], None)).vectors[0])

    async def count(self, text: str) -> tuple[int, bool]:
        """How many tokens a text has."""
        with _typed():
            counted = await self._binding.token_count(text, self.model or None)
            return counted.count, counted.exact

    def in_words(self, error: LollmsError) -> str:
        """An error without the secrets of the configuration."""
        return self._scrubber.clean(str(error) or error.code)


@contextlib.contextmanager
def _typed() -> Iterator[None]:
    """What the code of others raises becomes an error of ours: it is a finding, and not the end of the test."""
    try:
        yield
    except (LollmsError, TimeoutError):
        raise
    except NotImplementedError as error:
        raise UnsupportedFeature(str(error) or "The binding cannot do this.") from error
    except Exception as error:
        raise UpstreamError(f"The binding raised {type(error).__name__}: {error}") from error


@contextlib.asynccontextmanager
async def _typed_block(
    opened: AbstractAsyncContextManager[AsyncIterator[Batch]],
) -> AsyncIterator[AsyncIterator[Batch]]:
    with _typed():
        async with opened as batches:
            yield batches


@contextlib.asynccontextmanager
async def loaded_here(name: str, card: Card, loaded: LoadedConfig, model: str) -> AsyncIterator[InstanceSubject]:
    """Inside the block one instance of a configuration is loaded, as the server would load it, and no other.

    Raises `ModelLoadFailed` with the reason when it cannot be.
    """
    from lollms_runtime.import_probe import Prober
    from lollms_server.core.bindings import Surroundings
    from lollms_server.core.bindings.discovery import Types
    from lollms_server.core.bindings.slots import Maker, Slot, stop_binding
    from lollms_server.core.resource_manager import ResourceManager

    config = loaded.config
    prober = Prober(config.limits.import_timeout, allow_installs=config.security.allow_runtime_installs)
    surroundings = Surroundings(
        loaded.folders.models,
        default_context_size=config.defaults.default_context_size,
        default_max_output_tokens=config.defaults.default_max_output_tokens,
    )
    types = Types({card.type_name: card}, (), prober)
    slot = Slot(name, card.type_name)
    with _quiet():  # what failed is said once, by the command
        try:
            manager = ResourceManager(config.resource_manager.model_dump())
            await Maker(loaded, manager).bring_up(slot, types, surroundings, wait=True)
            if slot.binding is None or slot.instance is None:
                raise ModelLoadFailed(slot.problem.told if slot.problem is not None else "It could not be loaded.")
            yield InstanceSubject(slot.binding, slot.instance, loaded, model)
        finally:
            await stop_binding(slot)
            await types.stop()
            await surroundings.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The server's log goes nowhere in the block, unless somebody listens to it."""
    logger, nowhere = logging.getLogger("lollms_server"), logging.NullHandler()
    logger.addHandler(nowhere)
    try:
        yield
    finally:
        logger.removeHandler(nowhere)
