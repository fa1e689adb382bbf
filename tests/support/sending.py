"""Flows driven by hand: a list of results is sent to them, or what a function makes of each request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lollms_core.errors import LollmsError
from lollms_core.flows.base import Emit, Flow, Generate, Request, RunTool
from lollms_core.types import Event, GenerationCall, Reply, ToolCall

__all__ = ["Sent", "send", "send_with"]


class Sent(NamedTuple):
    """How a flow ended, and everything it asked for."""

    value: Any
    error: LollmsError | None
    requests: list[Request]

    @property
    def calls(self) -> list[GenerationCall]:
        """What the model was asked."""
        return [each.call for each in self.requests if isinstance(each, Generate)]

    @property
    def tools(self) -> list[ToolCall]:
        """The tools that were run."""
        return [each.call for each in self.requests if isinstance(each, RunTool)]

    @property
    def shown(self) -> list[Event]:
        """What the flow itself showed."""
        return [event for each in self.requests if isinstance(each, Emit) for event in each.batch]


def send_with(flow: Flow[Any], answer: Callable[[Request], Any]) -> Sent:
    """Drive a flow with a function of each request but `Emit`; an error that it returns is thrown into the flow."""
    requests: list[Request] = []
    value: Any = None
    try:
        while True:
            request = flow.throw(value) if isinstance(value, LollmsError) else flow.send(value)
            requests.append(request)
            value = None if isinstance(request, Emit) else answer(request)
            if isinstance(value, str) and isinstance(request, Generate):
                value = Reply(text=value)
    except StopIteration as end:
        return Sent(end.value, None, requests)
    except LollmsError as error:
        return Sent(None, error, requests)


def send(flow: Flow[Any], results: Sequence[Any]) -> Sent:
    """Drive a flow with a list of results, all of which must be used; a text stands for a reply of the model, too."""
    left = list(results)

    def answer(request: Request) -> Any:
        assert left, f"nothing is left for {request}"
        return left.pop(0)

    sent = send_with(flow, answer)
    assert not left, f"these were not asked for: {left}"
    return sent
