"""The caller's function that finds passages, as a tool of a flow."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Generator
from typing import Any

from lollms_client.callbacks import is_async
from lollms_client.ports import Tools
from lollms_core.errors import CallbackFailed, InvalidRequest
from lollms_core.flows.passages import as_json
from lollms_core.flows.rag import SEARCH

__all__ = ["search_tools"]


def search_tools(function: Any) -> Tools:
    """The tool that a flow searches with, from a function `(query, vectorizer, top_k, min_similarity_percent)`.

    The function is given its arguments by position, and may be a coroutine function for a client that waits for these.
    What it returns travels as JSON text. Raises `InvalidRequest` for what cannot be called.
    """
    if not callable(function):
        kind = type(function).__name__
        words = f"rag_query_function is a {kind}, which cannot be called; a function that finds passages is needed."
        raise InvalidRequest(words, param="rag_query_function")
    if is_async(function):

        async def find_later(query: str, vectorizer: str | None, top_k: int, min_similarity: float) -> str:
            try:
                return as_json(await function(query, vectorizer, top_k, min_similarity))
            except Exception as error:
                raise _failed(error) from error

        return {SEARCH: find_later}

    def find(query: str, vectorizer: str | None, top_k: int, min_similarity: float) -> str | Awaitable[str]:
        try:
            found = function(query, vectorizer, top_k, min_similarity)
            return _Later(found) if inspect.isawaitable(found) else as_json(found)
        except Exception as error:
            raise _failed(error) from error

    return {SEARCH: find}


class _Later:
    """The text of what an awaitable gives; `close` is for those who do not wait for it."""

    def __init__(self, found: Awaitable[Any]) -> None:
        self._found = found

    def __await__(self) -> Generator[Any, None, str]:
        return self._text().__await__()

    async def _text(self) -> str:
        try:
            return as_json(await self._found)
        except Exception as error:
            raise _failed(error) from error

    def close(self) -> None:
        if inspect.iscoroutine(self._found):
            self._found.close()


def _failed(error: Exception) -> CallbackFailed:
    if isinstance(error, CallbackFailed) and error.param == "rag_query_function":
        return error
    words = f"The function that finds passages raised {type(error).__name__}: {error}"
    return CallbackFailed(words, param="rag_query_function")
