"""What is needed of the body of a generate request, whichever reader made it.

Bodies come from two readers, the documented models and the struct of the quick route; both are treated by the same
code, which knows them by these protocols only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lollms_core.protocols.lollms_input import InputData

__all__ = ["Asked", "AskedFunction", "AskedTool"]


class AskedFunction(Protocol):
    """A function that the model may ask for."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


class AskedTool(Protocol):
    """A tool that is offered."""

    @property
    def function(self) -> AskedFunction: ...


class Asked(Protocol):
    """The body of a generate request."""

    @property
    def input_data(self) -> Sequence[InputData]: ...
    @property
    def personality(self) -> str | None: ...
    @property
    def binding_name(self) -> str | None: ...
    @property
    def model_name(self) -> str | None: ...
    @property
    def generation_type(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def functions(self) -> Sequence[str] | None: ...
    @property
    def tools(self) -> Sequence[AskedTool] | None: ...
    @property
    def response_schema(self) -> Mapping[str, Any] | None: ...
