"""A binding of somebody else that ends as if it were cancelled, though nobody asked for it, is an error like others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from lollms_server.core.bindings import Binding
from tests.support.raw_http import ask, prompt
from tests.support.server import running_server


class GivingUp(Binding):
    binding_type_name = "giving_up"

    def __init__(self) -> None:
        self.config = {}
        self.default_model_name = "m"

    async def list_available_models(self) -> list[dict[str, Any]]:
        raise asyncio.CancelledError

    def get_supported_input_modalities(self) -> list[str]:
        return ["text"]

    def get_supported_output_modalities(self) -> list[str]:
        return ["text"]

    async def load_model(self, model_name: str) -> bool:
        return True

    async def unload_model(self) -> bool:
        return True

    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {}

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> str:
        raise asyncio.CancelledError

    async def generate_stream(
        self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None
    ) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "chunk", "content": "so far"}
        raise asyncio.CancelledError


def test_the_answer_has_the_form_of_every_answer() -> None:
    with running_server({"main": GivingUp()}) as server:
        whole = ask(server.port, "POST", "/api/v1/generate", prompt("x"), server.headers)
        assert (whole.status, whole.json()["code"]) == (500, "engine_error")
        streamed = ask(server.port, "POST", "/api/v1/generate", prompt("x", stream=True), server.headers)
        kinds = [event["type"] for event in streamed.events()]
        assert kinds == ["chunk", "error", "final"]
        models = ask(server.port, "GET", "/api/v1/list_available_models/main", None, server.headers)
        assert (models.status, models.json()["code"]) == (500, "engine_error")
        assert ask(server.port, "GET", "/health").status == 200
