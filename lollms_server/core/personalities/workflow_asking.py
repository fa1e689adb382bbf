"""What all operations of scripts have in common: how they ask, and whose fault arguments are that cannot be used."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lollms_core.errors import InvalidRequest
from lollms_core.flows.base import Flow
from lollms_core.flows.spending import Limits
from lollms_core.types import GenerationCall
from lollms_server.core.personalities.workflow_flows import ScriptTool

__all__ = ["ScriptAsking", "limits_of", "scripts_fault"]

T = TypeVar("T")


@contextlib.contextmanager
def scripts_fault() -> Iterator[None]:
    """What a script gives and cannot be used is a ValueError: the script is at fault then, not its caller."""
    try:
        yield
    except InvalidRequest as error:
        raise ValueError(error.message) from error


class ScriptAsking(ABC):
    """What the operations of a binding are made of, for scripts. All are coroutines.

    What a script leaves out is taken from its request, as in `generate`: the model, the parameters, and the system
    message where `system_prompt` is None. `params` are further generation parameters, over those of the request. All
    raise the errors of the calls, and ValueError or TypeError for arguments that cannot be used.
    """

    @abstractmethod
    def _question(
        self, prompt: str, params: Mapping[str, Any], images: Sequence[Any] | None = None, system: str | None = None
    ) -> GenerationCall:
        """What the calls of an operation have in common."""

    @abstractmethod
    async def _run(self, call: GenerationCall, flow: Flow[T], tools: Mapping[str, ScriptTool] | None = None) -> T:
        """The result of a flow that asks as `call` does."""

    @property
    @abstractmethod
    def _at_once(self) -> int:
        """How many calls of one operation may run at once."""

    @abstractmethod
    async def _context_size(self, given: int | None) -> int:
        """The context of the model in tokens: what is given, else what the request says, else what is known of it."""


def limits_of(retries: int) -> Limits:
    """The limits of an operation that may ask so often again."""
    return Limits(calls=1 + max(0, retries))
