"""The documented helpers of a binding, which ask for what a program can use: JSON, code blocks, yes or no.

They are the flows of `lollms_core.flows`, as everywhere. A binding that speaks in events is asked through `open`, so
that a backend holds its answer to a schema where it can. Any other is asked through its own `generate`, as it is
documented, and not through the gate in front of its models: a helper may be called from inside of `generate`, where
its writer has the model already.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lollms_core.errors import StructuredOutputError, UnsupportedFeature
from lollms_core.flows.base import Flow
from lollms_core.flows.codegen import code_blocks
from lollms_core.flows.questions import Wanted, decide
from lollms_core.flows.shapes import Shape
from lollms_core.flows.spending import Limits
from lollms_core.flows.structured import structured
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.text.tokens import estimate
from lollms_core.types import Batch, GenerationCall, ToolCall
from lollms_runtime.async_drive import Sink, adrive
from lollms_server.core.bindings.adapter import LoadedModel, documented_arguments, read_answer
from lollms_server.core.bindings.answers import AnswerReader
from lollms_server.utils.helpers import extract_code_blocks

if TYPE_CHECKING:
    from lollms_server.core.bindings import Binding

__all__ = ["Asking"]

T = TypeVar("T")

_OF_THE_CALL = ("messages", "tools", "response_schema")  # in the information of a request


class Asking(NamedTuple):
    """Who is asked and with what, as for `generate`; `retries` is how often again."""

    binding: Binding
    params: dict[str, Any]
    request_info: dict[str, Any]
    multimodal_data: list[dict[str, Any]]
    retries: int = 2

    @property
    def limits(self) -> Limits:
        """How many calls that makes."""
        return Limits(calls=1 + max(0, self.retries))

    async def value(self, prompt: str, schema: Mapping[str, Any]) -> Any:
        """The value that the model answers, which obeys a JSON Schema. Raises `StructuredOutputError`.

        TypeError for what is no schema.
        """
        if not isinstance(schema, Mapping):
            raise TypeError(f"output_schema must be a dictionary with a JSON Schema, not {type(schema).__name__}")
        told = f"It must obey this JSON Schema:\n{json.dumps(schema, ensure_ascii=False)}"
        shape = Shape(schema, told, SchemaChecker(schema).check)
        return (await self.run(prompt, lambda call: structured(call, shape, self.limits))).value

    async def yes_no(self, question: str) -> bool:
        """Whether the model says yes. Raises `StructuredOutputError` when it says neither yes nor no."""
        wanted = Wanted(limits=self.limits)
        return (await self.run(question, lambda call: decide(call, question, wanted=wanted))).answer

    async def codes(self, prompt: str) -> list[dict[str, Any]]:
        """The code blocks of an answer, at least one, all of them closed. Raises `StructuredOutputError`."""
        found = await self.run(prompt, code_blocks, self.limits.calls)
        blocks = extract_code_blocks(found.reply.text)
        if not blocks or not blocks[-1]["is_complete"]:
            raise _no_more()
        return blocks

    async def run(self, prompt: str, make: Callable[[GenerationCall], Flow[T]], most: int | None = None) -> T:
        """The result of a flow about a prompt, of `most` calls where the flow itself has no limit.

        Nobody sees anything of it but who awaits it.
        """
        call = await self.binding._documented_call(prompt, self.params, self.request_info, self.multimodal_data)
        return await adrive(make(call), _Ports(self, call, most), _unseen)


class _Ports:
    """The ports of the async driver; `first` is the call that the flow began with, `most` how many it may make."""

    def __init__(self, asking: Asking, first: GenerationCall, most: int | None) -> None:
        self._asking = asking
        self._first = first
        self._most = most
        self._calls = 0

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        binding = self._asking.binding
        if call.tools and binding._is_documented:
            raise UnsupportedFeature("Few documented bindings look at tools, so none is asked to answer with one.")
        if self._calls == self._most:
            raise _no_more()
        self._calls += 1
        async with self._generated(call) if binding._is_documented else binding.open(call) as batches:
            yield batches

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise UnsupportedFeature(f"A binding runs no functions; {call.name!r} is not run for it.")

    async def count(self, text: str) -> int:
        binding = self._asking.binding
        return estimate(text) if binding._is_documented else (await binding.token_count(text)).count

    @contextlib.asynccontextmanager
    async def _generated(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        async with contextlib.aclosing(self._batches(call)) as batches:
            yield batches

    async def _batches(self, call: GenerationCall) -> AsyncGenerator[Batch, None]:
        asking, instance = self._asking, self._asking.binding.binding_instance_name
        named = documented_arguments(call, LoadedModel(call.model, *asking.binding.default_sizes), instance)
        params, usual = dict(asking.params), self._first.params.given()
        params |= {name: value for name, value in call.params.given().items() if usual.get(name) != value}
        if "system_message" in named["params"]:
            params["system_message"] = named["params"]["system_message"]
        own = {name: value for name, value in asking.request_info.items() if name not in _OF_THE_CALL}
        info = {**named["request_info"], **own}
        try:
            result = await asking.binding.generate(named["prompt"], params, info, asking.multimodal_data)
        except UnsupportedFeature:
            raise
        except NotImplementedError as error:  # what its writer raises for a schema, so that it is asked in words
            raise UnsupportedFeature(f"Binding instance {instance!r} cannot do this.") from error
        reader = AnswerReader(call.model)
        batch, failure = read_answer(reader, [(False, result)], instance)
        yield batch
        if failure is not None:
            raise failure
        yield reader.end()


async def _unseen(batch: Batch) -> None:
    """A helper shows nothing."""


def _no_more() -> StructuredOutputError:
    return StructuredOutputError("The model gave no code block that is complete.")
