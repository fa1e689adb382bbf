"""Which way the tokens of a text are found: by the binding itself, else by a tokenizer of this machine, else roughly.

Nothing here is ever fetched. A binding's own answer counts as exact. A tokenizer that is on this machine is chosen by
the model's name, which means what it says at OpenAI only: a compatible server may call any model `gpt-4`. There the
tokenizer is still the best guess at a number, and the number is marked as a guess; its tokens are not given out.

A binding may be anybody's code, so what it gives is checked. What takes long runs beside the event loop.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lollms_core.errors import EngineError, InvalidRequest, MissingDependency, UnsupportedFeature
from lollms_runtime.tokenizers import OfflineTokenizers, Tokenizer, vocabulary_of
from lollms_server.core.bindings import Binding, TokenCount
from lollms_server.core.bindings.foreign import translated
from lollms_server.core.bindings.http import HttpBinding

__all__ = ["Tokens", "aside"]

T = TypeVar("T")

_LARGE = 20_000  # characters or tokens; fewer take less time than a thread
_MOST = 2**63
_OPENAI = "openai_binding"


class Tokens:
    """The questions about tokens that a server answers; one object for all its requests."""

    def __init__(self, tokenizers: OfflineTokenizers | None = None) -> None:
        self._tokenizers = tokenizers or OfflineTokenizers()

    async def tokenize(
        self, binding: Binding, text: str, model: str | None = None, *, add_bos: bool = False, add_eos: bool = False
    ) -> list[int]:
        """The tokens of a text. Raises `UnsupportedFeature`, `InvalidRequest`, and what the binding raises.

        `add_bos` and `add_eos` are for the binding; OpenAI's vocabularies have no such tokens in a text.
        """
        try:
            given = await _ask(binding, binding.tokenize, text, add_bos=add_bos, add_eos=add_eos, model_name=model)
        except UnsupportedFeature as error:
            tokenizer = await self._exact(binding, model, error)
            return await aside(len(text), tokenizer.encode, text)
        return await aside(_size(given), _numbers, given, binding)

    async def detokenize(self, binding: Binding, tokens: list[int], model: str | None = None) -> str:
        """The text of tokens. Raises as `tokenize` does."""
        try:
            given = await _ask(binding, binding.detokenize, tokens, model_name=model)
        except UnsupportedFeature as error:
            tokenizer = await self._exact(binding, model, error)
            return await aside(len(tokens), tokenizer.decode, tokens)
        if not isinstance(given, str):
            raise _unusable(binding, "a text")
        # Tokens may stand for half of a character, which no encoding can say.
        return given.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    async def count(
        self, binding: Binding, text: str, model: str | None = None, *, add_bos: bool = False, add_eos: bool = False
    ) -> TokenCount:
        """How many tokens a text has, at least about. Raises what the binding raises if it can count."""
        with translated(binding):
            found = await binding.token_count(text, model, add_bos, add_eos)
        if not isinstance(found, TokenCount) or not _is_number(found.count):
            raise _unusable(binding, "a number of tokens")
        tokenizer = None if found.exact else await self._of(binding, model)
        if tokenizer is None:
            return found
        try:
            return TokenCount(await aside(len(text), tokenizer.count, text), _is_openai(binding))
        except InvalidRequest:
            return found  # no language has such words, so an estimate will do

    async def _exact(self, binding: Binding, model: str | None, error: UnsupportedFeature) -> Tokenizer:
        """The tokenizer of a model that is what its name says. Raises `UnsupportedFeature`, `MissingDependency`."""
        name = _name_of(binding, model)
        if not _is_openai(binding) or vocabulary_of(name) is None:
            raise UnsupportedFeature(
                f"Binding instance {binding.binding_instance_name!r} has no tokenizer for {name!r}. "
                "count_tokens gives an estimate.",
                param="binding_name",
            ) from error
        if (tokenizer := await self._of(binding, model)) is None:
            raise MissingDependency(
                "The tokenizers of OpenAI's models are not installed on the server. Run: lollms install tokenizers"
            ) from error
        return tokenizer

    async def _of(self, binding: Binding, model: str | None) -> Tokenizer | None:
        name = _name_of(binding, model)
        return None if vocabulary_of(name) is None else await asyncio.to_thread(self._tokenizers.for_model, name)


def _name_of(binding: Binding, model: str | None) -> str:
    return model or str(binding.default_model_name or "")


async def aside(size: int, function: Callable[..., T], *given: Any) -> T:
    """The function's result, from a thread when `size` says that it takes long."""
    return function(*given) if size <= _LARGE else await asyncio.to_thread(function, *given)


def _is_openai(binding: Binding) -> bool:
    """Whether an instance asks OpenAI itself, where names of models mean what they say."""
    if not isinstance(binding, HttpBinding) or binding.binding_type_name != _OPENAI:
        return False
    if binding.config.get("provider") not in (None, "", "openai"):
        return False
    return str(binding.config.get("base_url") or binding.default_url).rstrip("/") == binding.default_url


async def _ask(binding: Binding, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call a documented method, its model loaded, with those of the named arguments that its signature accepts."""
    with translated(binding):
        async with binding.model_ready(named["model_name"]):
            result = method(*given, **_accepted(method, named))
            return await result if inspect.isawaitable(result) else result


def _accepted(method: Callable[..., Any], named: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(method).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(named)
    return {name: value for name, value in named.items() if name in parameters}


def _size(given: Any) -> int:
    return len(given) if isinstance(given, Sequence) else 0


def _numbers(given: Any, binding: Binding) -> list[int]:
    if isinstance(given, str | bytes) or not isinstance(given, Sequence) or not all(map(_is_number, given)):
        raise _unusable(binding, "a list of token numbers")
    return list(given)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _unusable(binding: Binding, wanted: str) -> EngineError:
    return EngineError(f"Binding instance {binding.binding_instance_name!r} did not give {wanted}.")
