"""Types whose instance files load as they are while this version cannot do their work: requests are refused (501)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from typing_extensions import override

from lollms_core.errors import UnsupportedFeature
from lollms_core.types import Batch, GenerationCall
from lollms_server.core.bindings.native import NativeBinding

__all__ = ["AnnouncedBinding"]


class AnnouncedBinding(NativeBinding):
    """An instance that keeps its settings and its place; `makes` is what it will make."""

    makes: ClassVar[str] = "image"

    @override
    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        raise self._not_yet()

    @override
    def get_supported_output_modalities(self) -> list[str]:
        return [self.makes]

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in (self.default_model_name,) if name]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        """Raises `UnsupportedFeature`."""
        raise self._not_yet()

    @override
    async def health_check(self) -> tuple[bool, str]:
        return True, self._not_yet().message

    def _not_yet(self) -> UnsupportedFeature:
        return UnsupportedFeature(f"Instances of {self.binding_type_name} make no {self.makes} in this version.")
