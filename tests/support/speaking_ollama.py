"""An Ollama server that says what a test makes of each request, for work of several calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import override

from tests.support.chaos import Connection
from tests.support.ollama_server import MODELS, OllamaServer

__all__ = ["SpeakingOllama"]


class SpeakingOllama(OllamaServer):
    """Its one model is `llama3`; `says` is given the body of a request and returns the answer."""

    def __init__(self, says: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self.models = {"llama3:latest": MODELS["llama3.2:latest"]}
        self._says = says

    @override
    def __enter__(self) -> SpeakingOllama:
        super().__enter__()
        return self

    @override
    async def _chat(self, connection: Connection, body: dict[str, Any], model: dict[str, Any]) -> None:
        plain = {name: value for name, value in body.items() if name != "format"}
        turn = {"role": "user", "content": self._says(body)}  # the server repeats what was said last
        await super()._chat(connection, {**plain, "messages": [turn]}, model)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was asked so far."""
        return [seen.json() for seen in self.asked("/api/chat")]
